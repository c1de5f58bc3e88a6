package node

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picket/event"
	"picket/ingest"
	"picket/ingest/webhook"
)

// IngestAudit is ingest.audit.
type IngestAudit struct {
	Listen      string `yaml:"listen" doc:"address at which kube-apiservers send entries, over TLS, such as 10.0.0.7:9443; empty takes none"`
	Certificate string `yaml:"certificate" doc:"whole path of the certificate that is shown to them, with those between it and its root (PEM)"`
	Key         string `yaml:"key" doc:"whole path of its key (PEM)"`
	Token       string `yaml:"token" doc:"whole path of a file whose first line is a token that they must show"`
	Clients     string `yaml:"clients" doc:"whole path of the certificates of whom theirs must be signed by (PEM); a token or this is needed, and with both they show both"`
}

const (
	auditMemory  = 128 << 20 // soft limit of the receiver's Go heap
	secretsEvery = time.Minute
)

// validate checks ingest.audit.
func (c *IngestAudit) validate() (key, msg string) {
	if c.Listen == "" {
		if *c != (IngestAudit{}) {
			return "ingest.audit.listen", "want an address, as the rest of ingest.audit is for"
		}
		return "", ""
	}
	if _, err := netip.ParseAddrPort(c.Listen); err != nil {
		return "ingest.audit.listen", "want an IP address and a port, such as 10.0.0.7:9443"
	}
	for _, f := range []struct{ key, path string }{{"certificate", c.Certificate}, {"key", c.Key}, {"token", c.Token}, {"clients", c.Clients}} {
		needed := f.key == "certificate" || f.key == "key"
		if f.path == "" && needed || f.path != "" && !filepath.IsAbs(f.path) {
			return "ingest.audit." + f.key, "want the whole path of a file"
		}
	}
	if c.Token == "" && c.Clients == "" {
		return "ingest.audit.token", "want a token, or ingest.audit.clients: else anybody who reaches the address writes the log"
	}
	return "", ""
}

// auditSecrets is what the agent hands its receiver.
type auditSecrets struct {
	Certificate, Key, Clients []byte
	Token                     string
}

// read reads and tries what the receiver must know.
func (c *IngestAudit) read() ([]byte, error) {
	var s auditSecrets
	var err error
	if s.Token, err = readToken("ingest.audit.token", c.Token); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		key, path string
		to        *[]byte
	}{{"certificate", c.Certificate, &s.Certificate}, {"key", c.Key, &s.Key}, {"clients", c.Clients, &s.Clients}} {
		if f.path == "" {
			continue
		}
		if *f.to, err = os.ReadFile(f.path); err != nil {
			return nil, &Error{Err: fmt.Errorf("ingest.audit.%s: %w", f.key, err), Code: ExitConfig}
		}
	}
	if _, err := s.tls(); err != nil {
		return nil, &Error{Err: err, Code: ExitConfig}
	}
	return json.Marshal(s)
}

func (s *auditSecrets) tls() (*tls.Config, error) {
	pair, err := tls.X509KeyPair(s.Certificate, s.Key)
	if err != nil {
		return nil, fmt.Errorf("ingest.audit.certificate, and its key: %w", err)
	}
	out := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if len(s.Clients) > 0 {
		out.ClientCAs, out.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !out.ClientCAs.AppendCertsFromPEM(s.Clients) {
			return nil, errors.New("ingest.audit.clients: it holds no certificate as PEM")
		}
	}
	return out, nil
}

// audits is what the agent knows of what clusters send.
type audits struct {
	log *slog.Logger
	at  string

	mu             sync.Mutex
	counts, before webhook.Counts
	odd            uint64 // lines of the receiver that say nothing
	wrong          string // why nothing is taken, "" where it is
}

// startReceivers takes traces and audit logs until ctx ends; the channel is closed then.
func (a *agent) startReceivers(ctx context.Context, events chan struct{}) (<-chan struct{}, error) {
	traces, err := a.startReceiver(ctx, events)
	if err != nil {
		return nil, err
	}
	logs, err := a.startAudit(ctx, events)
	if err != nil {
		return nil, err // the caller ends ctx
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-traces
		<-logs
	}()
	return done, nil
}

