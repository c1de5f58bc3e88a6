package sigma

import "math"

// What is believed of the clocks of sources.
const (
	sourceIdle = 60e9 // ns by which a source may be behind the newest event and still hold the watermark
	maxSources = 1 << 16
)

// clocks is what the events of each source told of the time, in Unix nanoseconds.
type clocks struct {
	by     map[string]*clock
	newest int64  // of all sources
	floor  int64  // the newest of the source that is furthest behind, of those that live
	last   *clock // that source

	ahead clock  // a source that is far ahead of all others, and is not believed yet
	who   string // its name, "" for none
}

// clock is one source's time.
type clock struct {
	name   string
	newest int64 // that was believed
	said   int64 // as its events say
}

// only notes the time of the one source there is, as in an agent, and reports false where there are
// others.
func (k *clocks) only(source string, at int64) bool {
	if len(k.by) != 1 || k.last == nil || k.last.name != source {
		return false
	}
	k.last.newest, k.last.said = max(k.last.newest, at), max(k.last.said, at)
	k.newest, k.floor = k.last.newest, k.last.newest
	return true
}

// believed returns the time at which an event of a source counts. One that is more than an hour ahead
// of all other sources counts as happening now, so that one clock that is wrong does not end all
// windows: unless its source goes on for a minute without another being heard, or another one says
// the same.
func (k *clocks) believed(source string, at int64) (int64, bool) {
	own := k.by[source]
	others := len(k.by)
	if own != nil {
		others--
	}
	if others == 0 || at <= k.newest+maxJump {
		if k.who != source {
			k.who = ""
		}
		return at, true
	}
	for name, other := range k.by {
		if name != source && at <= other.said+maxJump {
			return at, true
		}
	}
	if k.who != source || k.ahead.said == 0 {
		k.who, k.ahead = source, clock{newest: at, said: at}
	}
	if at-k.ahead.newest > sourceIdle {
		k.who = ""
		return at, true
	}
	if own == nil {
		own = k.add(source, k.newest)
	}
	own.said = max(own.said, at)
	return k.newest, false
}

// see notes that a source's time has come to at, and returns the time that all sources which live
// have come to.
func (k *clocks) see(source string, at int64) int64 {
	own := k.by[source]
	switch {
	case own == nil:
		own = k.add(source, at)
	case at <= own.newest && own != k.last:
		own.said = max(own.said, at)
		return k.floor
	}
	own.newest, own.said = max(own.newest, at), max(own.said, at)
	k.newest = max(k.newest, at)
	if own == k.last || k.last == nil || k.floor < k.newest-sourceIdle {
		k.settle()
	}
	return k.floor
}

// add makes room for a source. Where there are too many, those that are idle are forgotten, and then
// all: they are known again with their next event.
func (k *clocks) add(source string, at int64) *clock {
	if len(k.by) >= maxSources {
		k.settle()
	}
	if k.by == nil || len(k.by) >= maxSources {
		k.by, k.last = map[string]*clock{}, nil
	}
	own := &clock{name: source, newest: at, said: at}
	k.by[source] = own
	if k.last != nil && at < k.floor && at >= k.newest-sourceIdle {
		k.last, k.floor = own, at
	}
	return own
}

// settle finds the source that is furthest behind, and forgets those that are idle.
func (k *clocks) settle() {
	k.floor, k.last = math.MaxInt64, nil
	for name, one := range k.by {
		switch {
		case one.newest < k.newest-sourceIdle:
			delete(k.by, name)
		case one.newest < k.floor:
			k.floor, k.last = one.newest, one
		}
	}
}
