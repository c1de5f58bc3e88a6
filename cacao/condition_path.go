package cacao

import "strings"

// atPath reports whether a variable or an object path comes next, rather than a word that is a text.
func (p *parser) atPath() bool {
	return p.peek().kind == wordToken && namePattern.MatchString(p.peek().text)
}

// path reads an object path: __x__:value, file:hashes.'SHA-256', network-traffic:dst_ref.value,
// windows-pe:sections[*].entropy. The loose dialect has __x__ alone, alert.severity, and a whole
// path in quotes.
func (p *parser) path() (path, error) {
	first := p.take()
	if p.loose && first.kind == textToken {
		return p.quotedPath(first)
	}
	if first.kind != wordToken {
		p.at = max(p.at-1, 0)
		return path{}, p.errorf(first, "expected a variable or an object path, found %s", p.found())
	}
	at := path{text: first.text}
	named := namePattern.MatchString(first.text)
	if !p.joined(first, ":") {
		return p.loosePath(first, at, named)
	}
	p.take()
	end := p.at - 1
	for {
		t := p.take()
		if t.kind != wordToken && t.kind != textToken || t.from != p.toks[end].to {
			return path{}, p.errorf(t, "expected a property after %q", at.text)
		}
		at.keys = append(at.keys, t.text)
		end = p.at - 1
		if err := p.indexes(&at, &end); err != nil {
			return path{}, err
		}
		if !p.joined(p.toks[end], ".") {
			break
		}
		p.take()
		end = p.at - 1
	}
	at.text += ":" + strings.Join(at.keys, ".")
	if named {
		if at.keys[0] != "value" {
			return path{}, p.errorf(first, "a variable has a value and nothing else: %s:value", first.text)
		}
		at.variable, at.keys = first.text, at.keys[1:]
	}
	return at, nil
}

// joined reports whether a sign follows a token without a space between.
func (p *parser) joined(t token, sign string) bool {
	next := p.peek()
	return next.kind == signToken && next.text == sign && next.from == t.to
}

// indexes reads [0] and [*] behind a property.
func (p *parser) indexes(at *path, end *int) error {
	for p.joined(p.toks[*end], "[") {
		p.take()
		t := p.take()
		if t.kind != numberToken && t.text != "*" {
			return p.errorf(t, "expected a number or * as the index")
		}
		last := len(at.keys) - 1
		at.keys[last] += "[" + t.text + "]"
		if err := p.expect("]"); err != nil {
			return err
		}
		*end = p.at - 1
	}
	return nil
}

// loosePath reads what is a path in the loose dialect alone: a variable's name, or names with dots.
func (p *parser) loosePath(first token, at path, named bool) (path, error) {
	if !p.loose {
		return at, p.errorf(first, "%q is no object path: write __name__:value or type:property", first.text)
	}
	end := first
	for p.joined(end, ".") {
		p.take()
		t := p.take()
		if t.kind != wordToken || t.from != end.to+1 {
			return at, p.errorf(t, "expected a name after %q", at.text)
		}
		at.keys = append(at.keys, t.text)
		end = t
	}
	switch {
	case named:
		at.variable = first.text
	case len(at.keys) > 0:
		at.variable = "__" + first.text + "__"
	default:
		return at, p.errorf(first, "%q is neither a variable nor an object path", first.text)
	}
	at.text = strings.Join(append([]string{at.variable + ":value"}, at.keys...), ".")
	return at, nil
}

// quotedPath reads a path that stands in quotes as a whole.
func (p *parser) quotedPath(t token) (path, error) {
	toks, err := tokens(t.text)
	if err != nil || len(toks) < 2 || toks[0].kind == textToken {
		return path{}, p.errorf(t, "%q is no object path", t.text)
	}
	inner := &parser{text: t.text, toks: toks, loose: true}
	at, err := inner.path()
	if err != nil || inner.peek().kind != endToken {
		return path{}, p.errorf(t, "%q is no object path", t.text)
	}
	return at, nil
}
