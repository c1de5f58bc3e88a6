package sigma_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"picket/sigma"
)

// login is an event with a user and a value, made without a map.
type login struct{ user, value string }

func (l *login) Value(uint16) sigma.Value { return sigma.Value{} }
func (l *login) Extra(name string) sigma.Value {
	if name == "u" {
		return sigma.Value{Kind: sigma.Text, Str: l.user}
	}
	return sigma.Value{Kind: sigma.Text, Str: l.value}
}
func (l *login) Logsources() []sigma.Logsource      { return nil }
func (l *login) EachText(func(uint16, string) bool) {}

// logins are events of so many users, each of whom has ten values.
func logins(users int) []login {
	out := make([]login, 0, 10*users)
	for value := range 10 {
		for user := range users {
			out = append(out, login{fmt.Sprintf("user-%06d", user), fmt.Sprintf("192.0.2.%d", (user+value)%250)})
		}
	}
	return out
}

// BenchmarkCorrelate is the rate of matched events into one correlation, one core: a millisecond from
// one event to the next, so that a window of an hour stays open for each user.
func BenchmarkCorrelate(b *testing.B) {
	for _, c := range []struct{ kind, condition string }{
		{"event_count", ", condition: {gte: 1000}"},
		{"value_count", ", condition: {field: v, gte: 20}"},
		{"value_count", ", condition: {field: v, gte: 1000}"},
		{"temporal", ""},
		{"temporal_ordered", ""},
	} {
		for _, users := range []int{100, 100_000} {
			b.Run(fmt.Sprintf("%s%s/groups=%d", c.kind, c.condition, users), func(b *testing.B) {
				src := "name: x\ncorrelation: {type: " + c.kind + ", rules: [a, b], group-by: [u], timespan: 1h" + c.condition + "}\n"
				cor, err := sigma.NewCorrelator(parts, correlations(b, src), sigma.CorrelatorOptions[struct{}]{})
				if err != nil {
					b.Fatal(err)
				}
				evs := logins(users)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					cor.Observe(sigma.Observation{
						Event: &evs[i%len(evs)], Time: epoch.Add(time.Duration(i) * time.Millisecond), Rules: parts[:1],
					}, nil)
				}
				s := cor.Stats()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
				b.ReportMetric(float64(s.Groups), "groups")
				b.ReportMetric(float64(s.Evicted), "evicted")
			})
		}
	}
}

// Open groups take no more than they may: what is counted, and what the heap says.
func TestHeapOfManyGroups(t *testing.T) {
	const users, most = 100_000, 64 << 20
	src := "name: x\ncorrelation: {type: value_count, rules: [a], group-by: [u], timespan: 1d, condition: {field: v, gte: 20}}\n"
	evs := logins(users)
	before := heap()
	cor, err := sigma.NewCorrelator(parts, correlations(t, src), sigma.CorrelatorOptions[struct{}]{})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for i := range 5 * users { // five values for each
		cor.Observe(sigma.Observation{Event: &evs[i], Time: epoch.Add(time.Duration(i) * time.Millisecond), Rules: parts[:1]}, nil)
	}
	took := time.Since(began)
	used, s := int(heap()-before), cor.Stats()
	t.Logf("%d groups: %.1f MB of heap, %.1f MB counted, %.0f events/s", s.Groups, float64(used)/1e6, float64(s.Bytes)/1e6, 5*users/took.Seconds())
	if s.Groups != users || s.Evicted != 0 || used > most {
		t.Errorf("%d groups, %d evicted, %d bytes of heap", s.Groups, s.Evicted, used)
	}
	if s.Bytes < used*7/10 || s.Bytes > used*14/10 {
		t.Errorf("%d bytes are counted, %d used", s.Bytes, used)
	}
	runtime.KeepAlive(cor)
	runtime.KeepAlive(evs)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
