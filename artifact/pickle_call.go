package artifact

import (
	"errors"
	"fmt"
	"strings"
)

// global is a callable or another thing that a pickle imports.
type global struct {
	module, name, full string
	verdict            Verdict // of a call of it
	why                string
	told               [2]bool // as an import, as a call
}

// act follows the opcodes that import or call something.
func (m *machine) act(op byte) error {
	switch op {
	case opGlobal, opInst:
		module, err := m.w.line()
		if err != nil {
			return err
		}
		name, err := m.w.line()
		if err != nil {
			return err
		}
		g := m.global(string(module), string(name))
		if op == opGlobal {
			return m.push(g)
		}
		items, err := m.popMark()
		if err != nil {
			return err
		}
		return m.push(m.call(g, m.newTuple(items)))
	case opStackGlobal:
		return m.stackGlobal()
	case opReduce, opNewObj:
		return m.callTop(1)
	case opNewObjEx:
		return m.callTop(2)
	case opObj:
		items, err := m.popMark()
		if err != nil {
			return err
		}
		if len(items) == 0 {
			return errStack
		}
		return m.push(m.call(items[0], m.newTuple(items[1:])))
	case opBuild:
		return m.build()
	}
	width := map[byte]int{opExt1: 1, opExt2: 2, opExt4: 4}[op]
	n, err := m.w.number(width)
	if err != nil {
		return err
	}
	m.tell(Issue{
		Rule: "pickle-extension", Verdict: Suspicious, Name: fmt.Sprintf("copyreg extension %d", n),
		Text: fmt.Sprintf("Loading it takes entry %d of the extension registry, whatever that is there.", n),
	})
	return m.push(0)
}

// tell reports at the opcode under way.
func (m *machine) tell(i Issue) {
	if !m.trial {
		i.Offset = m.at
		m.s.issue(m.p, i)
	}
}

func (m *machine) stackGlobal() error {
	if len(m.stack)-m.fence() < 2 {
		return errStack
	}
	from := len(m.stack) - 2
	module, ok1 := m.text(m.stack[from])
	name, ok2 := m.text(m.stack[from+1])
	m.stack = m.stack[:from]
	if ok1 && ok2 {
		return m.push(m.global(module, name))
	}
	m.imports++
	m.tell(Issue{
		Rule: "pickle-dynamic-import", Verdict: Suspicious, Name: "?",
		Text: "Loading it imports a name that is made while loading, or is too long to be one.",
	})
	return m.push(m.global("?", "?"))
}

// global returns the value of an imported name, and tells of those whose mere presence is bad.
func (m *machine) global(module, name string) value {
	m.imports++
	module = canonical(module)
	full := module + "." + name
	if v, ok := m.byName[full]; ok {
		return v
	}
	if len(m.globals) >= globalsMost {
		m.s.stop(m.p, m.at, fmt.Sprintf("A pickle names more than %d things.", globalsMost))
		return m.byName["?.?"]
	}
	g := global{module: module, name: name, full: full}
	g.verdict, g.why = m.s.judge(module, name)
	v := pack(isGlobal, uint64(len(m.globals)))
	m.globals, m.byName[full] = append(m.globals, g), v
	m.joblib = m.joblib || arrayWrapper(full)
	if lethal(module, name) && g.verdict == Malicious {
		top, _, _ := strings.Cut(module, ".")
		m.lethal = m.lethal || lethalModules[top] || module == "builtins"
		m.globals[v.num()].told[0] = true
		m.tell(Issue{Rule: "pickle-import", Verdict: Malicious, Name: full, Text: fmt.Sprintf("It refers to %s, which %s.", full, g.why)})
	}
	return v
}

// callTop calls what stands under n arguments.
func (m *machine) callTop(n int) error {
	if len(m.stack)-m.fence() < n+1 {
		return errStack
	}
	from := len(m.stack) - n - 1
	v := m.call(m.stack[from], m.stack[from+1])
	m.stack = append(m.stack[:from], v)
	return nil
}

// call judges a call, and returns what is known of its result.
func (m *machine) call(fn, args value) value {
	m.calls++
	switch fn.kind() {
	case isGlobal:
	case isResult:
		g := m.globals[fn.num()]
		m.tell(Issue{
			Rule: "pickle-call", Verdict: max(Suspicious, g.verdict), Name: g.full,
			Text: fmt.Sprintf("Loading it calls what %s returned, with %s.", g.full, m.show(args)),
		})
		return fn
	default:
		m.tell(Issue{Rule: "pickle-call", Verdict: Suspicious, Name: "?", Text: "Loading it calls something that is no name it imported."})
		return 0
	}
	g := &m.globals[fn.num()]
	elems, n, known := m.args(args)
	verdict, why, result := g.verdict, g.why, pack(isResult, fn.num())
	if sh, ok := shapes[g.full]; ok {
		if v, fine := sh(m, elems, n, known); fine {
			verdict = Clean
			if v != 0 {
				result = v
			}
			g = &m.globals[fn.num()] // a shape may have added names
		}
	}
	for _, e := range elems { // what is handed over may be called
		if e.kind() == isGlobal && m.globals[e.num()].verdict > max(verdict, Unknown) && !passes(g.full) {
			verdict, why = m.globals[e.num()].verdict, "is handed "+m.globals[e.num()].full+", which "+m.globals[e.num()].why
		}
	}
	if verdict > Clean && !g.told[1] {
		g.told[1] = true
		shown := "(…)"
		if known {
			shown = "(" + m.showAll(elems, n) + ")"
		}
		m.tell(Issue{Rule: "pickle-call", Verdict: verdict, Name: g.full, Text: fmt.Sprintf("Loading it calls %s%s, which %s.", g.full, shown, why)})
	}
	if g.full == "numpy.dtype" {
		if v, ok := m.newDtype(elems); ok {
			return v
		}
	}
	if v, ok := m.unwrap(g.full, elems); ok {
		result = v
	}
	return result
}

