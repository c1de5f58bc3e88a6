package node

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// ConfigError is a mistake in picket.yaml, with its place.
type ConfigError struct {
	File      string
	Line, Col int
	Key       string // dotted path of the key
	Msg       string
	Source    string // the line at fault
}

func (e *ConfigError) Error() string {
	at := fmt.Sprintf("%s:%d:%d: ", e.File, e.Line, e.Col)
	if e.Key != "" {
		at += e.Key + ": "
	}
	s := at + e.Msg
	if e.Source != "" {
		s += fmt.Sprintf("\n  %4d | %s", e.Line, e.Source)
	}
	return s
}

// Size is a number of bytes, written 256MiB, 2GiB or as a plain number.
type Size int64

// Duration is a length of time, written 30m, 12h or 30d.
type Duration time.Duration

var units = []struct {
	suffix string
	n      int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}}

// String writes the size with the largest unit that divides it.
func (s Size) String() string {
	for _, u := range units {
		if int64(s)%u.n == 0 && int64(s) >= u.n {
			return strconv.FormatInt(int64(s)/u.n, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// String writes whole days as 30d and the rest as Go does.
func (d Duration) String() string {
	if day := Duration(24 * time.Hour); d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := time.Duration(d).String()
	s = strings.TrimSuffix(s, "0s")
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func parseSize(s string) (Size, error) {
	for _, u := range units {
		if num, ok := strings.CutSuffix(s, u.suffix); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(num), 10, 64)
			if err != nil || n < 0 || n > (1<<62)/u.n {
				break
			}
			return Size(n * u.n), nil
		}
	}
	return 0, errors.New("want a size such as 256MiB or 2GiB")
}

func parseDuration(s string) (Duration, error) {
	if num, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseInt(num, 10, 32); err == nil && n >= 0 {
			return Duration(n) * Duration(24*time.Hour), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New("want a duration such as 30m, 12h or 30d")
	}
	return Duration(d), nil
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// decode reads src into c, strictly: an unknown key, a wrong type or a value out of range is a
// ConfigError. All mistakes are reported, joined, in the order of the file.
func decode(file string, src []byte, c *Config) error {
	d := &decoder{file: file, lines: strings.Split(string(src), "\n"), at: map[string]*yaml.Node{}}
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		line := 1
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			line, _ = strconv.Atoi(m[1]) // the expression matched digits
		}
		d.fail(&yaml.Node{Line: line, Column: 1}, "", strings.TrimPrefix(err.Error(), "yaml: "))
		return errors.Join(d.errs...)
	}
	if len(doc.Content) > 0 {
		d.value(doc.Content[0], "", reflect.ValueOf(c).Elem())
	}
	if len(d.errs) == 0 {
		if key, msg := c.validate(); key != "" {
			n := d.at[key]
			if n == nil {
				n = &yaml.Node{Line: 1, Column: 1}
			}
			d.fail(n, key, msg)
		}
	}
	return errors.Join(d.errs...)
}

type decoder struct {
	file  string
	lines []string
	at    map[string]*yaml.Node // where each key's value stands
	errs  []error
}

func (d *decoder) fail(n *yaml.Node, key, msg string) {
	e := &ConfigError{File: d.file, Line: n.Line, Col: n.Column, Key: key, Msg: msg}
	if n.Line >= 1 && n.Line <= len(d.lines) {
		e.Source = strings.TrimRight(d.lines[n.Line-1], "\r")
	}
	d.errs = append(d.errs, e)
}

func (d *decoder) value(n *yaml.Node, key string, v reflect.Value) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	d.at[key] = n
	if n.Tag == "!!null" {
		return // a key without a value keeps its default
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, key, v)
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[Values]() && n.Kind == yaml.ScalarNode {
			n = &yaml.Node{Kind: yaml.SequenceNode, Line: n.Line, Column: n.Column, Content: []*yaml.Node{n}}
		}
		if n.Kind != yaml.SequenceNode {
			d.fail(n, key, "want a list")
			return
		}
		s := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
		for i, c := range n.Content {
			d.value(c, key+"."+strconv.Itoa(i), s.Index(i))
		}
		v.Set(s)
	case reflect.Map:
		if n.Kind != yaml.MappingNode {
			d.fail(n, key, "want a map of names to values")
			return
		}
		m := reflect.MakeMap(v.Type())
		for i := 0; i+1 < len(n.Content); i += 2 {
			one := reflect.New(v.Type().Elem()).Elem()
			d.value(n.Content[i+1], key+"."+n.Content[i].Value, one)
			m.SetMapIndex(reflect.ValueOf(n.Content[i].Value), one)
		}
		v.Set(m)
	default:
		d.scalar(n, key, v)
	}
}

func (d *decoder) structure(n *yaml.Node, key string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, key, "want keys and values")
		return
	}
	fields := map[string]int{}
	var names []string
	for i := range v.NumField() {
		if name := v.Type().Field(i).Tag.Get("yaml"); name != "" {
			fields[name] = i
			names = append(names, name)
		}
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, c := n.Content[i], n.Content[i+1]
		full := strings.TrimPrefix(key+"."+k.Value, ".")
		f, ok := fields[k.Value]
		switch {
		case !ok:
			d.fail(k, full, "unknown key; "+suggest(k.Value, names))
		case seen[k.Value]:
			d.fail(k, full, "stands here twice")
		default:
			d.value(c, full, v.Field(f))
		}
		seen[k.Value] = true
	}
}

func (d *decoder) scalar(n *yaml.Node, key string, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		d.fail(n, key, "want one value")
		return
	}
	switch v.Interface().(type) {
	case Size:
		s, err := parseSize(n.Value)
		if err != nil {
			d.fail(n, key, err.Error())
			return
		}
		v.SetInt(int64(s))
	case Duration:
		t, err := parseDuration(n.Value)
		if err != nil {
			d.fail(n, key, err.Error())
			return
		}
		v.SetInt(int64(t))
	case int:
		i, err := strconv.Atoi(n.Value)
		if err != nil {
			d.fail(n, key, "want a number")
			return
		}
		v.SetInt(int64(i))
	case bool:
		if n.Value != "true" && n.Value != "false" {
			d.fail(n, key, "want true or false")
			return
		}
		v.SetBool(n.Value == "true")
	case string:
		s, missing := expand(n.Value)
		if missing != "" {
			d.fail(n, key, "the environment has no "+missing)
			return
		}
		v.SetString(s)
	}
}

// expand replaces ${NAME} by the environment's value, so that secrets stay out of the file.
func expand(s string) (out, missing string) {
	out = envName.ReplaceAllStringFunc(s, func(m string) string {
		name := m[2 : len(m)-1]
		v, ok := os.LookupEnv(name)
		if !ok {
			missing = name
		}
		return v
	})
	return out, missing
}

var (
	envName = regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_]*\}`)
	envRef  = regexp.MustCompile(`\benv:([A-Za-z_][A-Za-z0-9_]*)`) // which its user reads when it needs it
)

// suggest names the known key nearest to a mistyped one, or lists them all.
func suggest(got string, names []string) string {
	best, dist := "", 3
	for _, n := range names {
		if d := distance(got, n); d < dist {
			best, dist = n, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	return "known here: " + strings.Join(names, ", ")
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := prev
			if a[i] != b[j] {
				cost++
			}
			prev = row[j+1]
			row[j+1] = min(cost, prev+1, row[j]+1)
		}
	}
	return row[len(b)]
}
