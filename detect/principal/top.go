package principal

// top keeps the things that were counted most, by the space-saving scheme: a new one takes the place
// of the least counted and begins with its count, so that who is frequent is never pushed out by
// many who are not.
type top[T any] struct {
	most int
	at   map[uint64]*ranked[T]
	heap []*ranked[T] // the least counted first
}

type ranked[T any] struct {
	key   uint64
	count uint64
	order uint64 // of two with one count the older goes first
	place int
	of    T
}

func newTop[T any](most int) top[T] { return top[T]{most: most, at: map[uint64]*ranked[T]{}} }

// touch counts a thing once more. For a new one make is called, with what it takes the place of, or nil.
func (t *top[T]) touch(key, order uint64, fresh func(gone *T) T) *ranked[T] {
	r := t.at[key]
	switch {
	case r != nil:
	case len(t.heap) < t.most:
		r = &ranked[T]{key: key, order: order, place: len(t.heap), of: fresh(nil)}
		t.at[key], t.heap = r, append(t.heap, r)
		t.up(r.place)
	default:
		r = t.heap[0]
		delete(t.at, r.key)
		r.of = fresh(&r.of)
		r.key, r.order = key, order
		t.at[key] = r
	}
	r.count++
	t.down(r.place)
	return r
}

// recount gives each thing another count, and drops those for which keep says so.
func (t *top[T]) recount(keep func(r *ranked[T]) bool) {
	kept := t.heap[:0]
	for _, r := range t.heap {
		if keep(r) {
			r.place = len(kept)
			kept = append(kept, r)
		} else {
			delete(t.at, r.key)
		}
	}
	clear(t.heap[len(kept):])
	t.heap = kept
	for i := len(t.heap)/2 - 1; i >= 0; i-- {
		t.down(i)
	}
}

func (t *top[T]) less(i, j int) bool {
	a, b := t.heap[i], t.heap[j]
	return a.count < b.count || a.count == b.count && a.order < b.order
}

func (t *top[T]) swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.heap[i].place, t.heap[j].place = i, j
}

func (t *top[T]) up(i int) {
	for ; i > 0 && t.less(i, (i-1)/2); i = (i - 1) / 2 {
		t.swap(i, (i-1)/2)
	}
}

func (t *top[T]) down(i int) {
	for {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(t.heap) && t.less(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		t.swap(i, least)
		i = least
	}
}