// build is BUILD: __setstate__, or attributes; of a class or module for everybody who uses it.
func (m *machine) build() error {
	if len(m.stack)-m.fence() < 2 {
		return errStack
	}
	state, _ := m.pop()
	target, err := m.top()
	if err != nil {
		return err
	}
	switch target.kind() {
	case isDtype:
		m.buildDtype(target, state)
	case isGlobal:
		m.calls++
		g := m.globals[target.num()]
		m.tell(Issue{
			Rule: "pickle-write", Verdict: Malicious, Name: g.full,
			Text: fmt.Sprintf("Loading it writes attributes of %s itself, for the whole program.", g.full),
		})
	case isResult:
		if state.kind() == isGlobal && m.globals[state.num()].verdict >= Suspicious {
			m.tell(Issue{
				Rule: "pickle-call", Verdict: m.globals[state.num()].verdict, Name: m.globals[state.num()].full,
				Text: fmt.Sprintf("Loading it hands %s to an object's __setstate__.", m.globals[state.num()].full),
			})
		}
		if m.joblib && arrayWrapper(m.globals[target.num()].full) {
			return m.passArray(state)
		}
	}
	return nil
}

// hooks looks at keys and values that an object's attributes may be set from: a callable under a name like
// __setstate__ is called by Python itself, and one that must not be called needs no known name.
func (m *machine) hooks(items []value) {
	for i := 1; i < len(items); i += 2 {
		if items[i].kind() != isGlobal && items[i].kind() != isResult {
			continue
		}
		g := &m.globals[items[i].num()]
		key, known := m.text(items[i-1])
		v, why := g.verdict, "which Python calls"
		switch {
		case known && strings.HasPrefix(key, "__") && strings.HasSuffix(key, "__"):
			v = max(v, Suspicious)
		case v < Malicious:
			continue
		case known && denied(g.full): // as the function of a step of a pipeline
			v, why = Suspicious, "which may be called when the model is used"
		case known:
			continue
		}
		if items[i].kind() == isResult && v < Malicious || key == "__class__" && v < Malicious || g.told[0] {
			continue // objects have attributes like __doc__, and say of which class they are
		}
		g.told[0] = true
		m.tell(Issue{Rule: "pickle-hook", Verdict: v, Name: g.full, Text: fmt.Sprintf("Loading it makes %s the %s of an object, %s.", g.full, orSome(key), why)})
	}
}

func orSome(key string) string {
	if key == "" {
		return "method of some name"
	}
	return clip(key)
}

// shapes are the callables that are judged by their arguments. Each says what the call comes to, and
// whether it is one that honest files make.
var shapes map[string]func(m *machine, args []value, n int, known bool) (value, bool)

func init() { //nolint:gochecknoinits // breaks the loop between the table and what it calls
	shapes = map[string]func(m *machine, args []value, n int, known bool) (value, bool){
		"builtins.getattr": func(m *machine, args []value, n int, known bool) (value, bool) {
			if !known || n < 2 || args[0].kind() != isGlobal {
				return 0, false
			}
			name, ok := m.text(args[1])
			of := m.globals[args[0].num()]
			if !ok || of.verdict > Suspicious || strings.HasPrefix(name, "__") || lethal(name, "") || !isClass(of.name) {
				return 0, false
			}
			v := m.global(of.module, of.name+"."+name)
			return v, m.globals[v.num()].verdict < Malicious
		},
		"functools.partial": func(m *machine, args []value, n int, known bool) (value, bool) {
			if !known || n < 1 || args[0].kind() != isGlobal || m.globals[args[0].num()].verdict > Unknown {
				return 0, false
			}
			return args[0], true
		},
		"_codecs.encode": func(m *machine, args []value, n int, known bool) (value, bool) {
			if !known || n != 2 || args[0].kind() != isText {
				return 0, false
			}
			coding, ok := m.text(args[1])
			return pack(isLatin, args[0].num()), ok && (coding == "latin1" || coding == "latin-1")
		},
		"copyreg._reconstructor": func(m *machine, args []value, n int, known bool) (value, bool) {
			if !known || n != 3 || args[0].kind() != isGlobal || args[1].kind() != isGlobal {
				return 0, false
			}
			if base := m.globals[args[1].num()]; base.verdict != Clean {
				return 0, false
			}
			return m.instance(args[0])
		},
		"copyreg.__newobj__": func(m *machine, args []value, n int, known bool) (value, bool) {
			if !known || n < 1 || args[0].kind() != isGlobal {
				return 0, false
			}
			return m.instance(args[0])
		},
		"operator.itemgetter":   literals,
		"operator.attrgetter":   literals,
		"operator.methodcaller": literals,
	}
}

// passes tells of the shapes that judge what they are handed themselves.
func passes(full string) bool {
	return strings.HasPrefix(full, "copyreg.") || full == "builtins.getattr"
}

// instance is an object of the class that c names, made by a helper.
func (m *machine) instance(c value) (value, bool) {
	return m.call(c, m.newTuple(nil)), true
}

// literals makes an object that does nothing until it is called, and a call of a result is told of.
func literals(m *machine, args []value, n int, known bool) (value, bool) {
	if !known || n > len(args) {
		return 0, false
	}
	for _, a := range args {
		t, ok := m.text(a)
		if a.kind() != isInt && !ok || strings.Contains(t, "__") {
			return 0, false
		}
	}
	return 0, true
}

// errInline ends a stream whose arrays cannot be passed over.
var errInline = errors.New("an array stands in it whose size cannot be told")
