package webhook

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"picket/event"
)

const token = "0123456789abcdef0123456789abcdef"

// entry is one of a list, as a kube-apiserver writes it: without a kind of its own.
func entry(verb, user, resource, name string) string {
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
	return fmt.Sprintf(`{"level":"Request","auditID":"id-1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/ml/%s","verb":%q,"user":{"username":%q},"sourceIPs":["203.0.113.9"],`+
		`"objectRef":{"resource":%q,"namespace":"ml","name":%q,"apiVersion":"v1"},"responseStatus":{"code":200},"requestReceivedTimestamp":%q,"stageTimestamp":%q}`, resource, verb, user, resource, name, now, now)
}

func list(entries ...string) string {
	return `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[` + strings.Join(entries, ",") + `]}`
}

// pair is a certificate that signs itself, with its key.
func pair(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "picket"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// served is a Server on loopback, and a sender that trusts it.
type served struct {
	*Server
	url    string
	client *http.Client

	mu   sync.Mutex
	told []string
	hold chan struct{} // not nil: telling waits until it closes
}

func serve(t *testing.T, o Options, own ...tls.Certificate) *served {
	t.Helper()
	cert, pool := pair(t)
	if o.TLS == nil {
		o.TLS = &tls.Config{}
	}
	o.TLS.Certificates = []tls.Certificate{cert}
	s := &served{client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: own}}, Timeout: time.Minute}}
	o.Told = func(e *event.Event) {
		s.mu.Lock()
		hold := s.hold
		s.mu.Unlock()
		if hold != nil {
			<-hold
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.told = append(s.told, e.Kubernetes.User+" "+e.Kubernetes.Verb+" "+e.Kubernetes.Name)
	}
	s.Server = New(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.url = "https://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.client.CloseIdleConnections()
	})
	return s
}

func (s *served) post(t *testing.T, body io.Reader, change ...func(*http.Request)) (int, string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url, body)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Authorization", "Bearer "+token)
	for _, c := range change {
		c(q)
	}
	a, err := s.client.Do(q)
	if err != nil {
		return 0, err.Error()
	}
	defer a.Body.Close()
	said, _ := io.ReadAll(a.Body)
	return a.StatusCode, string(said)
}

func (s *served) heard() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.told, "; ")
}

// What a list holds is told once, however often it comes; what is no entry is named, and loses nothing else.
func TestListsAreTakenEntryByEntry(t *testing.T) {
	s := serve(t, Options{Token: token})
	one := list(entry("create", "bob", "pods", "a"), `{"verb":"create","stage":5}`, `"no entry"`, `{}`, entry("delete", "bob", "pods", "b"))
	code, said := s.post(t, strings.NewReader(one))
	if code != http.StatusOK || !strings.Contains(said, "5 entries were read, 3 of them are none: items.1: ") {
		t.Errorf("%d %s", code, said)
	}
	if code, _ := s.post(t, strings.NewReader(one)); code != http.StatusOK {
		t.Error(code)
	}
	if got := s.heard(); got != "bob create a; bob delete b" {
		t.Errorf("told: %s", got)
	}
	// The same id of a request, which who asks may choose, hides nothing.
	if code, _ := s.post(t, strings.NewReader(list(entry("create", "eve", "pods", "c")))); code != http.StatusOK || !strings.HasSuffix(s.heard(), "eve create c") {
		t.Errorf("%d %s", code, s.heard())
	}
	c := s.Counts()
	if c.Bodies != 3 || c.Entries != 11 || c.Wrong != 6 || c.Repeated != 2 || c.Told != 3 || c.Refused != 0 {
		t.Errorf("%+v", c)
	}
}

// zeros is a body of so many bytes, all of one string.
type zeros struct{ left int }

func (z *zeros) Read(b []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), z.left)
	for i := range b[:n] {
		b[i] = '0'
	}
	z.left -= n
	return n, nil
}

