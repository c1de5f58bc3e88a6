package node

import (
	"fmt"
	"io"
	"reflect"
	"strings"
)

// WriteDefault writes a picket.yaml with every key, its meaning and its default.
func WriteDefault(w io.Writer) error {
	p := &docWriter{w: w}
	p.line("# Picket's configuration. Every key is optional; these are the defaults.\n")
	p.section(reflect.ValueOf(Default()).Elem(), "")
	return p.err
}

type docWriter struct {
	w   io.Writer
	err error
}

func (p *docWriter) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *docWriter) section(v reflect.Value, indent string) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := f.Tag.Get("yaml")
		if name == "" {
			continue
		}
		if indent == "" {
			p.line("\n")
		}
		p.line("%s# %s\n", indent, f.Tag.Get("doc"))
		switch fv := v.Field(i); {
		case fv.Kind() == reflect.Struct:
			p.line("%s%s:\n", indent, name)
			p.section(fv, indent+"  ")
		case fv.Kind() == reflect.Slice && fv.Type().Elem().Kind() == reflect.Struct:
			p.line("%s%s: []\n%s# for example:\n", indent, name, indent)
			p.example(fv.Type().Elem(), indent)
		default:
			p.line("%s%s: %s\n", indent, name, yamlValue(fv))
		}
	}
}

// example writes the keys of one item of a list as comments.
func (p *docWriter) example(t reflect.Type, indent string) {
	lead := indent + "#  - "
	for f := range t.Fields() {
		p.line("%s%s: # %s\n", lead, f.Tag.Get("yaml"), f.Tag.Get("doc"))
		lead = indent + "#    "
	}
}

func yamlValue(v reflect.Value) string {
	if v.Kind() == reflect.Map && v.Len() == 0 {
		return "{}"
	}
	switch x := v.Interface().(type) {
	case []string:
		return "[" + strings.Join(x, ", ") + "]"
	case string:
		if x == "" {
			return `""`
		}
		return x
	case fmt.Stringer:
		return x.String()
	}
	return fmt.Sprint(v.Interface())
}
