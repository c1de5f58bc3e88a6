package detect

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"picket/event"
	"picket/sigma"
)

// sources says which Sigma log sources the events of each kind belong to. The categories are
// Sigma's own where it has one; a kind that Sigma has no word for (network_listen, policy_violation…)
// gets one of its own, so that a public rule never fires on what its author did not mean.
var sources = func() [256][]sigma.Logsource {
	table := map[event.Kind][]string{
		event.ProcessStart: {"process_creation"},
		event.ProcessSeen:  {"process_creation"}, // ran before the agent did
		event.ProcessFork:  {"process_fork"},
		event.ProcessExit:  {"process_termination"},
		event.FileRead:     {"file_access"},
		event.FileCreate:   {"file_event"},
		event.FileWrite:    {"file_event", "file_change"},
		event.FileRename:   {"file_event", "file_rename"},
		event.FileDelete:   {"file_delete"},
		event.FileChmod:    {"file_change"},
		event.FileLink:     {"file_event", "file_link"}, // another name for a file is a way to replace or to reach it
		event.FileMkdir:    {"file_mkdir"},
		event.FileTruncate: {"file_event", "file_change"},
		event.FileChown:    {"file_change"},
		event.FileAttr:     {"file_change"},
		event.FileMap:      {"image_load"},
		event.FileIO:       {"file_io"},
		event.NetConnect:   {"network_connection"},
		event.NetAccept:    {"network_connection"},
		event.NetListen:    {"network_listen"},
		event.NetSend:      {"network_send"},
		event.NetDNS:       {"dns_query"},
		event.NetReceive:   {"network_receive"},
		event.NetBind:      {"network_bind"},
		event.NetUnix:      {"network_unix"},
		event.NetTLS:       {"network_tls"},
		event.SensorHealth: {"sensor_health"},

		event.ProcessSignal:    {"process_signal"},
		event.ProcessTrace:     {"process_access"},
		event.ProcessNamespace: {"process_namespace"},
		event.HostMount:        {"host_mount"},
		event.HostModule:       {"driver_load"},
		event.HostBPF:          {"host_bpf"},
		event.HostKernel:       {"host_kernel"},
		event.ProcessCred:      {"process_credentials"},
		event.HostSysctl:       {"host_sysctl"},
		event.DeviceOpen:       {"device_open"},
		event.CgroupCreate:     {"cgroup_create"},
		event.DeviceControl:    {"device_control"},

		event.ProcessCapability: {"process_capability"},
		event.PolicyViolation:   {"policy_violation"},

		event.GPUSample: {"gpu_sample"},
		event.GPUFault:  {"gpu_error"},
		event.ModelSeen: {"model_file"},

		event.PrincipalHour:    {"principal_hour"},
		event.CUDACall:         {"cuda_call"},
		event.PythonAudit:      {"python_audit"},
		event.ProfileDeviation: {"profile_deviation"},
		event.ModelDrift:       {"model_drift"},
	}
	var out [256][]sigma.Logsource // by event.Kind
	for kind, categories := range table {
		for _, c := range categories {
			out[kind] = append(out[kind], sigma.Logsource{Product: "linux", Category: c})
		}
	}
	out[event.KubernetesAudit] = []sigma.Logsource{{Category: "application", Product: "kubernetes", Service: "audit"}}
	for kind, by := range serviceSources {
		for _, product := range slices.Sorted(maps.Keys(by)) {
			out[kind] = append(out[kind], by[product]...)
		}
	}
	return out
}()

// services are the products of what AI services are asked and say, by the name of their engine. One
// that is not among them belongs to no product, and rules that name none are about it too.
var services = map[string]string{
	"": "", "vllm": "vllm", "sglang": "sglang", "triton": "triton", "tgi": "tgi", "llama.cpp": "llamacpp", "ollama": "ollama", "ray": "ray",
	"jupyter": "jupyter", "mlflow": "mlflow", "torchserve": "torchserve", "litellm": "litellm", "langflow": "langflow", "flowise": "flowise",
}

