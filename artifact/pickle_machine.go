package artifact

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// machine follows a pickle as CPython's C unpickler does, and calls nothing. Of objects it keeps what a
// decision may hang on: see value.
type machine struct {
	s     *scan
	p     *part
	w     *window
	trial bool // says nothing: only whether this is a pickle

	stack []value
	marks []int
	memo  memo

	globals []global
	byName  map[string]value
	texts   map[value]string
	tuples  []tuple
	tupleID uint64
	dicts   []wrapperDict
	dictID  uint64
	dtypes  []dtype
	blobs   [][]byte
	blobbed int
	joblib  bool // an array wrapper was seen
	lethal  bool // it names what no honest file mentions
	carried int  // pickles that it carries as data and that were looked into
	plain   bool // arrays do not stand within: what reads it is not joblib

	at      int64 // of the opcode under way
	steps   int64
	imports int
	calls   int
}

const (
	stackMost   = 4 << 20 // values
	globalsMost = 1 << 16
	blobMost    = 16 << 20 // bytes that are decoded for a look into them
)

var (
	errStack  = errors.New("the stack is empty")
	errMemo   = errors.New("it takes from the memo what nobody put there")
	errMark   = errors.New("there is no mark")
	errTooBig = errors.New("it is larger than any that is judged")
)

func newMachine(s *scan, p *part, buffer int) *machine {
	return &machine{s: s, p: p, w: newWindow(p, 0, buffer), byName: map[string]value{}, texts: map[value]string{}}
}

// run follows one pickle to its STOP.
func (m *machine) run() error {
	limit := m.s.o.Limits.Opcodes
	for {
		m.at = m.w.at()
		op, err := m.w.byte()
		if err != nil {
			return cutShort(err)
		}
		if m.steps++; m.s.opcodes+m.steps > limit {
			m.s.stop(m.p, m.at, fmt.Sprintf("The pickles hold more than %d opcodes.", limit))
			return errOver
		}
		if op == opStop {
			m.s.opcodes += m.steps
			_, err := m.pop()
			return err
		}
		if err := m.step(op); err != nil {
			m.s.opcodes += m.steps
			return err
		}
	}
}

// step follows one opcode.
func (m *machine) step(op byte) error {
	switch op {
	case opBinGet, opLongBinGet, opGet:
		return m.get(op)
	case opMemoize:
		return m.put(uint64(m.memo.used))
	case opBinPut, opLongBinPut, opPut:
		return m.putAt(op)
	case opShortBinUnicode, opShortBinString, opShortBinBytes, opBinUnicode, opBinString, opBinBytes, opBinUnicode8, opBinBytes8, opByteArray8:
		return m.pushSized(op)
	case opString, opUnicode, opFloat:
		return m.pushLine(op)
	case opBinInt1, opBinInt2, opBinInt, opLong1, opLong4, opInt, opLong:
		return m.pushInt(op)
	case opNone, opNewTrue, opNewFalse, opEmptyList, opEmptySet, opNextBuffer:
		return m.push(0)
	case opEmptyTuple:
		return m.push(m.newTuple(nil))
	case opEmptyDict:
		return m.push(m.newDict())
	case opBinFloat:
		return errors.Join(m.w.skip(8), m.push(0))
	case opMark:
		m.marks = append(m.marks, len(m.stack))
		if len(m.marks) > stackMost {
			return errTooBig
		}
		return nil
	case opPop:
		return m.popOne()
	case opPopMark:
		_, err := m.popMark()
		return err
	case opDup:
		v, err := m.top()
		if err != nil {
			return err
		}
		return m.push(v)
	case opTuple1, opTuple2, opTuple3:
		return m.packTop(int(op-opTuple1) + 1)
	case opTuple, opList, opFrozenSet, opDict:
		return m.packMark(op)
	case opAppend:
		_, err := m.pop()
		return err
	case opSetItem:
		return m.setItem()
	case opAppends, opSetItems, opAddItems:
		return m.addMarked(op)
	case opGlobal, opInst, opStackGlobal, opReduce, opNewObj, opNewObjEx, opObj, opBuild, opExt1, opExt2, opExt4:
		return m.act(op)
	case opPersID:
		if _, err := m.w.line(); err != nil {
			return err
		}
		return m.push(0)
	case opBinPersID:
		return m.persistent()
	case opReadonlyBuffer:
		_, err := m.top()
		return err
	case opProto:
		v, err := m.w.byte()
		if err == nil && v > 5 {
			return fmt.Errorf("protocol %d is not known", v)
		}
		return cutShort(err)
	case opFrame: // a hint for reading ahead, and no more: opcodes may straddle its end
		return m.w.skip(8)
	}
	return fmt.Errorf("byte %#02x at %d is no opcode", op, m.at)
}

