package stream

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// HubOptions says how the hub runs.
type HubOptions struct {
	Log          *slog.Logger          // nil discards
	Registerer   prometheus.Registerer // nil registers nothing
	Listen       string                // host:port for agents
	Dir          string                // where records wait
	EventBytes   int64                 // most bytes of waiting and kept events, the oldest go first; 0: 2 GiB
	EventAge     time.Duration         // how long events are kept; 0: 24 h
	FindingBytes int64                 // most bytes of findings, new ones are refused; 0: 512 MiB
	// Revoked reports whether the agent of that name and certificate may no longer join. nil: none.
	Revoked func(name, serial string) bool
}

// Hub receives what agents send and keeps it until the server has dealt with it.
type Hub struct {
	o  HubOptions
	ns *server.Server
	nc *nats.Conn
	js jetstream.JetStream
	m  hubMetrics

	clock *coarseClock // nil until the streams are open

	end context.CancelFunc
	ctx context.Context //nolint:containedctx // the hub's own life, ended by Close
}

// OpenHub starts the hub with the certificates of ca.
func OpenHub(ca *CA, o HubOptions) (*Hub, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.EventBytes <= 0 {
		o.EventBytes = 2 << 30
	}
	if o.EventAge <= 0 {
		o.EventAge = 24 * time.Hour
	}
	if o.FindingBytes <= 0 {
		o.FindingBytes = 512 << 20
	}
	host, port, err := listenAddr(o.Listen)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("stream: making its directory: %w", err)
	}
	h := &Hub{o: o}
	h.ctx, h.end = context.WithCancel(context.Background())
	secret := rand.Text()
	h.ns, err = server.NewServer(&server.Options{
		ServerName: "picket", Host: host, Port: port, JetStream: true, StoreDir: filepath.Clean(o.Dir),
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: o.EventBytes + o.FindingBytes + 64<<20,
		NoSigs: true, SyncInterval: 5 * time.Second, MaxPayload: MaxPayload + 64<<10, MaxControlLine: 4096,
		TLSConfig: ca.tlsConfig(), TLSVerify: true, TLSTimeout: 5,
		CustomClientAuthentication: gate{secret: []byte(secret), revoked: o.Revoked, log: o.Log},
		PingInterval:               15 * time.Second, MaxPingsOut: 2, WriteDeadline: 5 * time.Second,
	})
	if err != nil {
		return nil, fmt.Errorf("stream: %w", err)
	}
	h.ns.SetLoggerV2(hubLog{o.Log}, false, false, false)
	go h.ns.Start()
	if err := h.connect(secret); err != nil {
		h.stop()
		return nil, err
	}
	h.m = newHubMetrics(o.Registerer, h)
	return h, nil
}

// listenAddr checks an address, and that nobody else has it: the NATS server would end the process.
func listenAddr(addr string) (host string, port int, err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", 0, fmt.Errorf("stream: cannot listen on %s: %w; stop what uses the port, or choose another with stream.listen", addr, err)
	}
	addr = l.Addr().String()
	if err := l.Close(); err != nil {
		return "", 0, fmt.Errorf("stream: %w", err)
	}
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("stream: %w", err)
	}
	port, err = strconv.Atoi(p)
	return host, port, err
}

// connect waits for the server and makes its streams.
func (h *Hub) connect(secret string) error {
	if !h.ns.ReadyForConnections(20 * time.Second) {
		return fmt.Errorf("stream: the hub does not start on %s with %s: see its messages above; a full or damaged directory is the usual cause", h.o.Listen, h.o.Dir)
	}
	var err error
	h.nc, err = nats.Connect("", nats.InProcessServer(h.ns), nats.UserInfo("hub", secret), nats.CustomInboxPrefix(hubInbox), nats.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("stream: connecting to the hub within the process: %w", err)
	}
	if h.js, err = jetstream.New(h.nc); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	ctx, cancel := context.WithTimeout(h.ctx, 10*time.Second)
	defer cancel()
	streams := []jetstream.StreamConfig{
		{
			Name: streamEvents, Subjects: []string{subjectEvents + "*"}, MaxBytes: h.o.EventBytes, MaxAge: h.o.EventAge,
			Discard: jetstream.DiscardOld, Duplicates: 2 * time.Minute, Compression: jetstream.S2Compression,
		},
		{ // of its own: no flood of events pushes findings out
			Name: streamFindings, Subjects: []string{subjectFindings + "*"}, MaxBytes: h.o.FindingBytes, MaxAge: 30 * 24 * time.Hour,
			Discard: jetstream.DiscardNew, Duplicates: 10 * time.Minute, Retention: jetstream.WorkQueuePolicy,
		},
	}
	for _, c := range streams {
		if _, err := h.js.CreateOrUpdateStream(ctx, c); err != nil {
			return fmt.Errorf("stream: making stream %s in %s: %w", c.Name, h.o.Dir, err)
		}
	}
	h.clock = slowDown(len(streams))
	return nil
}