// serviceSources are the log sources of those events, by kind and engine.
var serviceSources = func() map[event.Kind]map[string][]sigma.Logsource {
	table := map[event.Kind][]string{event.ServiceRequest: {"http_access", "gen_ai"}, event.ServiceMetrics: {"service_metrics"}}
	out := map[event.Kind]map[string][]sigma.Logsource{}
	for kind, categories := range table {
		out[kind] = map[string][]sigma.Logsource{}
		for engine, product := range services {
			for _, c := range categories {
				out[kind][engine] = append(out[kind][engine], sigma.Logsource{Product: product, Category: c})
			}
		}
	}
	return out
}()

// logsources returns the log sources that an event belongs to.
func logsources(e *event.Event) []sigma.Logsource {
	if e.Kind != event.ServiceRequest && e.Kind != event.ServiceMetrics {
		return sources[e.Kind]
	}
	by := serviceSources[e.Kind]
	if of, ok := by[e.Engine()]; ok {
		return of
	}
	return by[""]
}

// covered reports whether a rule about want applies to events of kind k.
func covered(want sigma.Logsource, k event.Kind) bool {
	return slices.ContainsFunc(sources[k], want.Covers)
}

// catalogue numbers the fields of events for the rule engine.
type catalogue struct{}

func (catalogue) Field(name string) (uint16, bool) {
	f, ok := event.Lookup(name)
	return uint16(f.Field), ok
}

// Single implements sigma.SingleValued. A file that is run has the path of the link and the one it
// leads to.
func (catalogue) Single(name string) bool {
	f, ok := event.Lookup(name)
	return ok && f.Name != "process.exe" && f.Name != "process.parent.exe"
}

// Searched implements sigma.Searched.
func (catalogue) Searched(id uint16) bool { return searchable(event.Fields()[id]) }

// searchable reports whether keywords are looked for in a field: not in truth values and times, nor
// in what says again what another field says.
func searchable(f event.Info) bool {
	return !f.Derived() && f.Type != event.Boolean && f.Name != "process.start" && f.Name != "event.kind"
}

// Schema returns the fields of events as rules name them, for sigma.Compile and sigma.Lint.
func Schema() sigma.Schema { return catalogue{} }

// view shows an event to the rule engine. One view serves one event after another, so that
// matching allocates nothing.
type view struct {
	e       *event.Event
	addrs   map[netip.Addr]string // the text of addresses seen lately
	numbers map[int64]string      // and of numbers
}

// maxTexts bounds each map of a view; past it what it knows is forgotten and learned again.
const maxTexts = 4096

func newView() *view {
	return &view{addrs: make(map[netip.Addr]string), numbers: make(map[int64]string)}
}

func addressFields() map[uint16]func(*event.Event) netip.Addr {
	ends := map[string]func(*event.Event) netip.Addr{
		"net.remote.ip": func(e *event.Event) netip.Addr { return e.Net.Remote.Addr() },
		"net.local.ip":  func(e *event.Event) netip.Addr { return e.Net.Local.Addr() },
		"http.client.ip": func(e *event.Event) netip.Addr {
			if e.Request == nil {
				return netip.Addr{}
			}
			return e.Request.Client.Addr()
		},
		"DestinationIp": func(e *event.Event) netip.Addr {
			if e.Kind.Accepts() {
				return e.Net.Local.Addr()
			}
			return e.Net.Remote.Addr()
		},
		"SourceIp": func(e *event.Event) netip.Addr {
			if e.Kind.Accepts() {
				return e.Net.Remote.Addr()
			}
			return e.Net.Local.Addr()
		},
	}
	out := make(map[uint16]func(*event.Event) netip.Addr, len(ends))
	for name, end := range ends {
		f, ok := event.Lookup(name)
		if !ok {
			panic("detect: the catalogue has no field " + name)
		}
		out[uint16(f.Field)] = end
	}
	return out
}

