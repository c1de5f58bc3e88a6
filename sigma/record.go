package sigma

// Record is an Event read from one line of JSON. It is reused: each Parse replaces what it held,
// and once it has seen events of the usual size Parse and Match allocate nothing. It is used by
// one goroutine at a time.
//
// Of a record only the fields of its Names are kept. Numbers keep the text they are written with.
// A list, and a field within a list of objects, has several values; a null in a list is an empty
// text. A field that holds an object reads as the text of that object. Of a key that is given
// twice the last one counts. Bytes that are not UTF-8 are kept: what an attacker put into a
// command line must not hide it.
type Record struct {
	scanner
	names   *Names
	sources []Logsource
	gen     uint32
	cells   []cell
	entered []uint32 // by branch: generation in which it was last entered
	buf     []byte   // texts whose escapes are resolved; values point into it and its predecessors
	walk    func(path, text string) bool
	visit   func(uint16, string) bool // of EachText
	each    func(path, text string) bool
	path    []byte
}

// cell holds the value of a field, if it has the generation of its record.
type cell struct {
	gen  uint32
	rank uint8 // keys on the way to it
	kind Kind
	flag int64
	text string
	list []string
}

// NewRecord returns a record that is read for the fields of names and belongs to sources.
func NewRecord(names *Names, sources ...Logsource) *Record {
	return &Record{names: names, sources: sources, cells: make([]cell, len(names.list)), entered: make([]uint32, names.size)}
}

// SetLogsources says which log sources the record belongs to. The list is not copied.
func (r *Record) SetLogsources(sources []Logsource) { r.sources = sources }

// Parse reads one JSON object. The line must stay as it is until the next Parse: the record's
// values point into it. The error is an *Error with the place in the line; file and n say where
// the line stands. A record that could not be read has no fields.
func (r *Record) Parse(file string, n int, line []byte) error {
	r.begin(line)
	if r.document(r.names.root) {
		return nil
	}
	bad := &Error{File: file, Line: n, Col: r.pos + 1, Msg: r.msg, Hint: r.hint}
	r.begin(nil)
	return bad
}

// begin forgets the record before.
func (r *Record) begin(line []byte) {
	r.scanner = scanner{line: line, left: maxMembers}
	if r.gen++; r.gen == 0 {
		r.gen = 1
		clear(r.entered)
		for i := range r.cells {
			r.cells[i].gen = 0
		}
	}
	if r.buf = r.buf[:0]; cap(r.buf) > keep {
		r.buf = nil
	}
}

// Value implements Event.
func (r *Record) Value(id uint16) Value {
	if int(id) >= len(r.cells) {
		return Value{}
	}
	c := &r.cells[id]
	if c.gen != r.gen {
		return Value{}
	}
	v := Value{Kind: c.kind, Str: c.text, Int: c.flag}
	if c.kind == List {
		v.List = c.list
	}
	return v
}

// Extra implements Event. A record has no other fields than those of its Names.
func (r *Record) Extra(name string) Value {
	id, ok := r.names.Field(name)
	if !ok {
		return Value{}
	}
	return r.Value(id)
}

// Logsources implements Event.
func (r *Record) Logsources() []Logsource { return r.sources }

// EachText implements Event. It reads the line once more.
func (r *Record) EachText(visit func(id uint16, text string) bool) {
	if r.each == nil { // made once: it would be on the heap for each event
		r.each = func(_, text string) bool { return r.visit(NoField, text) }
	}
	r.visit = visit
	r.Each(r.each)
	r.visit = nil
}

// Each calls visit with each leaf value of the record, also of fields that are not in Names, until
// visit returns false. The path is the keys that lead to it, joined by dots; the values of a list
// share one. Null is left out. The texts are valid until the next Parse, the path until visit
// returns.
func (r *Record) Each(visit func(path, text string) bool) {
	r.scanner = scanner{line: r.line, left: maxMembers}
	r.walk, r.path = visit, r.path[:0]
	r.document(nil)
	r.walk = nil
}

// forget drops the fields below b that were found on a way of more than rank keys: the object
// that held them was replaced by a later one of the same name.
func (r *Record) forget(b *branch, rank uint8) {
	for _, f := range b.below {
		if c := &r.cells[f]; c.rank > rank {
			c.gen = 0
		}
	}
}

// put gives a field its value. Within a list it is one more value.
func (r *Record) put(field int32, rank uint8, v Value, listed bool) {
	c := &r.cells[field]
	known := c.gen == r.gen
	if known && c.rank < rank {
		return
	}
	if listed {
		if !known || c.rank > rank || c.kind != List {
			r.clear(c, rank)
		}
		c.list = append(c.list, v.text())
		return
	}
	c.gen, c.rank, c.kind, c.flag, c.text = r.gen, rank, v.Kind, v.Int, v.Str
}

// clear makes c an empty list.
func (r *Record) clear(c *cell, rank uint8) {
	if cap(c.list) > keep/16 {
		c.list = nil
	}
	c.gen, c.rank, c.kind, c.flag, c.text, c.list = r.gen, rank, List, 0, "", c.list[:0]
}

// text returns what a value of a list is.
func (v Value) text() string {
	if v.Kind != Boolean {
		return v.Str
	}
	if v.Int != 0 {
		return "true"
	}
	return "false"
}

// string returns the text between two quotes, with its escapes resolved.
func (r *Record) string(s span) string {
	raw := r.line[s.from:s.to]
	if !s.escaped {
		return view(raw)
	}
	start := len(r.buf)
	r.buf = appendUnescaped(r.buf, raw)
	return view(r.buf[start:])
}

// visited tells the walk about a leaf, and reports whether to go on.
func (r *Record) visited(v Value) bool {
	return r.walk == nil || v.Kind == Null || r.walk(view(r.path), v.text())
}
