package detect

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"picket/event"
	"picket/sigma"
)

// Foreign is an event that another program recorded as a line of JSON. Rules are matched against
// the line itself: a field of a rule is looked up where the format keeps it. Only for what fires
// is an event.Event made. One Foreign serves one line after another, and is used by one goroutine
// at a time.
type Foreign struct {
	format *format
	names  *sigma.Names
	record *sigma.Record
	fixed  *sigma.Logsource // given by the user

	catalogue []*wanted // by event.Field
	others    map[string]*wanted
	when      map[string]*wanted // fields of conditions, and the times
	times     []*wanted
	overlay   []overlaid // by number in names

	turn    uint32 // counts lines
	kind    event.Kind
	sources []sigma.Logsource
}

// wanted is a field that rules or conditions read, and where it may stand.
type wanted struct {
	from     []place
	argument int // its number, -1 for none
	turn     uint32
	value    sigma.Value // of that turn
}

// place is where a value comes from.
type place struct {
	field   uint16
	decode  bool
	special string // fromArguments, fromPresent
}

// overlaid is a text that stood in a list of names and texts.
type overlaid struct {
	turn uint32
	text string
}

// maxArguments bounds the arguments that are fields by themselves: a0 to a63.
const maxArguments = 64

// NewForeign returns a reader of lines in a format, for rules. With source, all lines belong to that
// log source; else the format tells it from each line. It fails if there is no such format.
func NewForeign(formatName string, source *sigma.Logsource, rules []*sigma.Rule) (*Foreign, error) {
	spec, err := loadFormat(formatName)
	if err != nil {
		return nil, err
	}
	f := &Foreign{format: spec, fixed: source, others: map[string]*wanted{}, when: map[string]*wanted{}}
	names := spec.names()
	fields := sigma.FieldsOf(rules)
	for _, name := range fields {
		names = append(names, spec.places(name)...)
	}
	for _, info := range event.Fields() {
		names = append(names, spec.places(info.Sigma)...)
		names = append(names, spec.places(info.Name)...)
	}
	f.names = sigma.NewNames(slices.DeleteFunc(names, func(n string) bool { return strings.HasPrefix(n, "$") }))
	f.record = sigma.NewRecord(f.names)
	f.overlay = make([]overlaid, f.names.Len())
	for _, info := range event.Fields() {
		f.catalogue = append(f.catalogue, f.wanted(info.Sigma, info.Name))
	}
	for _, name := range fields {
		if _, ok := event.Lookup(name); !ok {
			f.others[name] = f.wanted(name)
		}
	}
	for _, c := range spec.conditions() {
		for i := range c {
			c[i].field = f.once(c[i].name)
		}
	}
	for _, name := range spec.Time {
		f.times = append(f.times, f.once(name))
	}
	return f, nil
}

// once returns the field of that name for the conditions of the format, each made once.
func (f *Foreign) once(name string) *wanted {
	w, ok := f.when[name]
	if !ok {
		w = f.wanted(name)
		f.when[name] = w
	}
	return w
}

// wanted makes a field that has one or two names ready.
func (f *Foreign) wanted(names ...string) *wanted {
	w := &wanted{argument: -1}
	for _, name := range names {
		if n, ok := argumentNumber(name); ok && len(f.format.Arguments) > 0 {
			w.argument = n
		}
		if name == "" {
			continue
		}
		for _, from := range f.format.places(name) {
			if strings.HasPrefix(from, "$") {
				w.from = append(w.from, place{special: from})
				continue
			}
			id, ok := f.names.Field(from)
			p := place{field: id, decode: slices.Contains(f.format.Decode, from)}
			if ok && !slices.Contains(w.from, p) {
				w.from = append(w.from, p)
			}
		}
	}
	return w
}

// argumentNumber returns n of a name a<n>, as auditd calls arguments.
func argumentNumber(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, "a")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0 && n < maxArguments
}

// Parse reads a line, which must stay as it is until the next. The error is a *sigma.Error with
// the place in the line; file and n say where the line stands.
func (f *Foreign) Parse(file string, n int, line []byte) error {
	if f.turn++; f.turn == 0 {
		f.restart()
	}
	f.sources, f.kind = f.sources[:0], event.KindNone
	if err := f.record.Parse(file, n, line); err != nil {
		return err
	}
	for _, p := range f.format.Pairs {
		if err := f.unfold(p); err != "" {
			return &sigma.Error{File: file, Line: n, Col: 1, Msg: err, Hint: "convert the empty ones too, as empty texts"}
		}
	}
	f.classify()
	return nil
}

// restart forgets in which turn anything was seen, once in 4 billion lines.
func (f *Foreign) restart() {
	f.turn = 1
	clear(f.overlay)
	for _, w := range f.catalogue {
		w.turn = 0
	}
	for _, fields := range []map[string]*wanted{f.others, f.when} {
		for _, w := range fields {
			w.turn = 0
		}
	}
}