func TestWhatIsNoListIsRefused(t *testing.T) {
	s := serve(t, Options{Token: token})
	many := func(n int, before string) io.Reader { return io.MultiReader(strings.NewReader(before), &zeros{n}) }
	for name, c := range map[string]struct {
		body   io.Reader
		change func(*http.Request)
		code   int
		says   string
	}{
		"no JSON":             {strings.NewReader("hello"), nil, 400, "want an EventList"},
		"nothing":             {strings.NewReader(""), nil, 400, "want an EventList"},
		"a list alone":        {strings.NewReader("[]"), nil, 400, "want an EventList"},
		"an entry alone":      {strings.NewReader(`{"kind":"Event","apiVersion":"audit.k8s.io/v1"}`), nil, 400, `have "Event"`},
		"items first":         {strings.NewReader(`{"items":[]}`), nil, 400, "before them"},
		"of another API":      {strings.NewReader(`{"kind":"EventList","apiVersion":"v1","items":[]}`), nil, 400, `"v1"`},
		"items are none":      {strings.NewReader(`{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":{}}`), nil, 400, "items: want a list"},
		"cut":                 {strings.NewReader(list(entry("get", "a", "pods", "x"))[:300]), nil, 400, "items.0: unexpected EOF"},
		"cut at its end":      {strings.NewReader(strings.TrimSuffix(list(), "}")), nil, 400, "at its end"},
		"kind is a number":    {strings.NewReader(`{"kind":1}`), nil, 400, "kind: "},
		"deeper than is read": {strings.NewReader(`{"x":` + strings.Repeat("[", 20000)), nil, 400, "exceeded max depth"},
		"claims a gigabyte": {strings.NewReader("{}"), func(q *http.Request) {
			q.ContentLength, q.Body = 1<<30, io.NopCloser(&zeros{1 << 30})
		}, 413, "at most 67108864"},
		"a huge entry":   {many(20<<20, `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":["`), nil, 413, "an entry has more than"},
		"a huge name":    {many(20<<20, `{"`), nil, 413, "an entry has more than"},
		"a huge rest":    {many(20<<20, `{"metadata":"`), nil, 413, "an entry has more than"},
		"packed":         {strings.NewReader("{}"), func(q *http.Request) { q.Header.Set("Content-Encoding", "gzip") }, 415, "not packed"},
		"another type":   {strings.NewReader("{}"), func(q *http.Request) { q.Header.Set("Content-Type", "application/yaml") }, 415, "want application/json"},
		"another verb":   {nil, func(q *http.Request) { q.Method = http.MethodGet }, 405, "want POST"},
		"no token":       {strings.NewReader(list()), func(q *http.Request) { q.Header.Del("Authorization") }, 401, "ingest.audit.token"},
		"a part of it":   {strings.NewReader(list()), func(q *http.Request) { q.Header.Set("Authorization", "Bearer "+token[:31]) }, 401, "ingest.audit.token"},
		"another token":  {strings.NewReader(list()), func(q *http.Request) { q.Header.Set("Authorization", "Bearer "+token[:31]+"x") }, 401, "ingest.audit.token"},
		"without a word": {strings.NewReader(list()), func(q *http.Request) { q.Header.Set("Authorization", token) }, 401, "ingest.audit.token"},
	} {
		var change []func(*http.Request)
		if c.change != nil {
			change = append(change, c.change)
		}
		if code, said := s.post(t, c.body, change...); code != c.code || !strings.Contains(said, c.says) {
			t.Errorf("%s: %d %.200s, want %d %s", name, code, said, c.code, c.says)
		}
	}
	if code, _ := s.post(t, strings.NewReader(list(entry("create", "bob", "pods", "a")))); code != http.StatusOK || s.heard() != "bob create a" {
		t.Errorf("afterwards: %d %s", code, s.heard())
	}
	if c := s.Counts(); c.Refused != 22 || c.Bodies != 1 {
		t.Errorf("%+v", c)
	}
}

