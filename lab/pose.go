package lab

import (
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"
)

// pose is what the container's server passes for: Picket recognises services by their command line, and
// reads their access logs by the form of each.
type pose struct {
	args  []string // its command line
	model string   // that it loads
	data  string   // directory of what it trains on; "" for none
	key   string   // that requests need; "" for none
	log   func(r *http.Request, from string, code int) string
}

// poses are how each kind of service writes a line of a request.
var poses = map[string]func(r *http.Request, from string, code int) string{
	"llama-server": func(r *http.Request, from string, code int) string {
		return fmt.Sprintf("srv  log_server_r: done request: %s %s %s %d", r.Method, r.URL.Path, from, code)
	},
	"ollama": func(r *http.Request, from string, code int) string {
		return fmt.Sprintf("[GIN] %s | %d | 1.2ms | %s | %-8s %q", time.Now().Format("2006/01/02 - 15:04:05"), code, from, r.Method, r.URL.Path)
	},
	"tritonserver": func(r *http.Request, _ string, _ int) string {
		verb := map[string]int{http.MethodGet: 0, http.MethodPost: 2}[r.Method]
		return fmt.Sprintf("%s 1 http_server.cc:4522] HTTP request: %d %s", time.Now().Format("I0102 15:04:05.000000"), verb, r.RequestURI)
	},
	"java":       combined, // TorchServe
	"gcs_server": combined, // Ray, whose dashboard is aiohttp
	"python3":    uvicorn,
}

func combined(r *http.Request, from string, code int) string {
	return fmt.Sprintf(`%s - - [%s] "%s %s HTTP/1.1" %d 2 "-" "-"`, from, time.Now().Format("02/Jan/2006:15:04:05 -0700"), r.Method, r.RequestURI, code)
}

func uvicorn(r *http.Request, from string, code int) string {
	return fmt.Sprintf(`INFO:     %s:40000 - "%s %s HTTP/1.1" %d %s`, from, r.Method, r.RequestURI, code, http.StatusText(code))
}

func tornado(r *http.Request, from string, code int) string {
	return fmt.Sprintf("[I %s ServerApp] %d %s %s (%s) 1.20ms", time.Now().Format("2006-01-02 15:04:05.000"), code, r.Method, r.RequestURI, from)
}

// poseOf reads the command line of a server, "" for the usual one.
func poseOf(line string) (pose, error) {
	p := pose{args: strings.Fields(line), model: weights}
	if len(p.args) == 0 {
		p.args = serverArgs
	}
	name := path.Base(p.args[0])
	if p.log = poses[name]; p.log == nil {
		return pose{}, fmt.Errorf("server %q: want llama-server, ollama, tritonserver, java, gcs_server or python3, with its arguments", name)
	}
	if name == "python3" && strings.Contains(line, "jupyter") {
		p.log = tornado
	}
	for i, a := range p.args {
		next := ""
		if i+1 < len(p.args) {
			next = p.args[i+1]
		}
		switch a {
		case "-m", "--model":
			if name != "python3" || a == "--model" { // python3 -m names a module
				p.model = next
			}
		case "--data":
			p.data = next
		case "--api-key":
			p.key = next
		}
	}
	return p, nil
}

// place is where the image has the executable of the server.
func (p pose) place() string { return path.Join("/usr/local/bin", path.Base(p.args[0])) }