// unfold makes fields of a list of names and texts. Where a text is missing it is not known whose
// the others are, and the line is refused.
func (f *Foreign) unfold(p pair) (problem string) {
	names, texts := f.record.Extra(p.Name).List, f.record.Extra(p.Value).List
	if len(names) == 0 {
		return ""
	}
	if len(names) != len(texts) {
		return fmt.Sprintf("there are %d of %s, but %d of %s", len(names), p.Name, len(texts), p.Value)
	}
	for i, name := range names {
		if id, ok := f.names.Field(name); ok {
			f.overlay[id] = overlaid{f.turn, texts[i]}
		}
	}
	return ""
}

// classify finds the line's log sources.
func (f *Foreign) classify() {
	product := ""
	for i := range f.format.Products {
		if c := &f.format.Products[i]; f.holds(c.When) {
			product = c.Product
			break
		}
	}
	for i := range f.format.Sources {
		c := &f.format.Sources[i]
		if len(c.When) == 0 && len(f.sources) > 0 || !f.holds(c.When) {
			continue
		}
		f.sources = append(f.sources, sigma.Logsource{Category: c.Category, Product: product, Service: cmp.Or(c.Service, f.format.Service)})
		if f.kind == event.KindNone {
			f.kind, _ = event.ParseKind(c.Kind)
		}
	}
	if len(f.sources) == 0 {
		f.sources = append(f.sources, sigma.Logsource{Product: product, Service: f.format.Service})
	}
	if f.fixed != nil {
		f.sources, f.kind = append(f.sources[:0], *f.fixed), kindOf(*f.fixed)
	}
}

// kindOf returns what events of a log source are for Picket.
func kindOf(src sigma.Logsource) event.Kind {
	src.Product, src.Service = "linux", ""
	for k := range event.Kinds {
		if slices.Contains(sources[k], src) {
			return k
		}
	}
	return event.KindNone
}

// holds reports whether c is true of the line.
func (f *Foreign) holds(c condition) bool {
	for i := range c {
		v := f.value(c[i].field)
		switch v.Kind {
		case sigma.Text:
			if !c[i].want.match(v.Str) {
				return false
			}
		case sigma.List:
			if !slices.ContainsFunc(v.List, c[i].want.match) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// value returns the content of a field, and remembers it for the line.
func (f *Foreign) value(w *wanted) sigma.Value {
	if w.turn != f.turn {
		w.turn = f.turn // before find: an argument's condition may ask for the field itself
		w.value = sigma.Value{}
		w.value = f.find(w)
	}
	return w.value
}

func (f *Foreign) find(w *wanted) sigma.Value {
	if w.argument >= 0 {
		if text, ok := f.argument(w.argument); ok {
			return sigma.Value{Kind: sigma.Text, Str: text}
		}
	}
	for _, p := range w.from {
		v := f.at(p.field)
		switch p.special {
		case fromArguments:
			v = f.joined()
		case fromPresent:
			v = f.present()
		}
		if v.Kind != sigma.Absent {
			if p.decode {
				v = decoded(v)
			}
			return v
		}
	}
	return sigma.Value{}
}

// at returns what stands in a field of the record.
func (f *Foreign) at(field uint16) sigma.Value {
	if v := f.record.Value(field); v.Kind != sigma.Absent {
		return v
	}
	if o := &f.overlay[field]; o.turn == f.turn {
		return sigma.Value{Kind: sigma.Text, Str: o.text}
	}
	return sigma.Value{}
}

// argument returns the program's nth argument, its name being the first.
func (f *Foreign) argument(n int) (string, bool) {
	for i := range f.format.Arguments {
		a := &f.format.Arguments[i]
		if !f.holds(a.When) {
			continue
		}
		if a.List != "" {
			if list := f.record.Extra(a.List).List; n < len(list) {
				return list[n], true
			}
			continue
		}
		if v := f.record.Extra(a.Each + strconv.Itoa(n)); v.Kind == sigma.Text {
			return unhex(v.Str), true
		}
	}
	return "", false
}

func (f *Foreign) joined() sigma.Value {
	var b strings.Builder
	for n := 0; ; n++ {
		text, ok := f.argument(n)
		if !ok {
			break
		}
		if n > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(text)
	}
	if b.Len() == 0 {
		return sigma.Value{}
	}
	return sigma.Value{Kind: sigma.Text, Str: b.String()}
}

func (f *Foreign) present() sigma.Value {
	var list []string
	for _, name := range f.format.Present {
		if f.record.Extra(name).Kind != sigma.Absent {
			list = append(list, name)
		}
	}
	if list == nil {
		return sigma.Value{}
	}
	return sigma.Value{Kind: sigma.List, List: list}
}

// Value implements sigma.Event.
func (f *Foreign) Value(id uint16) sigma.Value {
	if int(id) >= len(f.catalogue) {
		return sigma.Value{}
	}
	return f.value(f.catalogue[id])
}

// Extra implements sigma.Event.
func (f *Foreign) Extra(name string) sigma.Value {
	if w, ok := f.others[name]; ok {
		return f.value(w)
	}
	return sigma.Value{}
}

// Logsources implements sigma.Event.
func (f *Foreign) Logsources() []sigma.Logsource { return f.sources }

// EachText implements sigma.Event.
func (f *Foreign) EachText(visit func(string) bool) { f.record.EachText(visit) }
