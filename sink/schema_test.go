package sink

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"regexp"
	"testing"

	"picket/bench/public"
)

// schema checks records against the compiled OCSF schema.
type schema struct {
	Classes    map[string]*schemaClass
	Objects    map[string]*schemaClass
	Dictionary struct {
		Types struct {
			Attributes map[string]schemaType
		}
	}
}

type schemaClass struct {
	Name        string
	UID         int
	Attributes  map[string]schemaAttr
	Constraints map[string][]string
}

type schemaAttr struct {
	Type, Requirement, Profile string
	ObjectType                 string `json:"object_type"`
	IsArray                    bool   `json:"is_array"`
	Sibling                    string
	Enum                       map[string]struct{ Caption string }
}

type schemaType struct {
	Type   string
	Regex  string
	MaxLen int `json:"max_len"`
	Range  []float64
}

func loadSchema(t *testing.T) *schema {
	t.Helper()
	z, err := gzip.NewReader(public.Open(t, "ocsf/ocsf-1.8.0-compiled.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.NewDecoder(z).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// check returns what is wrong with a record.
func (s *schema) check(record []byte) (faults []string) {
	var o map[string]any
	if err := json.Unmarshal(record, &o); err != nil {
		return []string{err.Error()}
	}
	for _, c := range s.Classes {
		if float64(c.UID) == o["class_uid"] {
			profiles := map[string]bool{}
			if md, ok := o["metadata"].(map[string]any); ok {
				for _, p := range list(md["profiles"]) {
					profiles[fmt.Sprint(p)] = true
				}
			}
			s.object(c, o, "", profiles, &faults)
			if o["type_uid"] != o["class_uid"].(float64)*100+o["activity_id"].(float64) {
				faults = append(faults, "type_uid does not follow from class_uid and activity_id")
			}
			return faults
		}
	}
	return []string{"no class has this class_uid"}
}

func list(v any) []any { l, _ := v.([]any); return l }

func (s *schema) object(c *schemaClass, o map[string]any, at string, profiles map[string]bool, faults *[]string) {
	fault := func(format string, args ...any) { *faults = append(*faults, at+fmt.Sprintf(format, args...)) }
	if len(o) == 0 {
		fault(" is an empty object")
	}
	for name, a := range c.Attributes {
		// cloud and osint are demanded by the profiles of those names only.
		if _, ok := o[name]; !ok && a.Requirement == "required" && name != "cloud" && name != "osint" {
			fault(".%s is required", name)
		}
	}
	for rule, names := range c.Constraints {
		n := 0
		for _, name := range names {
			if _, ok := o[name]; ok {
				n++
			}
		}
		if n == 0 || rule == "just_one" && n > 1 {
			fault(" breaks %s of %v", rule, names)
		}
	}
	for name, v := range o {
		a, ok := c.Attributes[name]
		if !ok {
			fault(".%s is unknown", name)
			continue
		}
		if a.IsArray {
			items, ok := v.([]any)
			if !ok || len(items) == 0 {
				fault(".%s wants a list that is not empty", name)
			}
			for i, item := range items {
				s.value(a, item, fmt.Sprintf("%s.%s[%d]", at, name, i), profiles, faults)
			}
			continue
		}
		s.value(a, v, at+"."+name, profiles, faults)
		if a.Sibling != "" && v != 99.0 && a.Enum != nil {
			if got, ok := o[a.Sibling]; ok && got != a.Enum[fmt.Sprint(v)].Caption {
				fault(".%s is %v: want %q", a.Sibling, got, a.Enum[fmt.Sprint(v)].Caption)
			}
		}
	}
}

func (s *schema) value(a schemaAttr, v any, at string, profiles map[string]bool, faults *[]string) {
	fault := func(format string, args ...any) { *faults = append(*faults, at+": "+fmt.Sprintf(format, args...)) }
	if v == nil {
		fault("null")
		return
	}
	kind := a.Type
	if a.ObjectType != "" || kind == "object_t" {
		o, ok := v.(map[string]any)
		if !ok {
			fault("want an object, have %T", v)
			return
		}
		if a.ObjectType != "" && a.ObjectType != "object" {
			s.object(s.Objects[a.ObjectType], o, at, profiles, faults)
		}
		return
	}
	t := s.Dictionary.Types.Attributes[kind]
	if t.Type != "" {
		kind = t.Type
	}
	switch kind {
	case "string_t":
		text, ok := v.(string)
		if !ok {
			fault("want a text, have %T", v)
			return
		}
		if t.Regex != "" && !regexp.MustCompile(t.Regex).MatchString(text) {
			fault("%q does not match %s", text, a.Type)
		}
		if t.MaxLen > 0 && len(text) > t.MaxLen {
			fault("longer than %d", t.MaxLen)
		}
	case "integer_t", "long_t":
		n, ok := v.(float64)
		if !ok || n != float64(int64(n)) {
			fault("want an integer, have %v", v)
			return
		}
		if len(t.Range) == 2 && (n < t.Range[0] || n > t.Range[1]) {
			fault("%v is outside %v", n, t.Range)
		}
	case "boolean_t":
		if _, ok := v.(bool); !ok {
			fault("want true or false, have %v", v)
		}
	}
	if a.Enum != nil {
		if _, ok := a.Enum[fmt.Sprint(v)]; !ok {
			fault("%v is not one of its values", v)
		}
	}
}
