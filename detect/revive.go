package detect

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"picket/event"
	"picket/sigma"
)

// Bounds of what an event keeps of a foreign record, beside the fields of the catalogue.
const (
	maxExtra     = 256     // fields
	maxExtraName = 256     // bytes
	maxExtraText = 4 << 10 // bytes
)

// Event makes an event of what was read last. Fields of the catalogue go where they belong, all
// others into Extra under the names they have in the record. An event without a time is one of
// 1970: sequences then take events in the order of the file. The event stays valid.
func (f *Foreign) Event() *event.Event {
	e := &event.Event{Kind: f.kind, Time: f.time()}
	taken := map[string]bool{}
	for _, info := range event.Fields() {
		if info.Name == "event.kind" {
			continue
		}
		v := f.value(f.catalogue[info.Field])
		text, ok := textOf(v)
		if !ok || e.Set(info.Field, strings.Clone(text)) != nil {
			continue // of another form than the catalogue's: it stays in Extra
		}
		for _, p := range f.catalogue[info.Field].from {
			if p.special == "" && f.at(p.field).Kind != sigma.Absent {
				taken[f.names.Name(p.field)] = true
				break
			}
		}
	}
	f.extra(e, taken)
	if e.Process == nil {
		e.Process = &event.Process{LoginUID: ^uint32(0)}
	}
	e.Process.Seal()
	for _, p := range []*event.Process{e.Process, e.Process.Parent} {
		if p != nil && (p.PID != 0 || p.Exe != "") { // else the event is not that of a process
			identify(p, e.Host)
		}
	}
	return e
}

// identify gives a process that comes without an identity one.
func identify(p *event.Process, host string) {
	if p.UID == "" {
		p.UID = event.HashID(host, strconv.FormatUint(uint64(p.PID), 10), p.Exe, p.Comm)
	}
}

// extra keeps the fields of the record that are not taken. Values of a list are joined.
func (f *Foreign) extra(e *event.Event, taken map[string]bool) {
	e.Extra = map[string]string{}
	f.record.Each(func(path, text string) bool {
		if taken[path] || len(path) > maxExtraName {
			return true
		}
		old, have := e.Extra[path]
		switch {
		case !have && len(e.Extra) >= maxExtra || len(old) >= maxExtraText:
			return true
		case have:
			text = old + " " + text
		}
		e.Extra[strings.Clone(path)] = strings.Clone(cut(text, maxExtraText))
		return true
	})
}

// textOf returns a value as event.Set wants it: of a list the first text.
func textOf(v sigma.Value) (string, bool) {
	switch v.Kind {
	case sigma.Text:
		return v.Str, v.Str != ""
	case sigma.Boolean:
		return strconv.FormatBool(v.Int != 0), true
	case sigma.List:
		if len(v.List) > 0 {
			return v.List[0], v.List[0] != ""
		}
	}
	return "", false
}

// timeForms are the ways in which times are written, besides seconds since 1970.
var timeForms = [...]string{
	time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02T15:04:05.999999999-0700",
}

// time returns when the event happened, or the beginning of 1970 where the record does not say.
func (f *Foreign) time() time.Time {
	for _, w := range f.times {
		if text, ok := textOf(f.value(w)); ok {
			if t, ok := parseTime(text); ok {
				return t
			}
		}
	}
	return time.Unix(0, 0).UTC()
}

// parseTime reads a time in one of the known forms. A number is seconds, or thousandths,
// millionths or billionths where it would be far in the future otherwise; behind it may stand a
// serial number, as in auditd's 1615114232.375:15558.
func parseTime(s string) (time.Time, bool) {
	for _, form := range timeForms {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC(), true
		}
	}
	s = strings.TrimPrefix(s, "audit(")
	end := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end > 0 && s[end] == ':' {
		s = s[:end]
	}
	whole, part, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, false
	}
	unit := time.Second
	switch {
	case n >= 1e17:
		unit = time.Nanosecond
	case n >= 1e14:
		unit = time.Microsecond
	case n >= 1e11:
		unit = time.Millisecond
	}
	perSecond := int64(time.Second / unit)
	nanos := n % perSecond * int64(unit)
	if unit == time.Second && part != "" {
		digits := (part + "000000000")[:9]
		if nanos, err = strconv.ParseInt(digits, 10, 64); err != nil || nanos < 0 {
			return time.Time{}, false
		}
	}
	return time.Unix(n/perSecond, nanos).UTC(), true
}

// decoded returns a value with its texts as they were before auditd wrote them down.
func decoded(v sigma.Value) sigma.Value {
	v.Str = unhex(v.Str)
	for i, text := range v.List {
		if plain := unhex(text); plain != text {
			v.List = slices.Clone(v.List) // not the record's own
			v.List[i] = plain
		}
	}
	return v
}

// unhex undoes what the kernel does to texts in audit records: plain ones stand in quotes, those
// with a blank, a quote, a control character or a byte beyond ASCII in capital hexadecimal. Zero
// bytes between arguments become blanks. A text that the kernel would not have changed stays:
// 6C73 is not ls.
func unhex(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	if len(s)%2 != 0 || s == "" {
		return s
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'A' || c > 'F') {
			return s
		}
	}
	b, err := hex.DecodeString(s)
	if err != nil || !slices.ContainsFunc(b, func(c byte) bool { return c <= ' ' || c > '~' || c == '"' }) {
		return s
	}
	for i, c := range b {
		if c == 0 {
			b[i] = ' '
		}
	}
	return strings.TrimRight(string(b), " ")
}
