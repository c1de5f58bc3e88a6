package ingest

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picket/event"
)

// TestMain lets the test's own program be the server in a network of its own.
func TestMain(m *testing.M) {
	if os.Getenv("INGEST_SERVE") != "" {
		serveAlone()
	}
	os.Exit(m.Run())
}

func serveAlone() {
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		fmt.Printf("ip: %v: %s\n", err, out)
		os.Exit(1)
	}
	http.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "llamacpp:requests_deferred 3\n") })
	l, err := net.Listen("tcp", "127.0.0.1:8123")
	if err == nil {
		fmt.Println("ready")
		err = http.Serve(l, nil)
	}
	fmt.Println(err)
	os.Exit(1)
}

// asker asks a server of this process that answers with the texts in turn, 15 seconds apart.
func asker(t *testing.T, engine string, handle http.HandlerFunc) (ask func() []*event.Service, a *Asker) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("entering a network namespace needs root")
	}
	srv := httptest.NewServer(handle)
	t.Cleanup(srv.Close)
	var told []*event.Service
	at := strings.TrimPrefix(srv.URL, "http://")
	p := &event.Process{PID: uint32(os.Getpid()), StartBoot: 1}
	a = NewAsker(func() []Service { return []Service{{Process: p, Engine: engine, Listens: []string{at}}} }, func(e *event.Event) {
		e.Service.Address = ""
		told = append(told, e.Service)
	})
	now := time.Unix(1e9, 0)
	a.now = func() time.Time { return now }
	return func() []*event.Service {
		defer func() { told, now = nil, now.Add(15*time.Second) }()
		a.round(t.Context())
		return told
	}, a
}

func TestWhatAServiceSaysIsTold(t *testing.T) {
	var turn atomic.Int64
	texts := []string{
		`vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 5.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.99
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.5
vllm:gpu_cache_usage_perc{engine="0",model_name="m"} 0.99
vllm:prompt_tokens_total{engine="0",model_name="m"} 100
vllm:generation_tokens_total{engine="0",model_name="m"} 1000
vllm:num_preemptions_total{engine="0",model_name="m"} 0
vllm:request_success_total{finished_reason="stop",model_name="m"} 1
vllm:request_success_total{finished_reason="length",model_name="m"} 1
# HELP x
nonsense
x NaN
`, `vllm:num_requests_waiting{model_name="m"} 5
vllm:prompt_tokens_total{model_name="m"} 250
vllm:generation_tokens_total{model_name="m"} 1000
vllm:num_preemptions_total{model_name="m"} 7
`, `vllm:num_requests_waiting{model_name="m"} 5
vllm:generation_tokens_total{model_name="m"} 1000
vllm:lora_requests_info{running_lora_adapters="a,b",waiting_lora_adapters="",model_name="m"} 1
`, `vllm:num_requests_waiting{model_name="m"} 5
vllm:generation_tokens_total{model_name="m"} 10
`,
	}
	ask, a := asker(t, "vllm", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, texts[turn.Add(1)-1]) })
	n := event.Measured
	want := [][]*event.Service{
		{{Engine: "vllm", Model: "m", Running: n(2), Waiting: n(5), Cache: n(99)}},
		{{Engine: "vllm", Model: "m", Waiting: n(5), TokensIn: n(10), TokensOut: n(0), Preemptions: n(7), Stalled: n(15)}},
		{{Engine: "vllm", Model: "m", Waiting: n(5), TokensOut: n(0), Stalled: n(30), Adapters: "a;b;"}},
		{{Engine: "vllm", Model: "m", Waiting: n(5)}}, // it began anew
	}
	for i := range want {
		if d := cmp.Diff(want[i], ask()); d != "" {
			t.Errorf("look %d: %s", i, d)
		}
	}
	if got := a.Asking(); got != (Asking{Asked: 4, Refused: 2}) {
		t.Errorf("%+v", got)
	}
}

func TestAServiceThatLiesIsCountedAndHarmsNobody(t *testing.T) {
	for name, handle := range map[string]http.HandlerFunc{
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := fmt.Fprint(w, strings.Repeat("vllm:num_requests_waiting 1\n", 1000)); err != nil {
					return
				}
			}
		},
		"silent":   func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"refusing": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"leading elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
		},
	} {
		ask, a := asker(t, "vllm", handle)
		if got := ask(); len(got) != 0 || a.Asking().Failed != 1 {
			t.Errorf("%s: told %v, %+v", name, got, a.Asking())
		}
	}
	ask, _ := asker(t, "vllm", func(w http.ResponseWriter, _ *http.Request) {
		for i := range 1000 {
			fmt.Fprintf(w, "vllm:num_requests_waiting{model_name=\"m%d\"} 1e300\n", i)
		}
	})
	if got := ask(); len(got) != maxModels || got[0].Waiting.Known {
		t.Errorf("%d models are told of", len(got))
	}
}

func TestOneThatDoesNotAnswerKeepsNoOtherWaiting(t *testing.T) {
	_, a := asker(t, "vllm", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	silent := a.services()[0]
	a.services = func() []Service { return slices.Repeat([]Service{silent}, maxAtOnce) }
	begun := time.Now()
	a.round(t.Context())
	if took := time.Since(begun); took > 2*askFor {
		t.Errorf("a round took %s", took)
	}
}

func TestAServiceIsAskedInItsOwnNetwork(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a network namespace needs root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("the loopback of a new network is brought up by ip, which is not installed")
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "INGEST_SERVE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	said, err := bufio.NewReader(out).ReadString('\n')
	if said != "ready\n" {
		t.Fatalf("the server said %q, %v", said, err)
	}
	p := &event.Process{PID: uint32(cmd.Process.Pid), StartBoot: 1}
	got := ""
	a := NewAsker(func() []Service { return []Service{{p, "llama.cpp", []string{"0.0.0.0:8123"}}} }, func(e *event.Event) {
		got = fmt.Sprint(e.Service.Engine, " ", e.Service.Waiting.N)
	})
	a.round(t.Context())
	if got != "llama.cpp 3" {
		_, err := a.ask(t.Context(), p.PID, "0.0.0.0:8123")
		t.Errorf("told %q, %+v: %v", got, a.Asking(), err)
	}
}

func FuzzMetrics(f *testing.F) {
	f.Add("vllm:num_requests_running{model_name=\"m\"} 1\n")
	f.Add("x{a=\"}\"} 1 2\ny -1e999\n{} 3")
	f.Fuzz(func(t *testing.T, text string) {
		a := NewAsker(nil, func(e *event.Event) {
			if len(e.Service.Model) > 2*maxText || e.Service.Waiting.N < 0 {
				t.Errorf("%+v", e.Service)
			}
		})
		a.take(Service{Process: &event.Process{}, Engine: "vllm"}, "x", text, map[string]bool{})
	})
}
