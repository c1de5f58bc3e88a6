package inventory

import (
	"cmp"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/CycloneDX/cyclonedx-go"

	"picket/event"
)

// WriteBOM writes what runs as a bill of materials in CycloneDX 1.6: each workload an application that
// depends on its engine, on frameworks and on its model files, which are machine-learning models or data
// with digest, signature and verdict.
func WriteBOM(w io.Writer, running []event.Running, version string, now time.Time) error {
	b := cyclonedx.NewBOM()
	b.SerialNumber = serial(running, now)
	b.Metadata = &cyclonedx.Metadata{
		Timestamp: now.UTC().Format(time.RFC3339),
		Tools:     &cyclonedx.ToolsChoice{Components: &[]cyclonedx.Component{{Type: cyclonedx.ComponentTypeApplication, Name: "picket", Version: version}}},
	}
	made := bom{seen: map[string]bool{}}
	for i := range running {
		made.workload(&running[i])
	}
	b.Components, b.Dependencies = &made.components, &made.dependencies
	enc := cyclonedx.NewBOMEncoder(w, cyclonedx.BOMFileFormatJSON)
	return enc.SetPretty(true).SetEscapeHTML(true).EncodeVersion(b, cyclonedx.SpecVersion1_6)
}

// serial derives a UUID from what is told: the same inventory of the same moment has the same.
func serial(running []event.Running, now time.Time) string {
	parts := []string{now.UTC().Format(time.RFC3339Nano)}
	for _, r := range running {
		parts = append(parts, r.Host, r.ID)
	}
	h := event.HashID(parts...)
	return fmt.Sprintf("urn:uuid:%s-%s-4%s-8%s-%s", h[:8], h[8:12], h[13:16], h[17:20], h[20:32])
}

type bom struct {
	components   []cyclonedx.Component
	dependencies []cyclonedx.Dependency
	seen         map[string]bool // bom-refs
}

func (b *bom) add(c cyclonedx.Component) {
	if !b.seen[c.BOMRef] {
		b.seen[c.BOMRef] = true
		b.components = append(b.components, c)
	}
}

func (b *bom) workload(r *event.Running) {
	ref := "workload:" + event.HashID(r.Host, r.ID)[:16]
	props := properties(
		"host", r.Host, "workload", r.ID, "kind", string(r.Kind), "engine", r.Engine, "program", r.Exe, "started", r.Started.UTC().Format(time.RFC3339),
	)
	if c := r.Container; c != nil {
		props = append(props, properties("container", c.ID, "runtime", c.Runtime, "pod", c.PodUID)...)
	}
	for _, l := range r.Listens {
		props = append(props, properties("listens", l)...)
	}
	for _, g := range r.GPUs {
		props = append(props, properties("gpu", g)...)
	}
	if r.Job != nil {
		props = append(props, properties("job", r.Job.ID)...)
	}
	b.add(cyclonedx.Component{Type: cyclonedx.ComponentTypeApplication, BOMRef: ref, Name: cmp.Or(r.Name, r.Engine), Properties: &props})
	needs := []string{b.engine(r)}
	for _, p := range r.Packages {
		of := "package:" + event.HashID(p.Name, p.Version)[:16]
		b.add(cyclonedx.Component{
			Type: cyclonedx.ComponentTypeFramework, BOMRef: of, Name: p.Name, Version: p.Version, PackageURL: "pkg:pypi/" + p.Name + "@" + p.Version,
		})
		needs = append(needs, of)
	}
	for i := range r.Files {
		needs = append(needs, b.file(r, &r.Files[i]))
	}
	b.dependencies = append(b.dependencies, cyclonedx.Dependency{Ref: ref, Dependencies: &needs})
}

// packageOf are engines whose version is that of a Python package of another name; triton's is none's.
var packageOf = map[string]string{
	"llama.cpp": "llama-cpp-python", "tgi": "text-generation-server", "torchrun": "torch", "pytorch": "torch", "jupyter": "jupyterlab", "triton": "",
}

// engine adds the program that serves or trains, by which its known weaknesses are found.
func (b *bom) engine(r *event.Running) string {
	c := cyclonedx.Component{Type: cyclonedx.ComponentTypeApplication, BOMRef: "engine:" + event.HashID(r.Engine, r.Version)[:16], Name: r.Engine, Version: r.Version}
	name, other := packageOf[r.Engine]
	if !other {
		name = r.Engine
	}
	if r.Version != "" && name != "" {
		c.PackageURL = "pkg:pypi/" + name + "@" + r.Version
	}
	b.add(c)
	return c.BOMRef
}

// file adds a model file. One version of a file is one component, whoever uses it.
func (b *bom) file(r *event.Running, f *event.ModelFile) string {
	what := []string{r.Host, f.Path}
	if f.Artifact.Digest != "" {
		what = []string{path.Base(f.Path), f.Artifact.Digest}
	}
	c := cyclonedx.Component{BOMRef: "file:" + event.HashID(what...)[:16], Group: f.Model, Name: path.Base(f.Path), Type: cyclonedx.ComponentTypeMachineLearningModel}
	props := properties(
		"path", f.Path, "model", f.Model, "role", f.Role, "format", f.Format, "size", fmt.Sprint(f.Size), "verdict", f.Artifact.Verdict, "issue", f.Artifact.Issue,
		"signature", f.Artifact.Signature, "signer", f.Artifact.Signer, "refusal", f.Artifact.Refusal,
	)
	c.Properties = &props
	if f.Artifact.Digest != "" {
		c.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: f.Artifact.Digest}}
	}
	switch f.Role {
	case "model", "adapter":
		params := &cyclonedx.MLModelParameters{}
		var data []cyclonedx.MLDatasetChoice
		for i := range r.Files {
			if d := &r.Files[i]; d.Role == "dataset" && r.Kind == event.Training {
				data = append(data, cyclonedx.MLDatasetChoice{ComponentData: &cyclonedx.ComponentData{Type: cyclonedx.ComponentDataTypeDataset, Name: path.Base(d.Path)}})
			}
		}
		if len(data) > 0 {
			params.Datasets = &data
		}
		c.ModelCard = &cyclonedx.MLModelCard{ModelParameters: params}
	case "dataset":
		c.Type = cyclonedx.ComponentTypeData
		c.Data = &[]cyclonedx.ComponentData{{Type: cyclonedx.ComponentDataTypeDataset, Name: c.Name}}
	default:
		c.Type = cyclonedx.ComponentTypeFile
	}
	b.add(c)
	return c.BOMRef
}

// properties makes properties of names and values, without the empty ones.
func properties(pairs ...string) []cyclonedx.Property {
	var out []cyclonedx.Property
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out = append(out, cyclonedx.Property{Name: "picket:" + pairs[i], Value: pairs[i+1]})
		}
	}
	return out
}