// Addr returns the address that agents connect to.
func (h *Hub) Addr() string {
	if a := h.ns.Addr(); a != nil {
		return a.String()
	}
	return ""
}

// Health returns an error when the hub cannot keep what it is sent, as on a full disk.
func (h *Hub) Health() error {
	switch {
	case !h.ns.Running():
		return errors.New("the hub has stopped")
	case !h.ns.JetStreamEnabled():
		return fmt.Errorf("the hub cannot write to %s, its disk may be full: agents keep what they have until it can", h.o.Dir)
	}
	return nil
}

// Disconnect ends the connections of an agent, as after its certificate was revoked.
func (h *Hub) Disconnect(name string) error {
	conns, err := h.ns.Connz(&server.ConnzOptions{User: name, Username: true, Limit: 1000})
	if err != nil {
		return fmt.Errorf("stream: listing connections: %w", err)
	}
	for _, c := range conns.Conns {
		if c.AuthorizedUser == name {
			err = errors.Join(err, h.ns.DisconnectClientByID(c.Cid))
		}
	}
	return err
}

// Agents returns the names of the agents that are connected.
func (h *Hub) Agents() []string {
	conns, err := h.ns.Connz(&server.ConnzOptions{Username: true, Limit: 10_000})
	if err != nil {
		return nil // the server is stopping
	}
	var names []string
	for _, c := range conns.Conns {
		if c.AuthorizedUser != "" && c.AuthorizedUser != "hub" {
			names = append(names, c.AuthorizedUser)
		}
	}
	return names
}

// Close stops the hub. What was not dealt with waits on its disk.
func (h *Hub) Close() error {
	h.end()
	h.stop()
	return nil
}

func (h *Hub) stop() {
	if h.nc != nil {
		h.nc.Close()
	}
	if h.clock != nil {
		h.clock.end()
	}
	h.ns.Shutdown()
	h.ns.WaitForShutdown()
}

// gate decides who may connect, and what for.
type gate struct {
	secret  []byte
	revoked func(name, serial string) bool
	log     *slog.Logger
}

// Check lets the server itself in by its secret, over the pipe within the process, and agents by
// their certificate. An agent may send as itself and be asked; it may read nothing of others.
func (g gate) Check(c server.ClientAuthentication) bool {
	st := c.GetTLSConnectionState()
	if st == nil || len(st.VerifiedChains) == 0 {
		return subtle.ConstantTimeCompare([]byte(c.GetOpts().Password), g.secret) == 1
	}
	cert := st.PeerCertificates[0]
	name, serial := cert.Subject.CommonName, cert.SerialNumber.Text(16)
	if err := checkName(name); err != nil {
		g.log.Warn("an agent was turned away", "from", c.RemoteAddress(), "error", err)
		return false
	}
	if g.revoked != nil && g.revoked(name, serial) {
		g.log.Warn("an agent was turned away: its certificate is revoked", "agent", name, "from", c.RemoteAddress())
		return false
	}
	c.RegisterUser(&server.User{Username: name, Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{subjectEvents + name, subjectFindings + name, subjectHeartbeat + name, subjectInventory + name}},
		Subscribe: &server.SubjectPermission{Allow: []string{inbox(name) + ".>", subjectCommand + name}},
		Response:  &server.ResponsePermission{MaxMsgs: 1, Expires: answerTime}, // to what it was asked, and nothing else
	}})
	return true
}

func inbox(name string) string { return "_INBOX." + name }

// hubInbox is where answers to the hub go: no agent's inbox has that prefix.
const hubInbox = "_HUB"

// hubLog passes the NATS server's messages on. What it says of its normal course is for debugging.
type hubLog struct{ log *slog.Logger }

func (l hubLog) Noticef(f string, a ...any) { l.log.Debug("hub", "says", fmt.Sprintf(f, a...)) }
func (l hubLog) Warnf(f string, a ...any)   { l.log.Warn("hub", "says", fmt.Sprintf(f, a...)) }
func (l hubLog) Fatalf(f string, a ...any)  { l.log.Error("hub", "says", fmt.Sprintf(f, a...)) }
func (l hubLog) Errorf(f string, a ...any)  { l.log.Error("hub", "says", fmt.Sprintf(f, a...)) }
func (l hubLog) Debugf(string, ...any)      {}
func (l hubLog) Tracef(string, ...any)      {}
