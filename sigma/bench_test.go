package sigma_test

import (
	"cmp"
	"testing"

	"picket/sigma"
)

// administration are ordinary events: command line, executable, parent.
func administration() []sigma.Event {
	var evs []sigma.Event
	for _, c := range [][3]string{
		{"/usr/bin/python3 -m vllm.entrypoints.openai.api_server --model /models/llama-3-70b --tensor-parallel-size 8 --port 8000", "/usr/bin/python3.11", "/usr/bin/bash"},
		{"git fetch origin --prune --tags", "/usr/bin/git", "/usr/bin/make"},
		{"/usr/lib/systemd/systemd-journald", "/usr/lib/systemd/systemd-journald", "/usr/lib/systemd/systemd"},
		{"torchrun --nproc_per_node=8 --nnodes=4 train.py --config configs/large.yaml --checkpoint-dir /mnt/checkpoints/run-17", "/opt/conda/bin/python3.10", "/usr/bin/slurmstepd"},
		{"ls -l /var/log/nginx", "/usr/bin/ls", "/usr/bin/bash"},
		{"cc1 -quiet -I include -D_FORTIFY_SOURCE=2 main.c -o /tmp/ccXYZ.s", "/usr/lib/gcc/cc1", "/usr/bin/gcc"},
	} {
		evs = append(evs, event(map[string]any{
			"CommandLine": c[0], "Image": c[1], "ParentImage": c[2], "User": "svc", "ProcessId": 4242,
			"CurrentDirectory": "/home/svc", "ParentCommandLine": c[2] + " run.sh",
		}))
	}
	return evs
}

// processRules are the public rules about processes, of one product or of all.
func processRules(tb testing.TB, product string) []*sigma.Rule {
	var some []*sigma.Rule
	rules, _ := loadPublic(tb)
	for _, r := range rules {
		if r.Logsource.Category == "process_creation" && (product == "" || r.Logsource.Product == product) {
			c := *r
			c.Logsource.Product = "linux"
			some = append(some, &c)
		}
	}
	return some
}

func BenchmarkMatch(b *testing.B) {
	for _, product := range []string{"linux", ""} {
		b.Run("product="+cmp.Or(product, "any"), func(b *testing.B) {
			rules := processRules(b, product)
			e, _ := sigma.Compile(rules, schema)
			evs := administration()
			fired := 0
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e.Match(evs[i%len(evs)], func(*sigma.Rule) { fired++ })
			}
			b.ReportMetric(float64(len(e.Rules())), "rules")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(fired)/float64(b.N), "hits/event")
		})
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random")
	}
	e := compile(t, rule(`s:
  - CommandLine|contains: [ABSENT, 'x*y?z']
  - CommandLine|re: 'ABSENT\d+'
  - Image|endswith|cased: ABSENT
  - ProcessId|gt: 100000
  - ProcessId: 17
  - User|cidr: 10.0.0.0/8
  - DestinationIp|cidr: 10.0.0.0/8
  - Image|fieldref: ParentImage
  - other|hour: 3
k: [ABSENT]
condition: s or k`), sigma.Options{})
	ev := event(map[string]any{
		"CommandLine": "Некоторые ARGUMENTS \xff x-y", "Image": "/BIN/Sh", "ParentImage": "/bin/Bash", "ProcessId": 4242,
		"User": "Root", "DestinationIp": "192.0.2.1", "Initiated": true, "other": []string{"Now", "then"},
	})
	if got := hits(e, ev); len(got) > 0 {
		t.Fatalf("fired: %v", got)
	}
	hit := func(*sigma.Rule) {}
	if n := testing.AllocsPerRun(1000, func() { e.Match(ev, hit) }); n >= 0.5 {
		t.Errorf("%.1f allocations per event", n)
	}
}
