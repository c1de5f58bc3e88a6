package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"picket/event"
	"picket/sensor/kernel"
)

// aliveFile holds when the agent last ran, and in which boot.
func (a *agent) aliveFile() string { return filepath.Join(a.cfg.dir("agent"), "alive") }

// onItsWay is how long an event may be in memory before it is on disk or sent.
const onItsWay = 200 * time.Millisecond

// saveAlive notes until when all was seen and kept. The next agent tells from it what nobody saw.
func (a *agent) saveAlive(now time.Time) {
	if !a.last.IsZero() && a.last.Before(now) {
		now = a.last // under load the agent may be behind: what waits in the ring would die with it
	}
	a.last = time.Time{}
	line := now.Add(-onItsWay).UTC().Format(aliveTime) + " " + a.boot + "\n"
	if err := a.writeAlive([]byte(line)); err != nil && !a.mute {
		a.mute = true // once is enough: it would be said every second
		a.log.Warn("the time this agent last ran cannot be kept: its next start cannot say what was not seen", "error", err)
	}
}

// aliveTime has one length, so that each line fits over the one before.
const aliveTime = "2006-01-02T15:04:05.000000000Z"

// writeAlive writes over the line of a second ago: a new file each time would cost the host more
// than all else the agent does at rest.
func (a *agent) writeAlive(line []byte) error {
	if a.alive == nil {
		f, err := os.OpenFile(a.aliveFile(), os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		a.alive = f
	}
	_, err := a.alive.WriteAt(line, 0)
	return err
}

// declareGap tells of the time between the last agent's end and now: what its sensor, which went on,
// kept of it, and what is lost.
func (a *agent) declareGap(now time.Time) {
	taken := a.sensor.Taken()
	drops := a.sensor.Dropped()
	lacking := drops - a.sensor.Told() - taken.Lost
	a.sensor.Tell(drops)
	b, err := os.ReadFile(a.aliveFile())
	if errors.Is(err, fs.ErrNotExist) {
		return // the first start
	}
	message, err := gap(string(b), a.boot, now)
	if err != nil {
		a.log.Warn("it is not known when the last agent ended", "error", err)
		return
	}
	message += meanwhile(taken, lacking)
	a.log.Warn("there is a gap in what was seen", "gap", message)
	a.send(&event.Event{Kind: event.SensorHealth, Time: now, Host: a.cfg.Host, Message: message})
}

const clockTime = "2006-01-02 15:04:05.000 MST"

// gap says in half a sentence since when no agent ran, as an alive file holds it.
func gap(alive, boot string, now time.Time) (string, error) {
	line, _, _ := strings.Cut(alive, "\n")
	at, oldBoot, _ := strings.Cut(line, " ")
	last, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return "", fmt.Errorf("last time: %w", err)
	}
	from, to := last.UTC().Format(clockTime), now.UTC().Format(clockTime)
	switch {
	case oldBoot != boot:
		return fmt.Sprintf("the agent did not run from %s to %s, and the host was started anew: ", from, to), nil
	case now.Before(last):
		return fmt.Sprintf("the agent did not run for a while, and the clock went back from %s to %s: ", from, to), nil
	}
	return fmt.Sprintf("the agent did not run from %s to %s: ", from, to), nil
}

// meanwhile says the rest: what a sensor that was kept saw without an agent, and what had no room.
func meanwhile(t kernel.Taken, lacking uint64) string {
	if !t.Over {
		return "what happened in that time was not seen"
	}
	said := fmt.Sprintf("its sensor went on, and %d KiB of what it saw are told of now", (t.Waiting+1023)>>10)
	if !t.Quiet.IsZero() {
		said = fmt.Sprintf("its sensor went on until %s, when nobody had come for it: what happened from then on was not seen", t.Quiet.UTC().Format(clockTime))
	}
	return fmt.Sprintf("%s; %d events at most were with the agent that ended and are lost, and %d had no room", said, t.Lost, lacking)
}
