package node

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"picket/detect"
	"picket/sink"
)

// DefaultFile is read when it exists and no --config was given.
const DefaultFile = "/etc/picket/picket.yaml"

// Config is picket.yaml. Every key has a default: no file is needed.
// The doc tags are the reference: `picket config default` and docs/reference/config.md print them.
type Config struct {
	Data string `yaml:"data" doc:"where Picket keeps everything it keeps"`
	Host string `yaml:"host" doc:"this host's name in events and on the page; empty takes the system's host name"`
	User string `yaml:"user" doc:"the user that server and store run as; where it does not exist, and for empty, a numeric id of no one else"`
	Log  Log    `yaml:"log" doc:"what the three programs log, to standard error"`

	Workload   Workload      `yaml:"workload" doc:"what Picket knows of your models before it has seen them used"`
	Models     Models        `yaml:"models" doc:"how model files are judged when they are written and first opened; docs/inventory.md"`
	Detect     Detect        `yaml:"detect" doc:"rules"`
	GPU        GPU           `yaml:"gpu" doc:"how GPUs are looked at; docs/gpu.md says what is seen"`
	Sensor     Sensor        `yaml:"sensor" doc:"what is looked at inside of programs; docs/probes.md says what is seen"`
	Ingest     Ingest        `yaml:"ingest" doc:"what AI services tell of themselves: docs/requests.md"`
	Policy     Policies      `yaml:"policy" doc:"what workloads may do; docs/policy.md says how a policy is written"`
	Stream     Stream        `yaml:"stream" doc:"the way from agents to the server"`
	Store      Store         `yaml:"store" doc:"where events and state are kept"`
	Assets     []AssetTags   `yaml:"assets" doc:"tags of what matters, for incidents, plans and the rules of respond"`
	Incident   Incident      `yaml:"incident" doc:"how findings become incidents"`
	Respond    Respond       `yaml:"respond" doc:"what is done about incidents: docs/playbooks.md"`
	Kubernetes Kubernetes    `yaml:"kubernetes" doc:"the cluster that playbooks may act in: docs/kubernetes.md"`
	Sink       []sink.Config `yaml:"sink" doc:"where findings and incidents are sent as OCSF 1.8; empty writes <data>/server/findings.ocsf.jsonl"`
	API        API           `yaml:"api" doc:"the page and the API"`

	src       []byte   // of the file, for the programs that picket run starts
	ruleFlags []string // directories that AddRules named, for them too
}

// Log is the log section.
type Log struct {
	Level  string `yaml:"level" doc:"debug, info, warn or error"`
	Format string `yaml:"format" doc:"text or json"`
}

// Workload is the workload section.
type Workload struct {
	Models   []string `yaml:"models" doc:"directories that hold models, watched from the start; others are learned from the servers that open them"`
	Datasets []string `yaml:"datasets" doc:"directories that hold datasets"`
}

// Models is the models section.
type Models struct {
	Trust   []string  `yaml:"trust" doc:"files in PEM, each a public key or certificates: whose signatures of models count"`
	Keyless []Keyless `yaml:"keyless" doc:"whose keyless signatures of models count: identities of sigstore; docs/models.md"`
	Rate    Size      `yaml:"rate" doc:"bytes a second that are read of model files to judge them, at most"`
}

// Keyless is one of models.keyless.
type Keyless struct {
	Identity string `yaml:"identity" doc:"the name in the signer's certificate: an address, or the URI of a workflow"`
	Issuer   string `yaml:"issuer" doc:"who vouched for it, such as https://token.actions.githubusercontent.com"`
	Root     string `yaml:"root" doc:"a trusted_root.json of sigstore: authorities and logs that count"`
}

// Detect is the detect section.
type Detect struct {
	Threats      []string          `yaml:"threats" doc:"directories of threat folders, beside the built-in ones; a folder of the same name replaces a built-in one"`
	Rules        []string          `yaml:"rules" doc:"directories of plain Sigma rules, read at any depth as they are, such as a checkout of a public rule set"`
	Exceptions   []string          `yaml:"exceptions" doc:"directories of exceptions: on which events rules are to be quiet, without a change to the rules"`
	Placeholders map[string]Values `yaml:"placeholders" doc:"values of the placeholders in rules with the modifier expand, by name: a list, or @/path of a file with one value a line"`
	Noisy        int               `yaml:"noisy" doc:"findings of one rule in one workload within ten minutes, past which further ones are only counted, and that is said"`
}

// GPU is the gpu section.
type GPU struct {
	Every   Duration `yaml:"every" doc:"how often"`
	Library string   `yaml:"library" doc:"NVIDIA's library, libnvidia-ml.so.1; empty looks where the driver puts it"`
	DCGM    string   `yaml:"dcgm" doc:"URL of a DCGM exporter's metrics, such as http://127.0.0.1:9400/metrics; empty reads none"`
}

// Values are texts of which one may stand alone.
type Values []string

// Policies is the policy section.
type Policies struct {
	Files   []string `yaml:"files" doc:"policies, or directories of them"`
	Mode    string   `yaml:"mode" doc:"enforce: what each policy says is done; observe: acts against them are only told, whatever they say"`
	Protect bool     `yaml:"protect" doc:"signals that would stop Picket are refused, where the kernel has LSM: picket policy enforce --off, init and picket run itself still stop it"`
}

