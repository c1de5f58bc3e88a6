package node

import (
	"testing"
	"time"
)

func TestTheTimeWithoutAnAgentIsSaid(t *testing.T) {
	last := "2026-11-24T10:00:00Z b1\n"
	now := time.Date(2026, 11, 24, 10, 0, 5, 0, time.UTC)
	for _, c := range []struct{ name, alive, boot, want string }{
		{"restart", last, "b1", "the agent did not run from 2026-11-24 10:00:00.000 UTC to 2026-11-24 10:00:05.000 UTC: what happened in that time was not seen"},
		{"new boot", last, "b2", "the agent did not run from 2026-11-24 10:00:00.000 UTC to 2026-11-24 10:00:05.000 UTC, and the host was started anew: what happened in that time was not seen"},
		{"clock went back", "2026-11-24T11:00:00Z b1", "b1", "the agent did not run for a while, and the clock went back from 2026-11-24 11:00:00.000 UTC to 2026-11-24 10:00:05.000 UTC: what happened in that time was not seen"},
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
