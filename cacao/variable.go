package cacao

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
)

// Variables are variables by their names, which begin and end with two underscores.
type Variables map[string]Variable

// Variable is a variable of a playbook or a step.
type Variable struct {
	Type        string `json:"type"`
	Description string `json:"description,omitempty"`
	Value       Value  `json:"value,omitzero"`
	Constant    bool   `json:"constant,omitempty"` // nothing may assign to it
	External    bool   `json:"external,omitempty"` // whoever starts the playbook gives it
}

// Value is the value of a variable: text, also where it means a number, or not known.
type Value struct {
	Text  string
	Known bool
	dict  bool // written as an object
}

// Known returns a value that is known.
func Known(text string) Value { return Value{Text: text, Known: true} }

// UnmarshalJSON reads text, null (not known), or an object, which is kept as its JSON text.
func (v *Value) UnmarshalJSON(b []byte) error {
	switch {
	case string(b) == "null":
		*v = Value{}
		return nil
	case len(b) > 0 && b[0] == '{':
		var compact bytes.Buffer
		if err := json.Compact(&compact, b); err != nil {
			return err
		}
		*v = Value{Text: compact.String(), Known: true, dict: true}
		return nil
	}
	v.Known, v.dict = true, false
	return json.Unmarshal(b, &v.Text)
}

// MarshalJSON writes the value as it was read.
func (v Value) MarshalJSON() ([]byte, error) {
	switch {
	case !v.Known:
		return []byte("null"), nil
	case v.dict:
		return []byte(v.Text), nil
	}
	return json.Marshal(v.Text)
}

var (
	hexText   = regexp.MustCompile(`^[0-9a-fA-F]*$`)
	uuidText  = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)
	hashSizes = []int{16, 20, 28, 32, 48, 64}
)

// types says for each type of variable why a text is no value of it.
var types = map[string]func(string) error{
	"string": func(string) error { return nil },
	"bool": func(s string) error {
		if s != "true" && s != "false" {
			return errors.New("want true or false")
		}
		return nil
	},
	"integer": func(s string) error { return integerText(s, 32) },
	"long":    func(s string) error { return integerText(s, 64) },
	"float": func(s string) error {
		if f, err := strconv.ParseFloat(s, 64); err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return errors.New("want a number")
		}
		return nil
	},
	"dictionary": func(s string) error {
		if v, err := readTree([]byte(s)); err != nil {
			return err
		} else if _, ok := v.(object); !ok {
			return errors.New("want a JSON object")
		}
		return nil
	},
	"hexstring": func(s string) error {
		if !hexText.MatchString(s) {
			return errors.New("want hexadecimal digits")
		}
		return nil
	},
	"ipv4-addr": func(s string) error { return address(s, true) },
	"ipv6-addr": func(s string) error { return address(s, false) },
	"mac-addr": func(s string) error {
		if m, err := net.ParseMAC(s); err != nil || len(m) != 6 {
			return errors.New("want six bytes such as 02:00:5e:10:00:01")
		}
		return nil
	},
	"hash":        func(s string) error { return digest(s, hashSizes...) },
	"md5-hash":    func(s string) error { return digest(s, 16) },
	"sha256-hash": func(s string) error { return digest(s, 32) },
	"uri": func(s string) error {
		if u, err := url.Parse(s); err != nil || u.Scheme == "" {
			return errors.New("want a URI with a scheme")
		}
		return nil
	},
	"uuid": func(s string) error {
		if !uuidText.MatchString(s) {
			return errors.New("want a UUID")
		}
		return nil
	},
}

func integerText(s string, bits int) error {
	if _, err := strconv.ParseInt(s, 10, bits); err != nil {
		return fmt.Errorf("want a whole number of %d bits", bits)
	}
	return nil
}

func address(s string, v4 bool) error {
	prefix, err := parsePrefix(s)
	if err != nil || prefix.Addr().Is4() != v4 {
		return fmt.Errorf("want an IPv%d address or network", map[bool]int{true: 4, false: 6}[v4])
	}
	return nil
}

// parsePrefix reads an address or a network; an address is the network of itself alone.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}

func digest(s string, sizes ...int) error {
	if b, err := hex.DecodeString(s); err != nil || !slices.Contains(sizes, len(b)) {
		return fmt.Errorf("want a hash of %v bytes in hexadecimal", sizes)
	}
	return nil
}

// CheckType says why text is no value of a type. Types that the standard does not know take any text.
func CheckType(kind, text string) error {
	check, known := types[kind]
	if !known {
		return nil
	}
	if err := check(text); err != nil {
		return fmt.Errorf("no %s: %w", kind, err)
	}
	return nil
}

// ErrUnknown is the error of what needs a variable that has no value. It is a failure of the step, not false.
var ErrUnknown = errors.New("has no value")

// Get returns a variable with a known value.
func (v Variables) Get(name string) (Variable, error) {
	x, declared := v[name]
	switch {
	case !declared:
		return x, fmt.Errorf("variable %s is not declared: declare it in playbook_variables or step_variables", name)
	case !x.Value.Known:
		return x, fmt.Errorf("variable %s %w", name, ErrUnknown)
	}
	return x, nil
}

// Start returns the variables with which a run begins: those of the playbook, and what the trigger
// gives. It refuses to set what is constant or not declared, a wrong type, and an external variable
// without a value.
func (v Variables) Start(given map[string]string) (Variables, error) {
	out := maps.Clone(v)
	if out == nil {
		out = Variables{}
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(given)) {
		errs = append(errs, out.Set(name, given[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(out)) {
		if x := out[name]; x.External && !x.Value.Known {
			errs = append(errs, fmt.Errorf("variable %s is external and must be given at the start", name))
		}
	}
	return out, errors.Join(errs...)
}

// Set assigns to a declared variable. Constants and values of a wrong type are refused.
func (v Variables) Set(name, text string) error {
	x, declared := v[name]
	if !declared {
		return fmt.Errorf("variable %s is not declared: declare it in playbook_variables or step_variables", name)
	}
	if x.Constant {
		return fmt.Errorf("variable %s is constant: nothing may be assigned to it", name)
	}
	if err := CheckType(x.Type, text); err != nil {
		return fmt.Errorf("variable %s: %w", name, err)
	}
	x.Value = Value{Text: text, Known: true, dict: x.Type == "dictionary"}
	v[name] = x
	return nil
}

// Within returns the variables that a step sees: its own, and the playbook's that they do not hide.
func (v Variables) Within(s *Step) Variables {
	out := maps.Clone(v)
	if out == nil {
		out = Variables{}
	}
	maps.Copy(out, s.Variables)
	return out
}
