package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"picket/api/client"
	"picket/event"
)

// canaries runs commands at a steady rate, and watches the stream for their findings.
type canaries struct {
	p      *program
	prefix string

	mu    sync.Mutex
	ran   []string
	lost  int            // what agents said to have lost at most, set before check
	shown map[string]int // by finding id: how often the stream told of it
}

func newCanaries(t *testing.T, p *program, prefix string, every time.Duration) *canaries {
	c := &canaries{p: p, prefix: prefix, shown: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { c.follow(ctx) })
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			c.run(fmt.Sprintf("%s%s-%d.", mark, prefix, n))
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return c
}

func (c *canaries) run(name string) {
	if err := exec.Command("/bin/true", name).Run(); err != nil {
		c.p.t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ran = append(c.ran, name)
}

// follow counts what the stream shows, over all its connections.
func (c *canaries) follow(ctx context.Context) {
	for last := ""; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		_ = c.p.client.Stream(ctx, client.StreamOptions{After: last, Once: true}, func(m client.Message) error { // it ends with each kill
			if m.ID != "" {
				last = m.ID
			}
			var f event.Finding
			if m.Event == "finding" && json.Unmarshal(m.Data, &f) == nil {
				c.mu.Lock()
				c.shown[f.ID]++
				c.mu.Unlock()
			}
			return nil
		})
	}
}

var canaryName = regexp.MustCompile(`canary-\d+-[a-z]+-\d+\.`)

// count reports how often the API lists a finding, and the store an event, of each canary.
func (c *canaries) count() (findings, events, ids map[string]int, err error) {
	findings, events, ids = map[string]int{}, map[string]int{}, map[string]int{}
	list, err := c.p.findings("canary")
	if err != nil {
		return nil, nil, nil, err
	}
	for _, f := range list {
		ids[f.ID]++
		name := canaryName.FindString(f.Processes[0].Cmdline)
		findings[name]++
	}
	q := client.EventFilter{Query: `event.kind:="process.start" process.cmdline:"` + mark + c.prefix + `"`, Start: "1h", Limit: 1000}
	for {
		page, err := c.p.client.Events(c.p.t.Context(), q)
		if err != nil {
			return nil, nil, nil, err
		}
		for _, row := range page.Items {
			var r map[string]string
			if err := json.Unmarshal(row, &r); err != nil {
				return nil, nil, nil, err
			}
			events[canaryName.FindString(r["process.cmdline"])]++
		}
		if q.Before = page.Next; q.Before == "" {
			return findings, events, ids, nil
		}
	}
}

// check waits until every canary arrived, and fails where one is lost that no agent told of, or came twice.
func (c *canaries) check(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	names := slices.Clone(c.ran)
	c.mu.Unlock()
	var findings, events, ids map[string]int
	var lost []string
	least := len(names) + 1
	for end := time.Now(); ; time.Sleep(500 * time.Millisecond) {
		var err error
		findings, events, ids, err = c.count()
		lost = nil
		for _, n := range names {
			if findings[n] == 0 || events[n] == 0 {
				lost = append(lost, fmt.Sprintf("%s(findings %d, events %d)", n, findings[n], events[n]))
			}
		}
		if err == nil && len(lost) <= c.lost {
			break
		}
		if len(lost) < least { // they still come
			least, end = len(lost), time.Now().Add(40*time.Second)
		}
		if time.Now().After(end) {
			t.Errorf("%d of %d canaries are lost (%v): %.300v", len(lost), len(names), err, lost)
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	twice := 0
	for what, counts := range map[string]map[string]int{"finding of": findings, "event of": events, "finding listed as": ids, "finding streamed as": c.shown} {
		for name, n := range counts {
			if n > 1 {
				twice++
				t.Errorf("%d times: %s %s", n, what, name)
			}
		}
	}
	t.Logf("%s: %d canaries ran, %d lost of %d that were counted, %d twice, %d streamed", c.prefix, len(names), len(lost), c.lost, twice, len(c.shown))
}
