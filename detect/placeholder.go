package detect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"picket/sigma"
)

// Bounds of the values of a placeholder: a rule is compiled for each of them.
const (
	maxValues    = 4096
	maxValueText = 4096 // bytes
)

// LoadPlaceholders returns the values of placeholders, as rules with the modifier expand name them.
// A value @/path stands for those of a file, one a line; empty lines and those that begin with # are
// passed over. What is in order is returned even where the error, a sigma.Errors, is not nil.
func LoadPlaceholders(given map[string][]string) (map[string][]string, error) {
	out := map[string][]string{}
	var faults sigma.Errors
	for _, name := range slices.Sorted(maps.Keys(given)) {
		for _, v := range given[name] {
			file, isFile := ValuesFile(v)
			if !isFile {
				out[name] = append(out[name], v)
				continue
			}
			values, wrong := valuesOf(file)
			out[name] = append(out[name], values...)
			faults = append(faults, wrong...)
		}
		if n := len(out[name]); n > maxValues {
			faults = append(faults, fault(name, 1, 1, fmt.Sprintf("the placeholder has %d values", n), fmt.Sprintf("the first %d are taken", maxValues)))
			out[name] = out[name][:maxValues]
		}
	}
	return out, errorsOf(faults)
}

// ValuesFile returns the file that a value of a placeholder names, if it names one.
func ValuesFile(value string) (string, bool) {
	return strings.CutPrefix(value, "@")
}

// valuesOf reads a file of values.
func valuesOf(file string) (values []string, faults sigma.Errors) {
	f, err := os.Open(file)
	if err != nil {
		hint := "put one value on each line"
		if errors.Is(err, fs.ErrPermission) {
			hint = "give the user that runs this program the right to read it"
		}
		return nil, sigma.Errors{fault(file, 1, 1, "values of a placeholder cannot be read: "+err.Error(), hint)}
	}
	defer f.Close() //nolint:errcheck // it was only read
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, sigma.Errors{fault(file, 1, 1, "values of a placeholder cannot be read: "+err.Error(), "")}
	}
	if len(src) > maxFile {
		return nil, sigma.Errors{fault(file, 1, 1, fmt.Sprintf("is larger than %d bytes", maxFile), "fewer values do: wildcards are allowed in them")}
	}
	n := 0
	for line := range bytes.Lines(src) {
		n++
		text := strings.TrimSpace(string(line))
		switch {
		case text == "" || text[0] == '#':
		case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
			faults = append(faults, fault(file, n, 1, "the value is not UTF-8 text", ""))
		case len(text) > maxValueText:
			faults = append(faults, fault(file, n, maxValueText+1, fmt.Sprintf("the value is longer than %d bytes", maxValueText), "put one value on each line"))
		default:
			values = append(values, text)
		}
	}
	if len(values) == 0 && len(faults) == 0 {
		faults = append(faults, fault(file, 1, 1, "holds no value", "put one value on each line"))
	}
	return values, faults
}

// WithPlaceholders returns roots for LoadThreats whose rules take the values of their placeholders
// from values.
func WithPlaceholders(values map[string][]string, roots ...fs.FS) []fs.FS {
	out := make([]fs.FS, len(roots))
	for i, root := range roots {
		f, ok := root.(folder)
		if !ok {
			f = folder{FS: root}
		}
		f.values = values
		out[i] = f
	}
	return out
}

// valuesFor returns the values that the rules of threats are compiled with.
func valuesFor(threats ...Threat) map[string][]string {
	out := map[string][]string{}
	for _, t := range threats {
		maps.Copy(out, t.Placeholders)
	}
	return out
}

// sayWhere tells where this program takes values from, in faults about placeholders that have none.
func sayWhere(faults sigma.Errors) sigma.Errors {
	for _, f := range faults {
		if strings.HasPrefix(f.Msg, "placeholder ") {
			f.Hint = "give it values under detect.placeholders in picket.yaml, or remove the rule"
		}
	}
	return faults
}
