package prompt

import (
	"slices"
	"strings"
)

const (
	maxThreads = 256
	maxMarks   = 4096 // hashes of a thread: a new one takes the place of another
	maxSpread  = 16384

	carriedRuns = 4  // runs of five words that came in before
	longToken   = 16 // characters of one that is told apart by itself
	spreadRuns  = 12 // runs of five words that came out before
)

// Memory remembers of each thread of requests, as hashes, what came in by tools and documents and whom
// the user named; and of all of them which orders a model repeated. It is for one goroutine at a time,
// and holds some 10 MiB at most.
type Memory struct {
	threads map[uint64]*thread
	turn    uint64
	spread  [maxSpread]spread
}

// thread is what belongs together: a conversation, or a trace.
type thread struct {
	last  uint64
	came  marks // runs of words, and long tokens, that tools and documents gave back
	named marks // hosts and addresses of the user and the system prompt
}

// spread is a run of words of an order that an answer repeated.
type spread struct{ run, thread uint64 }

// marks is a set of hashes that forgets.
type marks [maxMarks]uint32

func (m *marks) add(h uint64)      { m[h%maxMarks] = uint32(h>>32) | 1 }
func (m *marks) has(h uint64) bool { return m[h%maxMarks] == uint32(h>>32)|1 }

// NewMemory returns a Memory of nothing.
func NewMemory() *Memory { return &Memory{threads: map[uint64]*thread{}} }

// thread returns what is remembered of a thread. The one that was quiet longest gives its place.
func (m *Memory) thread(id string) *thread {
	key := hash(fnvStart, id)
	t := m.threads[key]
	if t == nil {
		if len(m.threads) >= maxThreads {
			oldest := uint64(0)
			for k, other := range m.threads {
				if have := m.threads[oldest]; have == nil || other.last < have.last {
					oldest = k
				}
			}
			delete(m.threads, oldest)
		}
		t = new(thread)
		m.threads[key] = t
	}
	m.turn++
	t.last = m.turn
	return t
}

// Told notes what a request of a thread had in it: what the user and the system prompt said, and what
// tools and documents gave back.
func (m *Memory) Told(id, user, outside string) {
	if id == "" || user == "" && outside == "" {
		return
	}
	t := m.thread(id)
	for _, d := range destinations(user) {
		t.named.add(hash(fnvStart, d.host))
	}
	outside = outside[:min(len(outside), MaxText)]
	for run := range shingles(split(outside), 5) {
		t.came.add(run)
	}
	for token := range tokens(outside) {
		t.came.add(hash(fnvStart, token))
	}
	for _, d := range destinations(outside) {
		t.came.add(hash(fnvStart, d.whole))
	}
}

// Call says what a call of a tool is about, given what its thread knows.
func (m *Memory) Call(id, tool, arguments string) (does []string) {
	arguments = arguments[:min(len(arguments), MaxText)]
	if RunsShell(tool, arguments) {
		does = append(does, Shell)
	}
	t := new(thread)
	if id != "" {
		t = m.thread(id)
	}
	outside := false
	rest := arguments
	for _, d := range destinations(arguments) {
		switch {
		case t.came.has(hash(fnvStart, d.whole)) && strings.Contains(d.whole, "://"): // a link that is followed
		case t.named.has(hash(fnvStart, d.host)):
		default:
			outside = true
			continue
		}
		rest = strings.ReplaceAll(rest, d.whole, " ")
	}
	if outside {
		does = append(does, Outside)
	}
	if hasSecret(rest) {
		does = append(does, Secret)
	}
	if t.carries(rest) {
		does = append(does, Carried)
	}
	return does
}

// carries reports whether a text holds what came in before.
func (t *thread) carries(text string) bool {
	for token := range tokens(text) {
		if t.came.has(hash(fnvStart, token)) {
			return true
		}
	}
	n := 0
	for run := range shingles(split(text), 5) {
		if t.came.has(run) {
			if n++; n >= carriedRuns {
				return true
			}
		}
	}
	return false
}

// tokens yields long runs of letters and digits mixed, as keys and numbers of accounts are.
func tokens(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for run := range strings.FieldsFuncSeq(text, func(r rune) bool { return !encoding(r) || r == '/' || r == '=' }) {
			if len(run) >= longToken && len(run) <= 512 && mixed(run) && entropy(run) >= 3 && !yield(run) {
				return
			}
		}
	}
}

// Spreads reports whether what came in holds an order that a model has put out in another thread before.
// Where this answer repeats it, too, it is remembered. It is asked of what looks like an order only.
func (m *Memory) Spreads(id, came, answer string) bool {
	if id == "" {
		return false
	}
	key := hash(fnvStart, id)
	in := slices.Collect(shingles(split(came[:min(len(came), MaxText)]), 5))
	known := 0
	for _, run := range in {
		if s := &m.spread[run%maxSpread]; s.run == run && s.thread != key {
			known++
		}
	}
	out := map[uint64]bool{}
	for run := range shingles(split(answer[:min(len(answer), MaxText)]), 5) {
		out[run] = true
	}
	var again []uint64
	for _, run := range in {
		if out[run] {
			again = append(again, run)
		}
	}
	if len(again) >= spreadRuns {
		for _, run := range again {
			if s := &m.spread[run%maxSpread]; s.run != run {
				*s = spread{run, key}
			}
		}
	}
	return known >= spreadRuns
}

// Repeats is how many, of 100, of an answer's runs of four words stood in it before: 0 for one of less
// than 40 words.
func Repeats(answer string) int64 {
	words := split(answer[:min(len(answer), MaxText)])
	if len(words) < 40 {
		return 0
	}
	seen := make(map[uint64]bool, len(words))
	n, again := 0, 0
	for run := range shingles(words, 4) {
		n++
		if seen[run] {
			again++
		}
		seen[run] = true
	}
	return int64(100 * again / n)
}
