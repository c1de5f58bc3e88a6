package workload

import (
	"path"
	"strings"
)

// modelDir returns the directory that stands for the model of a file: the hub cache's folder of
// the model, the folder above numbered checkpoints, else the file's own; or the file itself where
// its directory is a place for all sorts of things.
func modelDir(file string) string {
	if i := strings.Index(file, "/models--"); i >= 0 {
		return upTo(file, i+1)
	}
	if i := strings.Index(file, "/datasets--"); i >= 0 {
		return upTo(file, i+1)
	}
	if i := strings.Index(file, ollamaBlob); i >= 0 {
		return file[:i+len("/models")]
	}
	dir := path.Dir(file)
	for numbered(base(dir)) && !common(path.Dir(dir)) {
		dir = path.Dir(dir)
	}
	if common(dir) {
		return file
	}
	return dir
}

// upTo cuts a path behind the part that begins at i.
func upTo(p string, i int) string {
	if j := strings.IndexByte(p[i:], '/'); j >= 0 {
		return p[:i+j]
	}
	return p
}

// numbered reports whether a folder is one of a series: 1, checkpoint-500, global_step10, epoch_3.
func numbered(name string) bool {
	stem := strings.TrimRight(name, "0123456789")
	if stem == name {
		return false
	}
	switch strings.TrimRight(stem, "-_=.") {
	case "", "checkpoint", "step", "global_step", "epoch", "iter", "ckpt":
		return true
	}
	return false
}

// common reports whether a directory holds all sorts of things, so that one model file in it
// does not make it a model directory.
func common(dir string) bool {
	switch dir {
	case "/", "/tmp", "/var/tmp", "/dev/shm", "/root", "/home", "/data", "/mnt", "/media", "/opt", "/srv", "/usr", "/var", "/etc",
		"/run", "/workspace", "/app", "/code", "/content", "/usr/local", "/var/lib":
		return true
	}
	rest, ok := strings.CutPrefix(dir, "/home/")
	return ok && !strings.Contains(rest, "/")
}

// learnable reports whether a path may be a model at all: not a system's or a package's own file.
func learnable(p string) bool {
	if !strings.HasPrefix(p, "/") || len(p) > 4096 || p == "/" {
		return false
	}
	if strings.HasPrefix(p, "/usr/share/ollama/") {
		return true // where its service keeps models
	}
	for _, prefix := range [...]string{"/proc/", "/sys/", "/usr/lib", "/usr/share/", "/lib/", "/etc/", "/run/", "/bin/", "/sbin/"} {
		if strings.HasPrefix(p, prefix) {
			return false
		}
	}
	if p == "/proc" || p == "/sys" || p == "/dev" || p == "/usr" || p == "/etc" || p == "/var" || p == "/home" || p == "/root" || p == "/tmp" {
		return false
	}
	if strings.HasPrefix(p, "/dev/") && !strings.HasPrefix(p, "/dev/shm/") {
		return false
	}
	p += "/" // the directory itself has start hooks, which end in .pth
	return !strings.Contains(p, "/site-packages/") && !strings.Contains(p, "/dist-packages/")
}

const ollamaBlob = "/models/blobs/sha256-"

// isBlob reports whether a path is one of a cache that names files by their hash.
func isBlob(file string) bool {
	return strings.Contains(file, ollamaBlob) || strings.Contains(file, "/blobs/") && strings.Contains(file, "/models--")
}

const magicLen = 10

// magic tells a blob's format by its first bytes.
func magic(head []byte) format {
	switch {
	case len(head) < magicLen:
		return formatNone
	case string(head[:4]) == "GGUF":
		return gguf
	case head[8] == '{' && head[9] == '"' && head[5]|head[6]|head[7] == 0:
		return safetensors // the header's length, then the header
	case string(head[:4]) == "PK\x03\x04":
		return pickle
	}
	return formatNone
}
