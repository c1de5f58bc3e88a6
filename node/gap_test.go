package node

import (
	"testing"
	"time"

	"picket/sensor/kernel"
)

func TestTheTimeWithoutAnAgentIsSaid(t *testing.T) {
	last := "2026-11-24T10:00:00Z b1\n"
	now := time.Date(2026, 11, 24, 10, 0, 5, 0, time.UTC)
	for _, c := range []struct{ name, alive, boot, want string }{
		{"restart", last, "b1", "the agent did not run from 2026-11-24 10:00:00.000 UTC to 2026-11-24 10:00:05.000 UTC: "},
		{"new boot", last, "b2", "the agent did not run from 2026-11-24 10:00:00.000 UTC to 2026-11-24 10:00:05.000 UTC, and the host was started anew: "},
		{"clock went back", "2026-11-24T11:00:00Z b1", "b1", "the agent did not run for a while, and the clock went back from 2026-11-24 11:00:00.000 UTC to 2026-11-24 10:00:05.000 UTC: "},
	} {
		if got, err := gap(c.alive, c.boot, now); err != nil || got != c.want {
			t.Errorf("%s: got %q, %v\nwant %q", c.name, got, err, c.want)
		}
	}
	for _, broken := range []string{"", "\n", "\x00\x00\x00", "yesterday b1"} {
		if got, err := gap(broken, "b1", now); err == nil {
			t.Errorf("%q was taken for a time: %q", broken, got)
		}
	}
}

func TestWhatWasSeenMeanwhileIsSaid(t *testing.T) {
	for _, c := range []struct {
		taken   kernel.Taken
		lacking uint64
		want    string
	}{
		{kernel.Taken{}, 0, "what happened in that time was not seen"},
		{kernel.Taken{Over: true, Waiting: 1025, Lost: 3}, 7, "its sensor went on, and 2 KiB of what it saw are told of now; 3 events at most were with the agent that ended and are lost, and 7 had no room"},
		{kernel.Taken{Over: true, Quiet: time.Date(2026, 11, 24, 10, 5, 0, 0, time.UTC)}, 0, "its sensor went on until 2026-11-24 10:05:00.000 UTC, when nobody had come for it: what happened from then on was not seen; 0 events at most were with the agent that ended and are lost, and 0 had no room"},
	} {
		if got := meanwhile(c.taken, c.lacking); got != c.want {
			t.Errorf("%+v: got %q\nwant %q", c.taken, got, c.want)
		}
	}
}