func (m *machine) fence() int {
	if n := len(m.marks); n > 0 {
		return m.marks[n-1]
	}
	return 0
}

func (m *machine) push(v value) error {
	if len(m.stack) >= stackMost {
		return errTooBig
	}
	m.stack = append(m.stack, v)
	return nil
}

func (m *machine) top() (value, error) {
	if len(m.stack) <= m.fence() {
		return 0, errStack
	}
	return m.stack[len(m.stack)-1], nil
}

func (m *machine) pop() (value, error) {
	v, err := m.top()
	if err == nil {
		m.stack = m.stack[:len(m.stack)-1]
	}
	return v, err
}

func (m *machine) replace(v value) error {
	if _, err := m.top(); err != nil {
		return err
	}
	m.stack[len(m.stack)-1] = v
	return nil
}

// persistent is what a loader makes of an id: torch's, before it used ZIP, takes a class from one of a module.
func (m *machine) persistent() error {
	id, err := m.top()
	if err != nil {
		return err
	}
	if elems, _, ok := m.args(id); ok && len(elems) > 1 && elems[1].kind() == isGlobal {
		if what, _ := m.text(elems[0]); what == "module" {
			return m.replace(elems[1])
		}
	}
	return m.replace(0)
}

// popOne is POP: at a mark it takes the mark.
func (m *machine) popOne() error {
	if n := len(m.marks); n > 0 && m.marks[n-1] == len(m.stack) {
		m.marks = m.marks[:n-1]
		return nil
	}
	_, err := m.pop()
	return err
}

// popMark takes what stands above the newest mark. It is good until the next push.
func (m *machine) popMark() ([]value, error) {
	n := len(m.marks)
	if n == 0 {
		return nil, errMark
	}
	from := m.marks[n-1]
	m.marks = m.marks[:n-1]
	items := m.stack[from:]
	m.stack = m.stack[:from]
	return items, nil
}

func (m *machine) packTop(n int) error {
	if len(m.stack)-m.fence() < n {
		return errStack
	}
	from := len(m.stack) - n
	v := m.newTuple(m.stack[from:])
	m.stack = append(m.stack[:from], v)
	return nil
}

func (m *machine) packMark(op byte) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	v := value(0)
	switch op {
	case opTuple:
		v = m.newTuple(items)
	case opDict:
		m.hooks(items)
		v = m.newDict()
		m.noteItems(v, items)
	}
	return m.push(v)
}

func (m *machine) setItem() error {
	if len(m.stack)-m.fence() < 3 {
		return errStack
	}
	from := len(m.stack) - 2
	m.hooks(m.stack[from:])
	m.noteItems(m.stack[from-1], m.stack[from:])
	m.stack = m.stack[:from]
	return nil
}

// addMarked is what fills lists, sets and dictionaries in batches.
func (m *machine) addMarked(op byte) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	if op == opSetItems {
		m.hooks(items)
	}
	v, err := m.top()
	if err == nil {
		m.noteItems(v, items)
	}
	return err
}

// pushSized passes over a text or bytes that stand behind their length.
func (m *machine) pushSized(op byte) error {
	width, kind := 4, uint64(isText)
	switch op {
	case opShortBinUnicode, opShortBinString, opShortBinBytes:
		width = 1
	case opBinUnicode8, opBinBytes8, opByteArray8:
		width = 8
	}
	switch op {
	case opShortBinBytes, opBinBytes, opBinBytes8, opByteArray8:
		kind = isBytes
	}
	n, err := m.w.number(width)
	if err != nil {
		return err
	}
	staged := !m.trial && n >= carriedLeast && n <= blobMost && m.w.mayCarry(kind)
	if err := m.w.skip(n); err != nil {
		return err
	}
	if staged {
		m.carry(pack(kind, uint64(m.at)))
	}
	return m.push(pack(kind, uint64(m.at)))
}

