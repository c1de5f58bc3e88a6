package lab

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAServerIsGuardedByTheKeyOfItsCommandLine(t *testing.T) {
	p, err := poseOf("llama-server -m /models/x/model.safetensors --api-key k1")
	if err != nil || p.key != "k1" || p.model != "/models/x/model.safetensors" || p.place() != "/usr/local/bin/llama-server" {
		t.Fatalf("%+v, %v", p, err)
	}
	srv := httptest.NewServer(p.guarded(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	defer srv.Close()
	for target, want := range map[string]int{"/health": 200, "/v1/models": 401, "/v1/%6dodels": 401, "/%761/models": 200} {
		resp, err := http.Get(srv.URL + target)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s", target, resp.Status)
		}
	}
}

func TestOnlyServersThatPicketKnowsArePosedAs(t *testing.T) {
	for line, want := range map[string]string{
		"": "", "ollama serve": "", "python3 -m torch.distributed.run train.py --data /data": "",
		"nginx": "want llama-server", "/bin/sh -c id": "want llama-server",
	} {
		p, err := poseOf(line)
		if want == "" && (err != nil || len(p.args) == 0) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %+v, %v", line, p, err)
		}
	}
}