// startAudit takes entries of audit logs until ctx ends; the channel is closed then. As with traces, a
// program without privilege and without a way out reads what is sent.
func (a *agent) startAudit(ctx context.Context, events chan struct{}) (<-chan struct{}, error) {
	done, c := make(chan struct{}), &a.cfg.Ingest.Audit
	if c.Listen == "" {
		close(done)
		return done, nil
	}
	secrets, err := c.read()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, &Error{Err: fmt.Errorf("taking audit logs: %w", err), Hint: "the address is ingest.audit.listen in picket.yaml", Code: ExitHost}
	}
	port, err := l.(*net.TCPListener).File()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("taking audit logs: %w", err), l.Close())
	}
	a.audits = &audits{log: a.log.With("component", "ingest"), at: l.Addr().String()}
	a.reg.MustRegister(a.audits)
	a.audits.log.Info("taking audit logs of Kubernetes", "address", a.audits.at)
	go func() {
		defer close(done)
		defer func() { _ = errors.Join(l.Close(), port.Close()) }() // they were only listened at
		keepReceiving(ctx, a.audits.log, "audit logs", func() error {
			for {
				fresh, err := a.receiveAudit(ctx, events, port, secrets)
				if fresh == nil || ctx.Err() != nil {
					return err
				}
				secrets = fresh
				a.audits.log.Info("the receiver of audit logs has a new certificate or token")
			}
		})
	}()
	return done, nil
}

// receiveAudit runs the receiver once. It returns secrets where they are others by now.
func (a *agent) receiveAudit(ctx context.Context, events chan struct{}, port *os.File, secrets []byte) (fresh []byte, err error) {
	f, err := handOver(secrets)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	run, stop := context.WithCancel(ctx)
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		fresh = a.audits.follow(run, stop, &a.cfg.Ingest.Audit, secrets)
	}()
	said := &bounded{most: 4 << 10}
	out := &received{line: func(line []byte) { a.audited(ctx, events, line) }, odd: a.audits.oddLine}
	err = runConfinedWith(run, []*os.File{port, f}, out, said, "agent", "--audit-receiver")
	stop()
	<-looked
	a.audits.ended()
	if said.Len() > 0 {
		err = fmt.Errorf("%w: %s", cmp.Or(err, errors.New("without an error")), said.String())
	}
	return fresh, err
}

// follow returns the secrets when they are others than before, and has the receiver stopped then. Those
// that make no sense are said, and the ones of before go on.
func (k *audits) follow(ctx context.Context, stop func(), c *IngestAudit, had []byte) []byte {
	for tick := time.NewTicker(secretsEvery); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := c.read()
		k.mu.Lock()
		was := k.wrong
		if k.wrong = ""; err != nil {
			k.wrong = "what was read before is used on: " + err.Error()
		}
		is := k.wrong
		k.mu.Unlock()
		switch {
		case is != "" && is != was:
			k.log.Error("a certificate or token for audit logs cannot be used", "error", err)
		case err == nil && !bytes.Equal(now, had):
			stop()
			return now
		}
	}
}

// audited takes a line of the receiver: of what it says the entry alone is believed, and only that it is one.
func (a *agent) audited(ctx context.Context, events chan struct{}, line []byte) {
	if counts, ok := bytes.CutPrefix(line, []byte("counts ")); ok {
		var c webhook.Counts
		if json.Unmarshal(counts, &c) != nil {
			a.audits.oddLine()
			return
		}
		a.audits.count(c)
		return
	}
	said, err := event.ParseRecord(line)
	if err != nil || said.Kind != event.KubernetesAudit || said.Kubernetes == nil {
		a.audits.oddLine()
		return
	}
	a.reported(ctx, events, &event.Event{Kind: event.KubernetesAudit, Time: said.Time, Kubernetes: said.Kubernetes, Count: said.Count, Truncated: said.Truncated})
}

