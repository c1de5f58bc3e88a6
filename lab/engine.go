package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// ollamaStore is where the posing server keeps what it pulled.
const ollamaStore = "/root/.ollama/models/blobs"

// engine adds what services of AI do when they are asked, each with the hole that one of them had.
func engine(mux *http.ServeMux) {
	done := func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]string{"status": "ok"}) }
	mux.HandleFunc("POST /api/pull", pull)                     // Ollama
	mux.HandleFunc("POST /api/push", push)                     // Ollama
	mux.HandleFunc("POST /v2/trace/setting", done)             // Triton
	mux.HandleFunc("POST /models", register)                   // TorchServe
	mux.HandleFunc("POST /api/jobs", handIn)                   // Ray
	mux.HandleFunc("POST /api/kernels", done)                  // Jupyter
	mux.HandleFunc("GET /file", readFile)                      // Gradio, MLflow
	mux.HandleFunc("POST /v1/load_plugin", loadPlugin)         // a backend of Ollama's or llama.cpp's
	mux.HandleFunc("POST /v1/images/describe", fetchOnRequest) // what takes addresses of media
}

// fetch gets what an address has, at most 8 MiB.
func fetch(r *http.Request, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	return io.ReadAll(io.LimitReader(resp.Body, 8<<20))
}

// order is what a request has a service do.
type order struct {
	Model      string `json:"model"`      // address to pull from, or to push to
	Digest     string `json:"digest"`     // of a layer, as its registry names it
	Entrypoint string `json:"entrypoint"` // of a job
	URL        string `json:"url"`        // of media
}

func orderOf(w http.ResponseWriter, r *http.Request) (o order, ok bool) {
	if err := json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&o); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return o, false
	}
	return o, true
}

func failed(w http.ResponseWriter, err error) bool {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
	return err != nil
}

// pull keeps what a registry sends, under the name that the registry gives it: that is its hole.
func pull(w http.ResponseWriter, r *http.Request) {
	o, ok := orderOf(w, r)
	if !ok {
		return
	}
	b, err := fetch(r, o.Model)
	if failed(w, err) || failed(w, os.MkdirAll(ollamaStore, 0o755)) || failed(w, os.WriteFile(path.Join(ollamaStore, o.Digest), b, 0o644)) {
		return
	}
	reply(w, map[string]string{"status": "success"})
}

// push sends the weights to where the request says.
func push(w http.ResponseWriter, r *http.Request) {
	o, ok := orderOf(w, r)
	if !ok || failed(w, curl([]string{"curl", "-s", "-T", weights, o.Model})) {
		return
	}
	reply(w, map[string]string{"status": "success"})
}

// register fetches the model that the query names.
func register(w http.ResponseWriter, r *http.Request) {
	if _, err := fetch(r, r.URL.Query().Get("url")); !failed(w, err) {
		reply(w, map[string]string{"status": "registered"})
	}
}

// handIn runs a job.
func handIn(w http.ResponseWriter, r *http.Request) {
	if o, ok := orderOf(w, r); ok {
		runShell(w, r, o.Entrypoint)
	}
}

// readFile hands out a file of the model's directory, or of any other: that is its hole.
func readFile(w http.ResponseWriter, r *http.Request) {
	b, err := os.ReadFile(path.Join(modelDir, r.URL.Query().Get("path")))
	if failed(w, err) {
		return
	}
	_, _ = w.Write(b) // the caller has gone: nobody is left to tell
}

// fetchOnRequest gets the media that a request names, wherever they are: that is its hole.
func fetchOnRequest(w http.ResponseWriter, r *http.Request) {
	o, ok := orderOf(w, r)
	if !ok {
		return
	}
	if b, err := fetch(r, o.URL); !failed(w, err) {
		reply(w, map[string]string{"text": string(b)})
	}
}

// loadPlugin maps the file that the body names as code, as dlopen does. It runs none of it.
func loadPlugin(w http.ResponseWriter, r *http.Request) {
	name, err := io.ReadAll(io.LimitReader(r.Body, 4096))
	if failed(w, err) {
		return
	}
	f, err := os.Open(string(name))
	if failed(w, err) {
		return
	}
	defer f.Close() //nolint:errcheck // it was only read
	b, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
	if failed(w, err) {
		return
	}
	reply(w, map[string]string{"status": fmt.Sprintf("mapped %d bytes", len(b))})
}
