package artifact

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// The fields of Core ML's models are those of mlmodel/format in github.com/apple/coremltools.

// coreMLFields are those of Model: the version, the description, whether it can be updated, and one of the kinds.
var coreMLFields = map[protowire.Number]byte{
	1: 'v', 2: 'b', 10: 'v', 200: 'b', 201: 'b', 202: 'b', 300: 'b', 301: 'b', 302: 'b', 303: 'b', 304: 'b', 400: 'b', 401: 'b', 402: 'b',
	403: 'b', 404: 'b', 500: 'b', 501: 'b', 502: 'b', 555: 'b', 556: 'b', 560: 'b', 600: 'b', 601: 'b', 602: 'b', 603: 'b', 604: 'b', 606: 'b',
	607: 'b', 609: 'b', 610: 'b', 900: 'b', 2000: 'b', 2001: 'b', 2002: 'b', 2003: 'b', 2004: 'b', 2005: 'b', 2006: 'b', 3000: 'b',
}

// coreMLFormat is a model of Core ML, alone or in a package. It runs code of the program that loads it by the names
// of classes, and reads files only where it says that weights or another model lie outside it.
func coreMLFormat() format {
	return format{
		name: "coreml",
		sniff: func(head []byte, p *part) bool {
			if len(head) < 4 || head[0] != 8 || !looksLike(p, coreMLFields, 1, 2) {
				return false
			}
			kinds := 0
			err := newMessage(p).each(func(f field) error {
				if f.num >= 200 {
					kinds++
				}
				return nil
			})
			return err == nil && kinds > 0
		},
		scan: func(s *scan, p *part) {
			c := &coreML{s: s, p: p, told: map[string]bool{}}
			if err := newMessage(p).each(c.model); err != nil {
				s.broken(p, -1, "Core ML", err)
			}
		},
	}
}

type coreML struct {
	s    *scan
	p    *part
	told map[string]bool
}

// inside calls f for the fields of a field that has some.
func inside(x field, f func(field) error) error {
	if x.in == nil {
		return nil
	}
	return x.in.each(f)
}

// numbered calls f for the fields of those with a number.
func numbered(num protowire.Number, f func(field) error) func(field) error {
	return func(x field) error {
		if x.num != num {
			return nil
		}
		return inside(x, f)
	}
}

func (c *coreML) model(f field) error {
	switch f.num {
	case 200, 201: // a classifier or regressor, of a pipeline
		return inside(f, numbered(1, numbered(1, c.model)))
	case 202:
		return inside(f, numbered(1, c.model))
	case 303, 403, 500:
		return inside(f, c.network)
	case 502:
		return inside(f, numbered(2, numbered(2, numbered(3, numbered(2, c.block))))) // functions and their specializations are maps
	case 555:
		return inside(f, c.custom("model"))
	case 556: // of a file: its name, and where it is looked for
		return inside(f, numbered(1, func(x field) error {
			return inside(x, func(v field) error {
				if v.num == 1 && v.in != nil {
					for where := range strings.SplitSeq(v.in.text(), ":") {
						c.reaches(v.in.at, where, "It takes another model from %q, outside its own directory.")
					}
				}
				return nil
			})
		}))
	}
	return nil
}

// network judges layers, and those of branches and loops.
func (c *coreML) network(f field) error {
	if f.num != 1 {
		return nil
	}
	return inside(f, func(x field) error {
		switch x.num {
		case 500:
			return inside(x, c.custom("layer"))
		case 605: // if, else
			return inside(x, func(n field) error {
				if n.num == 1 || n.num == 2 {
					return inside(n, c.network)
				}
				return nil
			})
		case 615: // condition, body
			return inside(x, func(n field) error {
				if n.num == 3 || n.num == 4 {
					return inside(n, c.network)
				}
				return nil
			})
		}
		return nil
	})
}

// custom tells of a class by its parameters.
func (c *coreML) custom(what string) func(field) error {
	return func(f field) error {
		if f.num == 10 && f.in != nil {
			c.tell(what, clip(f.in.text()), f.in.at)
		}
		return nil
	}
}

// tell says once that the program must bring a class.
func (c *coreML) tell(what, name string, offset int64) {
	if c.told[name] || len(c.told) >= 1000 {
		return
	}
	c.told[name] = true
	c.s.issue(c.p, Issue{
		Rule: "coreml-custom", Verdict: Unknown, Offset: offset, Name: name,
		Text: fmt.Sprintf("It has a %s of the class %s, whose native code the program that loads it must bring.", what, name),
	})
}

// block judges the operations of a program: those in each other, and where their values lie.
func (c *coreML) block(f field) error {
	if f.num != 3 || f.in == nil {
		return nil
	}
	custom, class := false, "custom_layer"
	err := inside(f, func(x field) error {
		switch x.num {
		case 1:
			custom = x.in != nil && x.in.text() == "custom_layer"
		case 2: // inputs: a map to arguments, of which each is a list of bindings
			return inside(x, numbered(2, numbered(1, numbered(2, c.value))))
		case 4:
			return inside(x, c.block)
		case 5:
			return c.attribute(x, &class)
		}
		return nil
	})
	if custom {
		c.tell("layer", clip(class), f.in.at)
	}
	return err
}

// attribute judges where an attribute lies, and takes the class of a custom layer.
func (c *coreML) attribute(f field, class *string) error {
	key := ""
	return inside(f, func(x field) error {
		if x.in == nil {
			return nil
		}
		if x.num == 1 {
			key = x.in.text()
		}
		if x.num != 2 {
			return nil
		}
		return inside(x, func(v field) error {
			if v.num == 3 && key == "class_name" { // of a tensor of texts
				return inside(v, numbered(1, numbered(4, func(t field) error {
					if t.num == 1 && t.in != nil {
						*class = t.in.text()
					}
					return nil
				})))
			}
			return c.value(v)
		})
	})
}

// value judges in which file one lies.
func (c *coreML) value(f field) error {
	if f.num != 5 {
		return nil
	}
	return inside(f, func(x field) error {
		if x.num == 1 && x.in != nil {
			c.reaches(x.in.at, strings.TrimPrefix(x.in.text(), "@model_path/"), "A value lies in %q, outside the model's directory.")
		}
		return nil
	})
}

func (c *coreML) reaches(offset int64, name, text string) {
	if outside(name) || strings.HasPrefix(name, "@") {
		c.s.issue(c.p, Issue{Rule: "coreml-path", Verdict: Malicious, Offset: offset, Name: clip(name), Text: fmt.Sprintf(text, clip(name))})
	}
}
