package action

import "errors"

// What plans and acts fail with, beside errors of the system. They say what becomes of a request.
var (
	// ErrInvalid says that a request makes no sense: nothing is kept of it.
	ErrInvalid = errors.New("not a request that can be carried out")
	// ErrNotFound says that no act of that id is known.
	ErrNotFound = errors.New("no such act")
	// ErrGone says that a pin does not hold any more: the act is Gone.
	ErrGone = errors.New("what was meant is not there any more")
	// ErrProtected says that the host does not run without what was meant: the act is Refused.
	ErrProtected = errors.New("nothing is done to it")
	// ErrGraver says that an act would do more harm by now than was approved: it is Refused.
	ErrGraver = errors.New("more would end by it than was approved: plan again")
)

// stateOf is how an act came out that failed with err before anything was done.
func stateOf(err error) State {
	switch {
	case errors.Is(err, ErrProtected), errors.Is(err, ErrGraver):
		return Refused
	case errors.Is(err, ErrGone):
		return Gone
	}
	return Failed
}
