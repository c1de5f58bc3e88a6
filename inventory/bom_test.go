package inventory

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"picket/event"
)

// schema returns CycloneDX's own schema of version 1.6, which comes with the library.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "schema")
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for url, file := range map[string]string{
		"http://cyclonedx.org/schema/bom-1.6.schema.json": "bom-1.6.schema.json", "http://cyclonedx.org/schema/spdx.schema.json": "spdx.schema.json",
		"http://cyclonedx.org/schema/jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		loader := jsonschema.FileLoader{}
		doc, err := loader.Load("file://" + filepath.Join(dir, file))
		if err == nil {
			err = c.AddResource(url, doc)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheBillOfMaterialsIsValid(t *testing.T) {
	s := schema(t)
	now := time.Date(2026, 11, 29, 12, 0, 0, 5, time.UTC)
	digest := strings.Repeat("0f", 32)
	file := func(p, role, d string) event.ModelFile {
		return event.ModelFile{Path: p, Model: "m", Role: role, Format: "safetensors", Size: 5, Artifact: event.Artifact{Digest: d, Verdict: "clean", Signature: event.Signed, Signer: "key"}}
	}
	hostile := "<script>\x1b[2J\"\xff" + strings.Repeat("x", 3000)
	for name, list := range map[string][]event.Running{
		"nothing": nil,
		"all of it": {
			{
				Host: "gpu-1", ID: "w1", Kind: event.Training, Engine: "torchrun", Version: "2.7.1", Name: "train", PID: 7, Started: now, Exe: "/usr/bin/python3",
				Packages: []event.Package{{Name: "torch", Version: "2.7.1+cu126"}}, Container: &event.Container{ID: "c1", Runtime: "runc"},
				Listens: []string{"0.0.0.0:1", "[::]:2"}, GPUs: []string{"/dev/nvidia0"}, Job: &event.Job{ID: "slurm:1"},
				Files: []event.ModelFile{
					file("/m/a.safetensors", "model", digest), file("/m/adapter_model.bin", "adapter", ""), file("/d/x.parquet", "dataset", ""),
					file("/m/tokenizer.json", "tokenizer", digest), file("/m/x.py", "code", ""),
				},
			},
			{Host: "gpu-2", ID: "w2", Kind: event.Inference, Engine: "vllm", Name: hostile, Started: now, Files: []event.ModelFile{file("/other/a.safetensors", "model", digest), file("/"+hostile, "model", "")}},
			{Host: "gpu-3", ID: "w3", Engine: "ollama", Started: now},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := WriteBOM(&out, list, "v1", now); err != nil {
				t.Fatal(err)
			}
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(out.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Validate(doc); err != nil {
				t.Errorf("%v\n%s", err, out.Bytes())
			}
			var b struct {
				SpecVersion, SerialNumber string
				Components                []struct {
					Type    string
					BOMRef  string `json:"bom-ref"`
					Hashes  []struct{ Content string }
					Name    string
					Version string
					PURL    string
				}
				Dependencies []struct {
					Ref       string
					DependsOn []string
				}
			}
			if err := json.Unmarshal(out.Bytes(), &b); err != nil {
				t.Fatal(err)
			}
			var refs, types []string
			for _, c := range b.Components {
				if c.Name == "torchrun" && (c.Version != "2.7.1" || c.PURL != "pkg:pypi/torch@2.7.1") || c.Name == "train" && c.Version != "" {
					t.Errorf("%s has version %q and is package %q", c.Name, c.Version, c.PURL)
				}
				refs, types = append(refs, c.BOMRef), append(types, c.Type)
			}
			slices.Sort(types)
			want := 0
			if list != nil {
				want = 13 // three workloads and their engines, a framework, six files: one of them is used by two workloads
			}
			if b.SpecVersion != "1.6" || !strings.HasPrefix(b.SerialNumber, "urn:uuid:") || len(refs) != want {
				t.Errorf("%s %s, %d components: %q", b.SpecVersion, b.SerialNumber, len(refs), types)
			}
			for _, d := range b.Dependencies {
				for _, r := range append(d.DependsOn, d.Ref) {
					if !slices.Contains(refs, r) {
						t.Errorf("%s is no component", r)
					}
				}
			}
		})
	}
}
