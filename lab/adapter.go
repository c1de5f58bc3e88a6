package lab

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"time"
)

// systemCall is what the lab's hostile adapter holds: a pickle that calls os.system.
var systemCall = regexp.MustCompile(`^cos\nsystem\n\(S'([^'\n]*)'\ntR\.$`)

// loadAdapter loads an adapter as a server in Python does: where the file is a pickle that calls
// os.system, it calls that.
func loadAdapter(w http.ResponseWriter, r *http.Request) {
	name, err := io.ReadAll(io.LimitReader(r.Body, 4096))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f, err := os.Open(string(name))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	defer f.Close() //nolint:errcheck // it was only read
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if m := systemCall.FindSubmatch(b); m != nil {
		cmd := exec.CommandContext(r.Context(), "/bin/sh", "-c", string(m[1]))
		cmd.WaitDelay = time.Second
		var exit *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	reply(w, map[string]string{"status": "loaded"})
}
