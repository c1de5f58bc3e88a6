package workload

import (
	"strings"

	"picket/event"
)

// caches returns where a process that names its model or data set by a hub's name, or by a tag of
// Ollama's, finds the files.
func (t *Tracker) caches(p *event.Process, id identity) []string {
	var out []string
	var env map[string]string
	for kind, names := range map[string][]string{"/models--": id.models, "/datasets--": id.data} {
		for _, name := range names {
			if !isHubName(name) {
				continue
			}
			if env == nil {
				env = t.proc.environ(p.PID, "HOME", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME")
			}
			for _, hub := range hubs(env) {
				out = append(out, hub+kind+strings.ReplaceAll(name, "/", "--"))
			}
		}
	}
	if id.engine == "ollama" {
		switch env := t.proc.environ(p.PID, "HOME", "OLLAMA_MODELS"); {
		case env["OLLAMA_MODELS"] != "":
			out = append(out, env["OLLAMA_MODELS"])
		case env["HOME"] != "":
			out = append(out, env["HOME"]+"/.ollama/models")
		}
	}
	return out
}

// hubs returns where the Hugging Face library looks for its cache, first come first.
func hubs(env map[string]string) []string {
	switch {
	case env["HF_HUB_CACHE"] != "":
		return []string{env["HF_HUB_CACHE"]}
	case env["HF_HOME"] != "":
		return []string{env["HF_HOME"] + "/hub"}
	case env["XDG_CACHE_HOME"] != "":
		return []string{env["XDG_CACHE_HOME"] + "/huggingface/hub"}
	case env["HOME"] != "":
		return []string{env["HOME"] + "/.cache/huggingface/hub"}
	}
	return nil
}

// isHubName reports whether an argument may be the name of a hub's model: org/name, or name alone.
func isHubName(s string) bool {
	return s != "" && len(s) <= maxName && strings.Count(s, "/") <= 1 && strings.Trim(s, "/.") == s && !strings.Contains(s, "..")
}
