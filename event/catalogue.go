package event

import (
	"fmt"
	"slices"
	"strconv"
)

// catalogue has one row a field: its names, type, meaning, and how to read and write it.
// The order is free to change between versions; names are not.
var catalogue = slices.Concat(
	eventRows,
	processRows,
	workloadRows,
	fileRows,
	fileFields,
	netRows,
	nameRows,
	unixRows,
	tlsRows,
	callFields,
	policyFields,
	actionFields,
	gpuFields,
	artifactFields,
	requestFields,
	principalFields,
	serviceFields,
	cudaFields,
	pythonFields,
	profileFields,
	kubernetesFields,
	driftFields,
)

// eventRows says what happened, on which host.
var eventRows = []Info{
	top("event.kind", "", Text, "what happened: process.start, file.read, net.connect…",
		func(e *Event) Value { return text(e.Kind.String()) },
		func(e *Event, s string) error {
			k, ok := ParseKind(s)
			if !ok {
				return fmt.Errorf("event.kind %q is not known", s)
			}
			if e.Kind = k; k == FileChown { // what is not said stays as it was
				e.File.Owner, e.File.Group = NoOwner, NoOwner
			}
			return nil
		}),
	top("host", "Computer", Text, "the host's name",
		func(e *Event) Value { return text(e.Host) }, func(e *Event, s string) error { e.Host = s; return nil }),
	top("event.errno", "", Integer, "error number of a call that failed",
		func(e *Event) Value { return count(int64(e.Errno)) }, number(func(e *Event, n int64) { e.Errno = int32(n) })),
	top("event.truncated", "", Boolean, "true where a value was cut to fit",
		func(e *Event) Value {
			if !e.Truncated {
				return Value{}
			}
			return boolean(true)
		}, flag(func(e *Event, b bool) { e.Truncated = b })),
	top("event.count", "", Integer, "how many events like it this one stands for, where more than one",
		func(e *Event) Value {
			if e.Count < 2 {
				return Value{}
			}
			return integer(int64(e.Count))
		}, number(func(e *Event, n int64) { e.Count = uint32(n) })),
	top("message", "", Text, "the text of a sensor.health event",
		func(e *Event) Value { return text(e.Message) }, func(e *Event, s string) error { e.Message = s; return nil }),
}

func top(name, sigma string, t ValueKind, doc string, get func(*Event) Value, set func(*Event, string) error) Info {
	if name == "" {
		name = "sigma." + sigma
	}
	return Info{Name: name, Sigma: sigma, Type: t, Doc: doc, get: get, set: set}
}

// part is a text of what an event may have or not: of gives it, nil where it is not there, and made
// gives it in any case.
func part[T any](name, sigma, doc string, of, made func(*Event) *T, member func(*T) *string) Info {
	return top(name, sigma, Text, doc,
		func(e *Event) Value {
			if x := of(e); x != nil {
				return text(*member(x))
			}
			return Value{}
		},
		func(e *Event, s string) error { *member(made(e)) = s; return nil })
}

// derived marks a field as another view of one that is recorded: it is neither recorded nor set.
func derived(f Info, from string) Info {
	f.derived = true
	f.set = func(*Event, string) error { return fmt.Errorf("%s follows from %s: set that", f.Name, from) }
	return f
}

func number(put func(*Event, int64)) func(*Event, string) error {
	return func(e *Event, s string) error {
		n, err := strconv.ParseInt(s, 0, 64)
		if err != nil {
			return fmt.Errorf("%q is not an integer", s)
		}
		put(e, n)
		return nil
	}
}

func flag(put func(*Event, bool)) func(*Event, string) error {
	return func(e *Event, s string) error {
		b, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("%q is not true or false", s)
		}
		put(e, b)
		return nil
	}
}
