package action

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ofServer are the acts that a server carries out itself: their targets name no host.
var ofServer = []Kind{
	Notify, Ticket, RevokeToken, Label, Annotate, Cordon, Uncordon, Taint, Scale, Suspend, Evict, DeletePod, Drain, IsolatePod,
}

// OfServer reports whether a server carries an act out itself.
func OfServer(k Kind) bool { return slices.Contains(ofServer, k) }

// Registry is the acts that a host or a server can carry out, by kind.
type Registry map[Kind]Action

// NewRegistry takes acts, each of a kind of its own.
func NewRegistry(acts ...Action) (Registry, error) {
	g := Registry{}
	for _, a := range acts {
		if g[a.Kind()] != nil {
			return nil, fmt.Errorf("two acts are of the kind %s", a.Kind())
		}
		g[a.Kind()] = a
	}
	return g, nil
}

// Of returns the act of a kind.
func (g Registry) Of(k Kind) (Action, error) {
	if a := g[k]; a != nil {
		return a, nil
	}
	var known []string
	for _, k := range slices.Sorted(maps.Keys(g)) {
		known = append(known, string(k))
	}
	return nil, fmt.Errorf("%w: %q is no act of this host: it knows %s", ErrInvalid, k, strings.Join(known, ", "))
}
