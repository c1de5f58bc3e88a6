package lab

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The ports on which the internet answers, for every address there is.
const (
	portHTTP    = 80
	portTLS     = 443   // as portHTTP, with a certificate that nobody vouches for
	portNode    = 10001 // as portHTTP: where nodes of Ray take orders of clients
	portStratum = 3333
	portRaw     = 4444
)

// internet answers for every address but the server's: it takes uploads by HTTP and by plain TCP, and
// traces, hands out the miner, and runs a mining pool. Each thing that arrives is one JSON line on out.
// It ends when its parent does.
func internet(out io.Writer) error {
	if err := ownNetwork(); err != nil {
		return err
	}
	var mu sync.Mutex
	note := func(o outside, at net.Addr) {
		o.Time = time.Now()
		if tcp, ok := at.(*net.TCPAddr); ok {
			o.Host, o.Port = tcp.IP.String(), tcp.Port
		}
		b, _ := json.Marshal(o) // strings and numbers: it cannot fail
		mu.Lock()
		defer mu.Unlock()
		_, _ = out.Write(append(b, '\n')) // the reader has gone: so are we, soon
	}
	var listeners []net.Listener
	for _, port := range []int{portHTTP, portStratum, portRaw, portTraces, portTLS, portNode} {
		l, err := net.Listen("tcp4", "0.0.0.0:"+strconv.Itoa(port))
		if err != nil {
			return fmt.Errorf("listen for the sandbox: %w", err)
		}
		listeners = append(listeners, l)
	}
	go accept(listeners[1], func(c net.Conn) { pool(c, note) })
	go accept(listeners[2], func(c net.Conn) {
		n, _ := io.Copy(io.Discard, c) // a broken connection delivered what it delivered
		note(outside{Kind: "received", Bytes: n}, c.LocalAddr())
	})
	traces := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: collector(func(o outside, r *http.Request) {
		at, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		note(o, at)
	})}
	go func() { _ = traces.Serve(listeners[3]) }() // it ends with the process
	srv := &http.Server{Handler: web(note), ReadHeaderTimeout: 10 * time.Second}
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	go func() {
		_ = srv.Serve(tls.NewListener(listeners[4], &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}))
	}()
	go func() { _ = srv.Serve(listeners[5]) }()
	_, _ = io.WriteString(out, "listening\n") // as in note
	return srv.Serve(listeners[0])
}

// selfSigned makes a certificate for no name in particular.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key: %w", err)
	}
	made := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(cryptorand.Reader, made, made, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// ownNetwork refuses to answer for the world in the host's own network.
func ownNetwork() error {
	ours, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return fmt.Errorf("find the network namespace: %w", err)
	}
	// The lab that starts us is in the host's; so is a shell.
	if theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", os.Getppid())); err != nil || theirs == ours {
		return errors.New("this part runs in a Picket lab sandbox only, not in the host's network")
	}
	return nil
}

func accept(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		go func() {
			defer c.Close() //nolint:errcheck // the sandbox is going anyway
			serve(c)
		}()
	}
}

// web takes any upload, and hands out the miner at /xmrig.
func web(note func(outside, net.Addr)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /xmrig", func(w http.ResponseWriter, _ *http.Request) {
		f, err := os.Open("/proc/self/exe")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer f.Close() //nolint:errcheck // it was only read
		_, _ = io.Copy(w, io.MultiReader(f, strings.NewReader(minerMark)))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			at, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
			note(outside{Kind: "received", Path: r.URL.Path, Bytes: n}, at)
		}
		if err == nil {
			_, _ = io.WriteString(w, "ok\n") // the caller may have gone
		}
	})
	return mux
}

// pool speaks as much stratum as a miner needs to believe in it.
func pool(c net.Conn, note func(outside, net.Addr)) {
	lines := bufio.NewScanner(io.LimitReader(c, 64<<10))
	for lines.Scan() {
		var call struct {
			ID     int    `json:"id"`
			Method string `json:"method"`
		}
		if json.Unmarshal(lines.Bytes(), &call) != nil {
			return
		}
		if call.Method == "login" || call.Method == "mining.subscribe" {
			note(outside{Kind: "login", Bytes: int64(len(lines.Bytes()))}, c.LocalAddr())
		}
		if _, err := fmt.Fprintf(c, `{"id":%d,"jsonrpc":"2.0","error":null,"result":{"id":"1","status":"OK"}}`+"\n", call.ID); err != nil {
			return
		}
	}
}

// miningTime is how long the miner hashes: long enough to be seen at work, short enough for a test.
const miningTime = 2 * time.Second

// mine signs in at the pool given by -o or --url, as xmrig does, hashes for two seconds and ends.
func mine(args []string) error {
	if err := inSandbox(); err != nil {
		return err
	}
	var url string
	for i, a := range args {
		switch {
		case (a == "-o" || a == "--url") && i+1 < len(args):
			url = args[i+1]
		case strings.HasPrefix(a, "--url="):
			url = strings.TrimPrefix(a, "--url=")
		}
	}
	addr := strings.TrimPrefix(strings.TrimPrefix(url, "stratum+tcp://"), "tcp://")
	if addr == "" {
		return errors.New("no pool: want -o host:port")
	}
	c, err := net.DialTimeout("tcp4", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the process ends here
	const login = `{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"lab","pass":"x","agent":"XMRig/6.21.0","algo":["rx/0"]}}` + "\n"
	if _, err := io.WriteString(c, login); err != nil {
		return err
	}
	if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(login))
	for end := time.Now().Add(miningTime); time.Now().Before(end); {
		for range 10000 {
			sum = sha256.Sum256(sum[:])
		}
	}
	_, err = fmt.Fprintf(c, `{"id":2,"jsonrpc":"2.0","method":"submit","params":{"result":"%x"}}`+"\n", sum)
	return err
}