// A body may hold many entries: what is kept of it at a time is one.
func TestALongListTakesLittleMemory(t *testing.T) {
	s := serve(t, Options{Token: token})
	one := strings.Replace(entry("get", "system:node:n", "pods", "x"), `{"level"`, `{"responseObject":"`+strings.Repeat("x", 100<<10)+`","level"`, 1)
	body := list(strings.Split(strings.Repeat(one+"\n", 500), "\n")[:500]...) // 50 MB, of no interest
	most, stop := uint64(0), make(chan struct{})
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, peak := m.HeapAlloc, make(chan struct{})
	go func() {
		defer close(peak)
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
	}()
	code, said := s.post(t, strings.NewReader(body))
	close(stop)
	<-peak
	if code != http.StatusOK || !strings.Contains(said, "500 entries were read") {
		t.Errorf("%d %s", code, said)
	}
	if most > before+16<<20 {
		t.Errorf("%d MiB for a list of %d", (most-before)>>20, len(body)>>20)
	}
}

// Who is behind says so: a sender keeps what it has, and comes again.
func TestWhoIsBehindSaysSo(t *testing.T) {
	s := serve(t, Options{Token: token})
	hold := make(chan struct{})
	s.mu.Lock()
	s.hold = hold
	s.mu.Unlock()
	codes := make(chan int, maxAtOnce)
	for i := range maxAtOnce {
		go func() {
			code, _ := s.post(t, strings.NewReader(list(entry("create", fmt.Sprint("u", i), "pods", "a"))))
			codes <- code
		}()
	}
	for end := time.Now().Add(time.Minute); len(s.slot) < maxAtOnce; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("they are not taken in")
		}
	}
	var again string
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url, strings.NewReader(list()))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Authorization", "Bearer "+token)
	a, err := s.client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	if again = a.Header.Get("Retry-After"); a.StatusCode != http.StatusTooManyRequests || again == "" {
		t.Errorf("%d %q", a.StatusCode, again)
	}
	close(hold)
	for range maxAtOnce {
		if code := <-codes; code != http.StatusOK {
			t.Error(code)
		}
	}
	if c := s.Counts(); c.Waiting != 1 || c.Told != maxAtOnce {
		t.Errorf("%+v", c)
	}
}

// Who shows a certificate needs one that the right authority signed; a token is asked for beside it.
func TestACertificateIsAskedFor(t *testing.T) {
	own, pool := pair(t)
	other, _ := pair(t)
	conf := func() *tls.Config { return &tls.Config{ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert} }
	if code, said := serve(t, Options{TLS: conf()}, own).post(t, strings.NewReader(list()), func(q *http.Request) { q.Header.Del("Authorization") }); code != http.StatusOK {
		t.Errorf("%d %s", code, said)
	}
	if code, said := serve(t, Options{TLS: conf()}).post(t, strings.NewReader(list())); code != 0 {
		t.Errorf("without one: %d %s", code, said)
	}
	if code, said := serve(t, Options{TLS: conf()}, other).post(t, strings.NewReader(list())); code != 0 {
		t.Errorf("with another's: %d %s", code, said)
	}
	if code, _ := serve(t, Options{TLS: conf(), Token: token}, own).post(t, strings.NewReader(list()), func(q *http.Request) { q.Header.Del("Authorization") }); code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", code)
	}
}

// FuzzList wants any body to be read or refused, and a refusal to be of the sender's making.
func FuzzList(f *testing.F) {
	f.Add([]byte(list(entry("create", "bob", "pods", "a"), `{}`)))
	f.Add([]byte(`{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{"auditID":1}]}`))
	f.Add([]byte("[[["))
	f.Fuzz(func(t *testing.T, body []byte) {
		told := uint64(0)
		s := New(Options{Told: func(e *event.Event) {
			told++
			if e.Kubernetes == nil || e.Kubernetes.Verb == "" {
				t.Errorf("told of nothing: %+v", e)
			}
		}})
		said, err := s.list(bytes.NewReader(body))
		if (err == nil) == (said == "") {
			t.Errorf("%q %v", said, err)
		}
		if c := s.Counts(); c.Told != told || c.Told+c.Wrong+c.Repeated+c.Dropped > c.Entries {
			t.Errorf("%+v, told %d", c, told)
		}
	})
}