func (m *machine) pushInt(op byte) error {
	width := 0
	switch op {
	case opBinInt1:
		width = 1
	case opBinInt2:
		width = 2
	case opBinInt:
		n, err := m.w.number(4)
		if err != nil {
			return err
		}
		return m.push(pack(isInt, uint64(int64(int32(n)))))
	case opInt, opLong:
		l, err := m.w.line()
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(string(l), "L"), 10, 59)
		if errors.Is(err, strconv.ErrSyntax) {
			return fmt.Errorf("%q at %d is no number", short(string(l)), m.at)
		}
		return m.push(pack(isInt, uint64(n)))
	case opLong1, opLong4:
		return m.pushLong(op)
	}
	n, err := m.w.number(width)
	if err != nil {
		return err
	}
	return m.push(pack(isInt, n))
}

func (m *machine) pushLong(op byte) error {
	width := 1
	if op == opLong4 {
		width = 4
	}
	n, err := m.w.number(width)
	if err != nil {
		return err
	}
	if n > 7 {
		return errors.Join(m.w.skip(n), m.push(0))
	}
	v, err := m.w.number(int(n))
	if err != nil {
		return err
	}
	if free := 64 - 8*n; n > 0 {
		v = uint64(int64(v<<free) >> free)
	}
	return m.push(pack(isInt, v))
}

func (m *machine) index(op byte) (uint64, error) {
	switch op {
	case opBinGet, opBinPut:
		return m.w.number(1)
	case opLongBinGet, opLongBinPut:
		return m.w.number(4)
	}
	l, err := m.w.line()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(l)), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%q at %d is no place in the memo", short(string(l)), m.at)
	}
	return n, nil
}

func (m *machine) get(op byte) error {
	i, err := m.index(op)
	if err != nil {
		return err
	}
	v, ok := m.memo.get(i)
	if !ok {
		return errMemo
	}
	return m.push(v)
}

func (m *machine) putAt(op byte) error {
	i, err := m.index(op)
	if err != nil {
		return err
	}
	return m.put(i)
}

func (m *machine) put(i uint64) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	if !m.memo.put(i, v) {
		if !m.trial {
			m.s.stop(m.p, m.at, "The memo of a pickle grew too large.")
		}
		return errTooBig
	}
	return nil
}

// pushLine pushes what stands in a line: what Python refuses ends the pickle here too.
func (m *machine) pushLine(op byte) error {
	l, err := m.w.line()
	if err != nil {
		return err
	}
	if op == opString && !quoted(l) {
		return fmt.Errorf("%q at %d has no quotes", short(string(l)), m.at)
	}
	if op != opFloat {
		return m.push(pack(isText, uint64(m.at)))
	}
	if _, err := strconv.ParseFloat(strings.TrimSpace(string(l)), 64); errors.Is(err, strconv.ErrSyntax) {
		return fmt.Errorf("%q at %d is no number", short(string(l)), m.at)
	}
	return m.push(0)
}

// quoted reports whether a line is a text as Python writes one. Of a long line only the beginning is there.
func quoted(line []byte) bool {
	t := strings.TrimRight(string(line), " \t\r")
	return len(t) >= 2 && (t[0] == '\'' || t[0] == '"') && (t[len(t)-1] == t[0] || len(line) == 512)
}

func short(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// memo holds values by index, in pages: an index may be any number, and copies would cost twice the memory.
type memo struct {
	pages map[uint64]*[memoPage]value
	last  *[memoPage]value
	at    uint64
	used  int // slots that hold something; the index that MEMOIZE takes
}

const (
	memoPage  = 1 << 10
	memoPages = 1 << 14 // at most: 128 MiB
	memoFull  = 1 << 63 // marks a slot that holds something, in a bit that no kind needs
)

func (o *memo) page(i uint64) *[memoPage]value {
	if o.last != nil && o.at == i/memoPage {
		return o.last
	}
	pg := o.pages[i/memoPage]
	if pg != nil {
		o.last, o.at = pg, i/memoPage
	}
	return pg
}

func (o *memo) get(i uint64) (value, bool) {
	pg := o.page(i)
	if pg == nil {
		return 0, false
	}
	v := pg[i%memoPage]
	return v &^ memoFull, v&memoFull != 0
}

func (o *memo) put(i uint64, v value) bool {
	pg := o.page(i)
	if pg == nil {
		if len(o.pages) >= memoPages {
			return false
		}
		if o.pages == nil {
			o.pages = map[uint64]*[memoPage]value{}
		}
		pg = new([memoPage]value)
		o.pages[i/memoPage] = pg
	}
	if pg[i%memoPage]&memoFull == 0 {
		o.used++
	}
	pg[i%memoPage] = v | memoFull
	return true
}
