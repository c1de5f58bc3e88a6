package detect

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"picket/sigma"
)

// LoadEvery reads what a replay runs: the threats of roots, as LoadThreats does, and each Sigma
// rule below the directories dirs, at any depth and of any log source, since a recording may come
// from a system that no sensor here watches. The values are those of placeholders. What is in order is returned even where the error, a
// sigma.Errors, is not nil.
func LoadEvery(dirs []string, values map[string][]string, roots ...fs.FS) ([]Threat, error) {
	threats, err := LoadThreats(WithPlaceholders(values, roots...)...)
	var faults sigma.Errors
	if err != nil {
		faults = asFaults(err, "", 1)
	}
	for _, dir := range dirs {
		l := loader{root: os.DirFS(dir), prefix: dir, values: values}
		t := Threat{Name: filepath.Base(dir), Source: dir, Placeholders: values}
		err := fs.WalkDir(l.root, ".", func(file string, d fs.DirEntry, err error) error {
			switch hidden := file != "." && strings.HasPrefix(path.Base(file), "."); {
			case err != nil:
				return err
			case d.IsDir() && hidden:
				return fs.SkipDir
			case d.IsDir() || hidden || path.Ext(file) != ".yml" && path.Ext(file) != ".yaml" || path.Base(file) == "attack.yml":
				return nil
			}
			if src, ok := l.read(file); ok {
				l.rules(&t, file, src)
			}
			return nil
		})
		if err != nil {
			l.fault(".", 0, "cannot be read: "+err.Error(), "name a directory of Sigma rules")
		}
		threats, faults = append(threats, t), append(faults, l.faults...)
	}
	return checked(threats, faults)
}

// Rewrite returns threats with their rules as pipelines make them. A rule that cannot be rewritten
// is left out, and with it what is made of it; the error is then a sigma.Errors about these.
func Rewrite(threats []Threat, pipelines ...*sigma.Pipeline) ([]Threat, error) {
	out := slices.Clone(threats)
	var faults sigma.Errors
	for i := range out {
		rules, err := sigma.Apply(out[i].Rules, pipelines...)
		if list, ok := errors.AsType[sigma.Errors](err); ok {
			faults = append(faults, list...)
		}
		out[i].Rules = rules
	}
	return checked(out, faults)
}

// checked drops what does not fit together and adds that to the faults.
func checked(threats []Threat, faults sigma.Errors) ([]Threat, error) {
	if faults = append(faults, crossCheck(threats)...); len(faults) > 0 {
		return threats, faults
	}
	return threats, nil
}
