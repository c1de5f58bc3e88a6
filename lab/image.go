package lab

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Paths inside the container.
const (
	serverPath = "/usr/local/bin/llama-server"
	modelDir   = "/models/llama-3-8b"
	weights    = modelDir + "/model.safetensors"
	markerPath = "/etc/picket-lab" // the roles refuse to run where it is missing
)

const weightsSize = 8 << 20

// makeImage writes a small root file system: busybox, fake /etc and /root with bait, and a model.
// Nothing in it comes from the host but the busybox executable.
func makeImage(dir, busybox string, seed uint64) error {
	for _, d := range []string{
		"usr/bin", "usr/local/bin", "etc", "root/.cache/huggingface", "root/.aws", "tmp", "var/tmp", "run", "proc", "dev", "sys", modelDir,
	} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return fmt.Errorf("make the image: %w", err)
		}
	}
	for _, d := range []string{"tmp", "var/tmp"} {
		if err := os.Chmod(filepath.Join(dir, d), 0o1777); err != nil {
			return fmt.Errorf("make the image: %w", err)
		}
	}
	for _, d := range []string{"bin", "sbin"} {
		if err := os.Symlink("usr/bin", filepath.Join(dir, d)); err != nil {
			return fmt.Errorf("make the image: %w", err)
		}
	}
	if err := installBusybox(dir, busybox); err != nil {
		return err
	}
	for name, text := range imageFiles {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("make the image: %w", err)
		}
	}
	return makeModel(filepath.Join(dir, modelDir), seed)
}

// imageFiles are the small files of the image. The secrets are bait and open nothing.
var imageFiles = map[string]string{
	"etc/passwd":                    "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
	"etc/group":                     "root:x:0:\nnogroup:x:65534:\n",
	"etc/shadow":                    "root:*:19000:0:99999:7:::\n",
	"etc/hosts":                     "127.0.0.1 localhost\n192.0.2.10 llama-0\n",
	"etc/resolv.conf":               "nameserver 192.0.2.53\n",
	"etc/os-release":                "ID=picket-lab\nPRETTY_NAME=\"Picket lab\"\n",
	markerPath[1:]:                  "This root file system belongs to a Picket lab sandbox.\n",
	"root/.cache/huggingface/token": "hf_bait_of_picket_lab_opens_nothing\n",
	"root/.aws/credentials":         "[default]\naws_access_key_id = AKIAPICKETLABBAIT000\naws_secret_access_key = bait-of-picket-lab-opens-nothing\n",
	curlPath[1:]:                    "",
	serverPath[1:]:                  "", // as curl: the target of a bind mount
}

func installBusybox(dir, busybox string) error {
	if err := copyFile(filepath.Join(dir, "usr/bin/busybox"), busybox, 0o755); err != nil {
		return fmt.Errorf("make the image: %w", err)
	}
	list, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return fmt.Errorf("ask %s for its commands: %w", busybox, err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(list)); lines.Scan(); {
		name := strings.TrimSpace(lines.Text())
		if name == "" || name == "busybox" || strings.ContainsRune(name, '/') {
			continue
		}
		if err := os.Symlink("busybox", filepath.Join(dir, "usr/bin", name)); err != nil {
			return fmt.Errorf("make the image: %w", err)
		}
	}
	return nil
}

// makeModel writes a model that a reader of the format accepts, with random weights.
func makeModel(dir string, seed uint64) error {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	random := rand.NewChaCha8(key)

	header, err := json.Marshal(map[string]any{
		"__metadata__": map[string]string{"format": "pt"},
		"model.embed_tokens.weight": map[string]any{
			"dtype": "F16", "shape": []int{1024, weightsSize / 2048}, "data_offsets": []int{0, weightsSize},
		},
	})
	if err != nil {
		return fmt.Errorf("make the model: %w", err)
	}
	var file bytes.Buffer
	_ = binary.Write(&file, binary.LittleEndian, uint64(len(header))) // a Buffer takes everything
	file.Write(header)
	_, _ = io.CopyN(&file, random, weightsSize) // both ends never fail

	for name, content := range map[string][]byte{
		"model.safetensors": file.Bytes(),
		"config.json":       []byte(`{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":4096,"vocab_size":128256}` + "\n"),
		"tokenizer.json":    []byte(`{"version":"1.0","model":{"type":"BPE","vocab":{},"merges":[]}}` + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("make the model: %w", err)
		}
	}
	return nil
}

func copyFile(to, from string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was only read
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// static reports whether an executable runs without any library of the host.
func static(file string) (bool, error) {
	f, err := elf.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false, nil
		}
	}
	return true, nil
}
