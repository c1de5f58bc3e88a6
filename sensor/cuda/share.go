package cuda

import "crypto/sha256"

const maxHandles = 4096

// handles says who gave a handle of GPU memory away.
type handles struct {
	by    map[[32]byte]caller
	order [][32]byte // oldest first
}

func newHandles() handles { return handles{by: map[[32]byte]caller{}} }

func (h *handles) given(handle []byte, by caller) {
	if len(handle) == 0 {
		return
	}
	key := sha256.Sum256(handle)
	if _, have := h.by[key]; !have {
		if len(h.order) >= maxHandles {
			delete(h.by, h.order[0])
			h.order = h.order[1:]
		}
		h.order = append(h.order, key)
	}
	h.by[key] = by
}

func (h *handles) taken(handle []byte) (caller, bool) {
	by, ok := h.by[sha256.Sum256(handle)]
	return by, ok && len(handle) > 0
}
