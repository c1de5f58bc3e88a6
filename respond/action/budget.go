package action

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// budget is how many distinct targets acts of one kind may hit within a minute.
type budget struct {
	targets int
	trips   bool // one more, and the kind is disarmed until a person resets it
}

const budgetWindow = time.Minute

// budgets go by class: what cannot be taken back is disarmed where it runs wild. Acts that change
// nothing have none.
var budgets = map[Class]budget{
	Destructive: {targets: 5, trips: true},
	Reversible:  {targets: 20},
}

// maxHeld bounds what is held at the same time: all of it is kept, and looked at at a start.
const maxHeld = 256

// spend says why a request is over budget, "" where it is not. trip is whether that disarms its kind.
func (j *journal) spend(r *Request, c Class, now time.Time) (why string, trip bool) {
	if at, ok := j.trips[r.Kind]; ok {
		return fmt.Sprintf("%s was disarmed on %s, as it had hit too much within a minute: picket action resume arms it again", r.Kind, at.Format(time.DateTime)), false
	}
	b, ok := budgets[c]
	if !ok {
		return "", false
	}
	hit, held := map[string]bool{}, 0
	for _, rec := range j.records {
		if rec.held() {
			held++
		}
		spent := rec.Result.State != Refused && rec.Result.State != Gone
		if rec.Request.Kind == r.Kind && spent && now.Sub(rec.Begun) < budgetWindow {
			hit[rec.Request.Target.key()] = true
		}
	}
	switch {
	case c == Reversible && held >= maxHeld:
		return fmt.Sprintf("%d acts are held, and no more are: take some back", held), false
	case hit[r.Target.key()] || len(hit) < b.targets:
		return "", false
	case b.trips:
		return fmt.Sprintf("%s hit %d targets within a minute: it is disarmed until picket action resume", r.Kind, len(hit)), true
	}
	return fmt.Sprintf("%s hit %d targets within a minute: it may be asked for again when that is over", r.Kind, len(hit)), false
}

// disarmed names the kinds that tripped.
func (j *journal) disarmed() string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(j.trips)) {
		out = append(out, string(k))
	}
	return strings.Join(out, ", ")
}
