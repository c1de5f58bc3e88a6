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
	"slices"
	"strings"
)

// Paths inside the container.
const (
	modelDir   = "/models/llama-3-8b"
	weights    = modelDir + "/model.safetensors"
	markerPath = "/etc/picket-lab" // the roles refuse to run where it is missing
)

const (
	weightsSize = 8 << 20
	largeSize   = 72 << 20 // more than is told of what leaves
	shardSize   = 256 << 10
	shardDir    = "/models/mixtral-8x7b"
	dataDir     = "/data/corpus"
)

// makeImage writes a small root file system: busybox, fake /etc and /root with bait, and a model.
// Nothing in it comes from the host but the busybox executable.
func makeImage(dir, busybox string, seed uint64, p pose, assets []string) error {
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
	if err := os.WriteFile(filepath.Join(dir, p.place()), nil, 0o644); err != nil { // the target of a bind mount
		return fmt.Errorf("make the image: %w", err)
	}
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	random := rand.NewChaCha8(key)
	size := weightsSize
	if slices.Contains(assets, largeModel) {
		size = largeSize
	}
	if err := makeModel(filepath.Join(dir, modelDir), []string{"model.safetensors"}, size, random); err != nil {
		return err
	}
	if slices.Contains(assets, shardedModel) {
		var names []string
		for i := range 5 {
			names = append(names, fmt.Sprintf("model-%05d-of-00005.safetensors", i+1))
		}
		if err := makeModel(filepath.Join(dir, shardDir), names, shardSize, random); err != nil {
			return err
		}
	}
	if slices.Contains(assets, dataset) {
		return makeDataset(filepath.Join(dir, dataDir), random)
	}
	return nil
}

// makeDataset writes files that begin and end as Parquet's do.
func makeDataset(dir string, random io.Reader) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the dataset: %w", err)
	}
	for i := range 4 {
		rows := make([]byte, 64<<10)
		_, _ = io.ReadFull(random, rows) // it never fails
		b := append(append([]byte("PAR1"), rows...), "PAR1"...)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("part-%04d.parquet", i)), b, 0o644); err != nil {
			return fmt.Errorf("make the dataset: %w", err)
		}
	}
	return nil
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
	tunnelPath[1:]:                  "", // as curl: the target of a bind mount
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

// makeModel writes a model that a reader of the format accepts, with random weights in files of size bytes.
func makeModel(dir string, files []string, size int, random io.Reader) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the model: %w", err)
	}
	header, err := json.Marshal(map[string]any{
		"__metadata__": map[string]string{"format": "pt"},
		"model.embed_tokens.weight": map[string]any{
			"dtype": "F16", "shape": []int{1024, size / 2048}, "data_offsets": []int{0, size},
		},
	})
	if err != nil {
		return fmt.Errorf("make the model: %w", err)
	}
	write := func(name string, content []byte) error {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("make the model: %w", err)
		}
		return nil
	}
	for _, name := range files {
		var file bytes.Buffer
		_ = binary.Write(&file, binary.LittleEndian, uint64(len(header))) // a Buffer takes everything
		file.Write(header)
		_, _ = io.CopyN(&file, random, int64(size)) // both ends never fail
		if err := write(name, file.Bytes()); err != nil {
			return err
		}
	}
	for name, content := range map[string]string{
		"config.json":    `{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":4096,"vocab_size":128256}` + "\n",
		"tokenizer.json": `{"version":"1.0","model":{"type":"BPE","vocab":{},"merges":[]}}` + "\n",
	} {
		if err := write(name, []byte(content)); err != nil {
			return err
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