// RunAuditReceiver takes audit logs at the port that is open as descriptor 3, and writes what they tell to
// out, one record a line, and now and then a line with counts. Descriptor 4 holds what it must know. The
// agent runs it without privilege.
func RunAuditReceiver(ctx context.Context, out io.Writer) error {
	debug.SetMemoryLimit(auditMemory)
	l, err := receiverPort()
	if err != nil {
		return err
	}
	var secrets auditSecrets
	handed := os.NewFile(4, "secrets")
	err = json.NewDecoder(io.NewSectionReader(handed, 0, 4<<20)).Decode(&secrets)
	_ = handed.Close() // it was only read
	if err != nil {
		return fmt.Errorf("what the agent hands over: %w", err)
	}
	conf, err := secrets.tls()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	told := &report{gone: cancel, out: out}
	s := webhook.New(webhook.Options{TLS: conf, Token: secrets.Token, Told: told.tell})
	return told.serve(ctx, func() any { return s.Counts() }, func(ctx context.Context) error { return s.Serve(ctx, l) })
}

func (k *audits) oddLine() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.odd++
}

// count takes what the receiver that runs has counted so far.
func (k *audits) count(c webhook.Counts) {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := k.before
	k.counts = webhook.Counts{Bodies: b.Bodies + c.Bodies, Refused: b.Refused + c.Refused, Waiting: b.Waiting + c.Waiting, EntryCounts: ingest.EntryCounts{
		Entries: b.Entries + c.Entries, Told: b.Told + c.Told, Wrong: b.Wrong + c.Wrong, Repeated: b.Repeated + c.Repeated, Dropped: b.Dropped + c.Dropped,
	}}
}

// ended notes that the next receiver counts from zero.
func (k *audits) ended() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.before = k.counts
}

// capability says how taking audit logs goes.
func (k *audits) capability() event.Capability {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.counts
	row := event.Capability{
		Name: "kubernetes-audit", OK: k.wrong == "" && c.Dropped == 0,
		Detail: fmt.Sprintf("taken at %s: %d lists, %d entries; %d lists refused, %d of them to come again", k.at, c.Bodies, c.Entries, c.Refused, c.Waiting),
	}
	for _, more := range []struct {
		n    uint64
		what string
	}{{c.Wrong, "are no entries"}, {c.Repeated, "came twice"}, {c.Dropped, "were too many in a second, and only counted"}} {
		if more.n > 0 {
			row.Detail += fmt.Sprintf("; %d %s", more.n, more.what)
		}
	}
	if k.wrong != "" {
		row.Detail += "; " + k.wrong
	}
	return row
}

var (
	auditBodies  = prometheus.NewDesc("picket_ingest_audit_lists_total", "Lists of entries of audit logs that were read.", nil, nil)
	auditRefused = prometheus.NewDesc("picket_ingest_audit_refused_total", "Lists that were refused.", nil, nil)
	auditEntries = prometheus.NewDesc("picket_ingest_audit_entries_total", "Entries in them, by what became of them; others are of no interest.", []string{"what"}, nil)
	auditOdd     = prometheus.NewDesc("picket_ingest_audit_odd_lines_total", "Lines of the receiver that say nothing.", nil, nil)
)

// Describe implements prometheus.Collector.
func (k *audits) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(k, to) }

// Collect implements prometheus.Collector.
func (k *audits) Collect(to chan<- prometheus.Metric) {
	k.mu.Lock()
	c, odd := k.counts, k.odd
	k.mu.Unlock()
	for desc, n := range map[*prometheus.Desc]uint64{auditBodies: c.Bodies, auditRefused: c.Refused, auditOdd: odd} {
		to <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n))
	}
	for what, n := range map[string]uint64{"all": c.Entries, "told": c.Told, "wrong": c.Wrong, "repeated": c.Repeated, "dropped": c.Dropped} {
		to <- prometheus.MustNewConstMetric(auditEntries, prometheus.CounterValue, float64(n), what)
	}
}
