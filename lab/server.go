package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// execReply is what the posing server's hole returns for one command.
type execReply struct {
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`
	Status int    `json:"status"`
}

const execOutput = 256 << 10

// serve poses as a server of AI, an inference server where nothing else is said: it holds a model's weights
// open and mapped, answers GET /health, loads the adapters that POST /v1/load_lora_adapter names, answers
// chats and sends traces of them, does what others of its kind do (see engine), and has a hole: POST /exec
// runs its body by the shell. It writes a line of each request.
func serve(args []string) error {
	if err := inSandbox(); err != nil {
		return err
	}
	is, err := poseOf(strings.Join(args, " "))
	if err != nil {
		return err
	}
	mapped, err := loadWeights(is.model)
	if err != nil {
		return err
	}
	defer unix.Munmap(mapped) //nolint:errcheck // the process ends here
	if err := is.openData(); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]string{"status": "ok"}) })
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"object": "list", "data": []map[string]string{{"id": "llama-3-8b", "object": "model"}}})
	})
	mux.HandleFunc("POST /exec", runCommand)
	mux.HandleFunc("POST /v1/load_lora_adapter", loadAdapter)
	mux.HandleFunc("POST /v1/chat/completions", complete)
	mux.HandleFunc("POST /agent/call", callTool)
	engine(mux)
	srv := &http.Server{Addr: "0.0.0.0:8080", Handler: is.logged(is.guarded(mux)), ReadHeaderTimeout: 10 * time.Second}
	return srv.ListenAndServe()
}

// logged writes a line of each request to the standard output, as such a service does.
func (p pose) logged(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &status{ResponseWriter: w, code: http.StatusOK}
		h.ServeHTTP(s, r)
		from, _, _ := net.SplitHostPort(r.RemoteAddr) // the server of net/http wrote it
		_, _ = fmt.Fprintln(os.Stdout, p.log(r, from, s.code))
	})
}

// guarded wants the key for what lies below /v1/. It looks at the path as it was written, which is its fault.
func (p pose) guarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.key != "" && strings.HasPrefix(r.URL.EscapedPath(), "/v1/") && r.Header.Get("Authorization") != "Bearer "+p.key {
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// openData opens the training data as a job does: each file read once, and kept open.
func (p pose) openData() error {
	if p.data == "" {
		return nil
	}
	list, err := os.ReadDir(p.data)
	if err != nil {
		return fmt.Errorf("open the training data: %w", err)
	}
	for _, d := range list {
		f, err := os.Open(filepath.Join(p.data, d.Name()))
		if err == nil {
			_, err = io.Copy(io.Discard, f) // f stays open on purpose
		}
		if err != nil {
			return fmt.Errorf("read the training data: %w", err)
		}
	}
	return nil
}

// status remembers how a request was answered.
type status struct {
	http.ResponseWriter
	code int
}

// WriteHeader implements http.ResponseWriter.
func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// loadWeights opens the file as a model server does: mapped, every page read once, kept open.
func loadWeights(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("load the model: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("load the model: %w", err)
	}
	// f stays open on purpose, with the mapping: as long as the process lives.
	b, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map the model: %w", err)
	}
	_, _ = io.Copy(io.Discard, bytes.NewReader(b)) // neither end can fail
	return b, nil
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the caller has gone: nobody is left to tell
}

// runCommand is the hole. Its child is the server's own, as with a template or a tool gone wrong.
func runCommand(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	runShell(w, r, string(body))
}

func runShell(w http.ResponseWriter, r *http.Request, command string) {
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.WaitDelay = time.Second // a command left in the background keeps the pipes open
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &capped{&out}, &capped{&errs}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	reply(w, execReply{Stdout: out.String(), Stderr: errs.String(), Status: cmd.ProcessState.ExitCode()})
}

// capped keeps the first execOutput bytes and takes the rest without a word.
type capped struct{ b *strings.Builder }

func (c *capped) Write(p []byte) (int, error) {
	if room := execOutput - c.b.Len(); room > 0 {
		c.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