// Stream is the stream section.
type Stream struct {
	Listen    string   `yaml:"listen" doc:"address on which the server takes agents, mutual TLS only; use 0.0.0.0:7421 for agents on other hosts"`
	Names     []string `yaml:"names" doc:"further host names and addresses by which agents reach the server, for its certificate"`
	Bundle    string   `yaml:"bundle" doc:"agent: file made by 'picket server enrol NAME'; empty takes <data>/agent/bundle.json"`
	Spool     Size     `yaml:"spool" doc:"agent: disk kept for events while the server is away; the oldest go first"`
	Retention Size     `yaml:"retention" doc:"server: disk for events on their way to the store"`
}

// Store is the store section.
type Store struct {
	Events    string   `yaml:"events" doc:"URL of a VictoriaLogs of your own; empty runs the built-in store"`
	State     string   `yaml:"state" doc:"postgres://… for Postgres; empty uses SQLite in <data>/server"`
	Retention Duration `yaml:"retention" doc:"how long the built-in store keeps events"`
	Disk      Size     `yaml:"disk" doc:"disk the built-in store may use; the oldest days go first"`
	Memory    Size     `yaml:"memory" doc:"memory for the built-in store's caches and queries"`
}

// Incident is the incident section.
type Incident struct {
	Window Duration `yaml:"window" doc:"how long after its last finding an incident still takes related ones"`
}

// API is the api section.
type API struct {
	Listen string   `yaml:"listen" doc:"address of page and API"`
	Hosts  []string `yaml:"hosts" doc:"host names, beside localhost and IP addresses, by which browsers may reach the page"`
	URL    string   `yaml:"url" doc:"address that people use, where a proxy stands before it; empty is http://<listen>"`

	Hooks []APIHook `yaml:"hooks" doc:"programs outside, such as a SOAR, that ask for runs of playbooks by signed requests: docs/soar.md"`
}

// Default returns the configuration that holds where no file says otherwise.
func Default() *Config {
	return &Config{
		Data:   "/var/lib/picket",
		User:   "picket",
		Log:    Log{Level: "info", Format: "text"},
		Models: Models{Rate: 64 << 20},
		Detect: Detect{Threats: []string{"/etc/picket/threats"}, Exceptions: []string{"/etc/picket/exceptions"}, Noisy: 100},
		GPU:    GPU{Every: Duration(5 * time.Second)},
		Ingest: Ingest{Metrics: "off"},
		Policy: Policies{Files: []string{"/etc/picket/policies"}, Mode: "enforce"},
		Stream: Stream{Listen: "127.0.0.1:7421", Spool: 256 << 20, Retention: 2 << 30},
		Store: Store{
			Retention: Duration(30 * 24 * time.Hour), Disk: 20 << 30, Memory: 256 << 20,
		},
		Incident: Incident{Window: Duration(30 * time.Minute)},
		Respond:  Respond{Playbooks: []string{"/etc/picket/playbooks"}, Approval: Duration(time.Hour), Approvers: 1, Signatures: "warn", Local: RespondLocal{After: Duration(time.Minute)}},
		API:      API{Listen: "127.0.0.1:7420"},
	}
}

// Load reads the configuration file. An empty name means DefaultFile if that exists, else defaults.
// A mistake is reported as a ConfigError with file, line and column.
func Load(name string) (*Config, error) {
	c := Default()
	explicit := name != ""
	if !explicit {
		name = DefaultFile
	}
	src, err := readConfig(name)
	switch {
	case err == nil:
		if err := decode(name, src, c); err != nil {
			return nil, &Error{Err: err, Code: ExitConfig}
		}
		c.src = src
	case explicit || !errors.Is(err, os.ErrNotExist):
		return nil, &Error{Err: fmt.Errorf("configuration: %w", err), Hint: "picket config default prints one to start from", Code: ExitConfig}
	}
	return c, nil
}

// readConfig reads a named file, or fd:N: a file that the supervisor opened for us.
func readConfig(name string) ([]byte, error) {
	num, ok := strings.CutPrefix(name, "fd:")
	if !ok {
		return os.ReadFile(name)
	}
	fd, err := strconv.ParseUint(num, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%q: want fd:N", name)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close() //nolint:errcheck // it was only read
	return io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
}

// AddRules adds directories of plain Sigma rules that the command line names.
func (c *Config) AddRules(dirs ...string) error {
	for _, dir := range dirs {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return fmt.Errorf("rules directory: %w", err)
		}
		c.Detect.Rules, c.ruleFlags = append(c.Detect.Rules, abs), append(c.ruleFlags, abs)
	}
	return nil
}

