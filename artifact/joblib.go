package artifact

import (
	"math/bits"
	"strconv"
	"strings"
)

// joblib writes an array's bytes into the pickle, behind the BUILD of an object that describes it. To go
// on behind them the machine follows the few values that tell their number.

// arrayWrapper tells whether a class describes an array that follows.
func arrayWrapper(full string) bool {
	return strings.HasSuffix(full, "joblib.numpy_pickle.NumpyArrayWrapper")
}

// wrapperDict is what is known of a dictionary that may be the state of an array wrapper.
type wrapperDict struct{ shape, dtype, align value }

// dtype is what is known of a numpy data type.
type dtype struct {
	size   uint64 // of one element; 0 where that is not known
	object bool   // its elements are Python objects
}

const dictsKept = 1 << 10 // a state is built at once

// newDict returns the value of an empty dictionary.
func (m *machine) newDict() value {
	if !m.joblib {
		return 0
	}
	if m.dicts == nil {
		m.dicts = make([]wrapperDict, dictsKept)
	}
	m.dictID++
	m.dicts[m.dictID%dictsKept] = wrapperDict{}
	return pack(isDict, m.dictID)
}

// noteItems puts keys and values into a dictionary that is followed.
func (m *machine) noteItems(dict value, items []value) {
	if dict.kind() != isDict || dict.num()+dictsKept <= m.dictID {
		return
	}
	d := &m.dicts[dict.num()%dictsKept]
	for ; len(items) >= 2; items = items[2:] {
		key, _ := m.text(items[0])
		switch key {
		case "shape":
			d.shape = items[1]
		case "dtype":
			d.dtype = items[1]
		case "numpy_array_alignment_bytes":
			d.align = items[1]
		}
	}
}

// newDtype follows numpy.dtype("f8").
func (m *machine) newDtype(args []value) (value, bool) {
	if len(args) == 0 || len(m.dtypes) >= globalsMost {
		return 0, false
	}
	code, ok := m.text(args[0])
	code = strings.TrimLeft(code, "<>|=")
	if !ok || code == "" {
		return 0, false
	}
	size, _ := strconv.ParseUint(code[1:], 10, 24)
	d := dtype{size: size, object: code[0] == 'O'}
	if code[0] == 'U' {
		d.size *= 4
	}
	if code == "?" {
		d.size = 1
	}
	m.dtypes = append(m.dtypes, d)
	return pack(isDtype, uint64(len(m.dtypes)-1)), true
}

// buildDtype takes from a data type's state what a structured one is made of.
func (m *machine) buildDtype(v, state value) {
	elems, n, ok := m.args(state)
	if !ok || n < 8 || elems[3].kind() == isOther && elems[5].kind() != isInt {
		return
	}
	d := &m.dtypes[v.num()]
	if size := elems[5].int(); size > 0 {
		d.size = uint64(size)
	}
	d.object = d.object || elems[7].kind() == isInt && elems[7].num()&1 == 1
}

// passArray goes on behind the array that a wrapper's state describes.
func (m *machine) passArray(state value) error {
	if m.trial || m.plain {
		return errInline
	}
	if state.kind() != isDict || state.num()+dictsKept <= m.dictID {
		return errInline
	}
	d := m.dicts[state.num()%dictsKept]
	if d.dtype.kind() != isDtype {
		return errInline
	}
	t := m.dtypes[d.dtype.num()]
	m.s.is("joblib")
	if t.object {
		return m.inner()
	}
	dims, n, ok := m.args(d.shape)
	if !ok || n > len(dims) || t.size == 0 {
		return errInline
	}
	total := t.size
	for _, dim := range dims {
		over, product := bits.Mul64(total, dim.num())
		if dim.kind() != isInt || dim.int() < 0 || over != 0 {
			return errInline
		}
		total = product
	}
	if d.align.kind() == isInt {
		pad, err := m.w.number(1)
		if err != nil {
			return err
		}
		if err := m.w.skip(pad); err != nil {
			return err
		}
	}
	return m.w.skip(total)
}

// inner follows a pickle that stands within this one: the elements of an array of objects.
func (m *machine) inner() error {
	in := newMachine(m.s, m.p, 0)
	in.w, in.plain = m.w, true
	m.s.opcodes, m.steps = m.s.opcodes+m.steps, 0
	return in.run()
}
