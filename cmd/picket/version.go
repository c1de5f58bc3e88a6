package main

import (
	"runtime"
	"runtime/debug"
)

type versionCmd struct{ outputFlag }

func (c *versionCmd) Run(a *app) error {
	v := struct {
		Version string `json:"version"`
		Commit  string `json:"commit,omitempty"`
		Go      string `json:"go"`
		OS      string `json:"os"`
		Arch    string `json:"arch"`
	}{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	if c.json() {
		return a.printJSON(v)
	}
	a.printf("picket %s (%s, %s/%s)\n", v.Version, v.Go, v.OS, v.Arch)
	return nil
}