// addressOf is addressFields as a slice by field: a map look-up less for each field of each event.
var addressOf = func() []func(*event.Event) netip.Addr {
	out := make([]func(*event.Event) netip.Addr, len(event.Fields()))
	for id, end := range addressFields() {
		out[id] = end
	}
	return out
}()

// Value implements sigma.Event.
func (v *view) Value(id uint16) sigma.Value {
	if int(id) < len(addressOf) {
		if end := addressOf[id]; end != nil {
			return v.address(end(v.e))
		}
	}
	return convert(v.e.Value(event.Field(id)))
}

func (v *view) address(a netip.Addr) sigma.Value {
	if !a.IsValid() {
		return sigma.Value{}
	}
	s, ok := v.addrs[a]
	if !ok {
		if len(v.addrs) >= maxTexts {
			clear(v.addrs)
		}
		s = a.Unmap().String()
		v.addrs[a] = s
	}
	return sigma.Value{Kind: sigma.Text, Str: s}
}

func convert(v event.Value) sigma.Value {
	switch v.Kind {
	case event.Text:
		return sigma.Value{Kind: sigma.Text, Str: v.Str}
	case event.Integer:
		return sigma.Value{Kind: sigma.Integer, Int: v.Int}
	case event.Boolean:
		return sigma.Value{Kind: sigma.Boolean, Int: v.Int}
	case event.List:
		return sigma.Value{Kind: sigma.List, List: v.List}
	}
	return sigma.Value{}
}

// Extra implements sigma.Event.
func (v *view) Extra(name string) sigma.Value {
	if s, ok := v.e.Extra[name]; ok {
		return sigma.Value{Kind: sigma.Text, Str: s}
	}
	return sigma.Value{}
}

// Plain says that the event has no field outside the catalogue, as the sensor's have none.
func (v *view) Plain() bool { return len(v.e.Extra) == 0 }

// Logsources implements sigma.Event.
func (v *view) Logsources() []sigma.Logsource { return logsources(v.e) }

// EachText implements sigma.Event.
func (v *view) EachText(visit func(id uint16, text string) bool) {
	for _, id := range searched[v.e.Kind] {
		switch val := v.Value(id); val.Kind {
		case sigma.Text:
			if !visit(id, val.Str) {
				return
			}
		case sigma.Integer:
			if !visit(id, v.number(val.Int)) {
				return
			}
		case sigma.List:
			for _, s := range val.List {
				if !visit(id, s) {
					return
				}
			}
		}
	}
	for _, s := range v.e.Extra {
		if !visit(sigma.NoField, s) {
			return
		}
	}
}

// ofOneClass are the nouns of fields that only events of one class have.
var ofOneClass = []string{"file", "net", "gpu", "request", "service", "kubernetes", "drift"}

// searched is the fields, by kind of event, that keywords are looked for in and that an event of the
// kind may have.
var searched = func() (out [event.MaxKinds][]uint16) {
	for kind := range event.Kinds {
		for _, f := range event.Fields() {
			noun, _, _ := strings.Cut(f.Name, ".")
			if strings.HasPrefix(f.Name, "ai.model.") {
				noun = "file"
			}
			switch noun {
			case "http", "gen_ai", "principal":
				noun = "request"
			}
			if asked(f.Name) {
				noun = "request"
			}
			if searchable(f) && (!slices.Contains(ofOneClass, noun) || noun == kind.Class() || kind == event.ProfileDeviation && (noun == "file" || noun == "net")) {
				out[kind] = append(out[kind], uint16(f.Field))
			}
		}
	}
	return out
}()

// number returns the text of n.
func (v *view) number(n int64) string {
	s, ok := v.numbers[n]
	if !ok {
		if len(v.numbers) >= maxTexts {
			clear(v.numbers)
		}
		s = strconv.FormatInt(n, 10)
		v.numbers[n] = s
	}
	return s
}