// Complete fills in what depends on the machine, after command-line flags were applied.
func (c *Config) Complete() error {
	if c.Host == "" {
		c.Host = os.Getenv("PICKET_HOST") // the supervisor's word: its children call the host the same
	}
	if c.Host == "" {
		h, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("host name: %w", err)
		}
		c.Host = h
	}
	abs, err := filepath.Abs(c.Data)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	c.Data = abs
	for _, dirs := range [][]string{c.Detect.Rules, c.Detect.Exceptions, c.Policy.Files, c.Respond.Playbooks, c.Models.Trust} { // the programs that picket run starts work elsewhere
		for i, dir := range dirs {
			if dirs[i], err = filepath.Abs(dir); err != nil {
				return fmt.Errorf("configuration: %w", err)
			}
		}
	}
	for i := range c.Models.Keyless {
		if root := &c.Models.Keyless[i].Root; *root != "" {
			if *root, err = filepath.Abs(*root); err != nil {
				return fmt.Errorf("configuration: %w", err)
			}
		}
	}
	if c.API.URL == "" {
		c.API.URL = "http://" + c.API.Listen
	}
	if len(c.Sink) == 0 {
		c.Sink = []sink.Config{{Type: "jsonl", Path: filepath.Join(c.dir("server"), "findings.ocsf.jsonl")}}
	}
	return nil
}

// validate checks one decoded section's values; it returns the key at fault and what was expected.
func (c *Config) validate() (key, msg string) {
	if strings.TrimSpace(c.Data) == "" {
		return "data", "want a directory"
	}
	if strings.ContainsAny(c.Host, " *>/\t\n") {
		return "host", "want a host name"
	}
	if !oneOf(c.Log.Level, "debug", "info", "warn", "error") {
		return "log.level", "want debug, info, warn or error"
	}
	if !oneOf(c.Log.Format, "text", "json") {
		return "log.format", "want text or json"
	}
	for _, l := range []struct{ key, addr string }{{"stream.listen", c.Stream.Listen}, {"api.listen", c.API.Listen}} {
		host, port, err := net.SplitHostPort(l.addr)
		if err != nil {
			return l.key, "want host:port, such as 127.0.0.1:7420"
		}
		if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
			return l.key, "want an IP address before the port"
		}
		if _, err := net.LookupPort("tcp", port); err != nil {
			return l.key, "want a port from 0 to 65535 behind the colon"
		}
	}
	if !isURL(c.Store.Events, "http", "https") {
		return "store.events", "want an http:// or https:// URL"
	}
	if !isURL(c.Store.State, "postgres", "postgresql") {
		return "store.state", "want a postgres:// URL, or nothing for SQLite"
	}
	if !isURL(c.API.URL, "http", "https") {
		return "api.url", "want an http:// or https:// URL"
	}
	for key, s := range map[string]Size{"stream.spool": c.Stream.Spool, "stream.retention": c.Stream.Retention, "store.disk": c.Store.Disk, "store.memory": c.Store.Memory, "models.rate": c.Models.Rate} {
		if s < 1<<20 {
			return key, "want at least 1MiB"
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Detect.Placeholders)) {
		if msg := checkPlaceholder(name, c.Detect.Placeholders[name]); msg != "" {
			return "detect.placeholders." + name, msg
		}
	}
	if c.Detect.Noisy < 1 {
		return "detect.noisy", "want at least 1"
	}
	if !oneOf(c.Policy.Mode, "observe", "enforce") {
		return "policy.mode", "want observe or enforce"
	}
	if key, msg := c.GPU.validate(); key != "" {
		return key, msg
	}
	if key, msg := c.Ingest.validate(); key != "" {
		return key, msg
	}
	if c.Store.Retention < Duration(24*time.Hour) {
		return "store.retention", "want at least 1d: the store keeps whole days"
	}
	if c.Incident.Window < Duration(time.Minute) {
		return "incident.window", "want at least 1m"
	}
	if key, msg := c.validateAssets(); key != "" {
		return key, msg
	}
	if key, msg := c.Respond.validate(); key != "" {
		return key, msg
	}
	if key, msg := c.Kubernetes.validate(); key != "" {
		return key, msg
	}
	if key, msg := c.API.validateHooks(); key != "" {
		return key, msg
	}
	return c.validateSinks()
}

func (c *Config) validateSinks() (key, msg string) {
	for i, s := range c.Sink {
		if err := sink.Check([]sink.Config{s}); err != nil {
			return fmt.Sprintf("sink.%d", i), err.Error()
		}
	}
	if err := sink.Check(c.Sink); err != nil {
		return "sink", err.Error()
	}
	return "", ""
}

var placeholderName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// checkPlaceholder says what is wrong with the values of a placeholder.
func checkPlaceholder(name string, values Values) string {
	if !placeholderName.MatchString(name) {
		return "want a name without percent signs: letters, digits, _, - and ."
	}
	for _, v := range values {
		file, isFile := detect.ValuesFile(v)
		switch {
		case v == "":
			return "want no empty value"
		case isFile && !filepath.IsAbs(file):
			return "want @ and the whole path of a file: @/etc/picket/" + strings.TrimPrefix(file, "./")
		}
	}
	if len(values) == 0 {
		return "want a list of values, or @/path of a file"
	}
	return ""
}

func isURL(s string, schemes ...string) bool {
	if s == "" {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && oneOf(u.Scheme, schemes...)
}

func oneOf(s string, of ...string) bool {
	return slices.Contains(of, s)
}
