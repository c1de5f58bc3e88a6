package otlp

import (
	"encoding/hex"
	"errors"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// span is what is taken of a span. Its texts are parts of the body that it came in.
type span struct {
	trace      string // which trace it is of, in hexadecimal
	start, end uint64 // nanoseconds since 1970
	failed     bool
	attributes map[string]value
	events     []spanEvent
}

// spanEvent is what happened within a span: libraries of before 1.36 told messages by it.
type spanEvent struct {
	name       string
	attributes map[string]value
}

// value is that of an attribute.
type value struct {
	text string
	num  float64
	is   kind
	list []value // of a list, or of the members of a map
	keys []string
}

type kind uint8

const (
	none kind = iota
	aText
	aNumber
	aTruth
	aList
	aMap
)

const (
	maxDepth      = 8
	maxAttributes = 256 // of a span or event, that are taken
	maxEvents     = 256
	maxTrace      = 16       // bytes of a trace's id
	maxValues     = 16 << 10 // within all of a span's: two bytes can be one, which takes a hundred
)

var errWire = errors.New("not an export request of OTLP traces")

// wanted reports whether an attribute is one that a request can be read from. The others are not even
// decoded.
func wanted(key string) bool {
	for _, prefix := range [...]string{"gen_ai.", "http.", "url.", "client.", "net.", "enduser.", "user.", "user_agent.", "session.", "content", "role", "message", "finish_reason"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// each calls do with every field of a message: its number, and for what has a length its bytes, else
// its bits.
func each(b []byte, do func(num protowire.Number, b []byte, bits uint64) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errWire
		}
		b = b[n:]
		var part []byte
		var bits uint64
		switch typ {
		case protowire.VarintType:
			bits, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			bits, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			part, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return errWire
		}
		if typ == protowire.VarintType || typ == protowire.Fixed64Type || typ == protowire.BytesType {
			if err := do(num, part, bits); err != nil {
				return err
			}
		}
		b = b[n:]
	}
	return nil
}

// spansOf calls do with every span of an export request, one at a time, so that a small body cannot
// take much memory. The numbers are those of opentelemetry/proto/trace/v1/trace.proto, v1.
func spansOf(body []byte, do func(*span) error) error {
	return each(body, func(num protowire.Number, resourceSpans []byte, _ uint64) error {
		if num != 1 {
			return nil
		}
		return each(resourceSpans, func(num protowire.Number, scopeSpans []byte, _ uint64) error {
			if num != 2 {
				return nil
			}
			return each(scopeSpans, func(num protowire.Number, b []byte, _ uint64) error {
				if num != 2 {
					return nil
				}
				s, err := spanOf(b)
				if err != nil {
					return err
				}
				return do(s)
			})
		})
	})
}

func spanOf(b []byte) (*span, error) {
	s := &span{attributes: map[string]value{}}
	left := maxValues
	err := each(b, func(num protowire.Number, b []byte, bits uint64) error {
		switch num {
		case 1:
			s.trace = hex.EncodeToString(b[:min(len(b), maxTrace)])
		case 7:
			s.start = bits
		case 8:
			s.end = bits
		case 9:
			return attribute(s.attributes, b, &left)
		case 11:
			if len(s.events) >= maxEvents {
				return nil
			}
			e := spanEvent{attributes: map[string]value{}}
			err := each(b, func(num protowire.Number, b []byte, _ uint64) error {
				switch num {
				case 2:
					e.name = string(b)
				case 3:
					return attribute(e.attributes, b, &left)
				}
				return nil
			})
			if strings.HasPrefix(e.name, "gen_ai.") {
				s.events = append(s.events, e)
			}
			return err
		case 15:
			return each(b, func(num protowire.Number, _ []byte, bits uint64) error {
				if num == 3 {
					s.failed = bits == 2
				}
				return nil
			})
		}
		return nil
	})
	return s, err
}

// attribute adds a KeyValue where it is wanted.
func attribute(to map[string]value, b []byte, left *int) error {
	var key string
	var raw []byte
	err := each(b, func(num protowire.Number, b []byte, _ uint64) error {
		switch num {
		case 1:
			if len(b) <= 128 {
				key = string(b)
			}
		case 2:
			raw = b
		}
		return nil
	})
	if err != nil || !wanted(key) || len(to) >= maxAttributes {
		return err
	}
	v, err := valueOf(raw, 0, left)
	to[key] = v
	return err
}

// valueOf reads an AnyValue. Of what is nested too deep, or has too many parts, the rest is left out.
func valueOf(b []byte, depth int, left *int) (v value, err error) {
	if *left--; depth > maxDepth || *left < 0 {
		return v, nil
	}
	err = each(b, func(num protowire.Number, b []byte, bits uint64) error {
		switch num {
		case 1:
			v = value{is: aText, text: string(b)}
		case 2:
			v = value{is: aTruth, num: float64(bits & 1)}
		case 3:
			v = value{is: aNumber, num: float64(int64(bits))}
		case 4:
			v = value{is: aNumber, num: math.Float64frombits(bits)}
		case 5, 6:
			v = value{is: aList}
			if num == 6 {
				v.is = aMap
			}
			return each(b, func(_ protowire.Number, b []byte, _ uint64) error {
				if *left <= 0 {
					return nil
				}
				key, raw := "", b
				if num == 6 {
					raw = nil
					if err := each(b, func(num protowire.Number, b []byte, _ uint64) error {
						switch num {
						case 1:
							key = string(b)
						case 2:
							raw = b
						}
						return nil
					}); err != nil {
						return err
					}
					v.keys = append(v.keys, key)
				}
				one, err := valueOf(raw, depth+1, left)
				v.list = append(v.list, one)
				return err
			})
		}
		return nil
	})
	return v, err
}
