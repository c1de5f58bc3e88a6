package sigma

// seated is a member of a heap: it knows its place there, and which others it comes before.
type seated[E any] interface {
	before(other E) bool
	seat() *int
}

// heap keeps the member that comes before all others at its beginning. Members know their places,
// so that one whose rank changed is moved and one in the middle is taken out.
type heap[E seated[E]] []E

func (h *heap[E]) push(e E) {
	*e.seat() = len(*h)
	*h = append(*h, e)
	h.up(e)
}

func (h *heap[E]) remove(e E) {
	all := *h
	last, at := all[len(all)-1], *e.seat()
	all[at], *last.seat() = last, at
	var none E
	all[len(all)-1] = none
	*h = all[:len(all)-1]
	if at < len(*h) {
		h.up(last)
		h.down(last)
	}
}

// up moves a member that may come before more than it did.
func (h heap[E]) up(e E) {
	i := *e.seat()
	for i > 0 && e.before(h[(i-1)/2]) {
		h.put(i, h[(i-1)/2])
		i = (i - 1) / 2
	}
	h.put(i, e)
}

// down moves a member that may come before fewer than it did.
func (h heap[E]) down(e E) {
	i := *e.seat()
	for {
		kid := 2*i + 1
		if kid+1 < len(h) && h[kid+1].before(h[kid]) {
			kid++
		}
		if kid >= len(h) || !h[kid].before(e) {
			break
		}
		h.put(i, h[kid])
		i = kid
	}
	h.put(i, e)
}

func (h heap[E]) put(i int, e E) { h[i], *e.seat() = e, i }
