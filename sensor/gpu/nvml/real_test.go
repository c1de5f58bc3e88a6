package nvml

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// most is what a look at all GPUs may take: more would show in what they do.
const most = 2 * time.Millisecond

// On a machine with an NVIDIA GPU: how long a look takes. The first asks what does not change too.
func TestRealGPU(t *testing.T) {
	if _, err := os.Stat("/dev/nvidiactl"); err != nil {
		if slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), "gpu") {
			t.Fatal(err)
		}
		t.Skip("there is no NVIDIA GPU: ", err)
	}
	l, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for range 101 {
		began := time.Now()
		r := l.Read(began)
		took = append(took, time.Since(began))
		if r.Error != "" || len(r.Devices) == 0 {
			t.Fatalf("%+v", r)
		}
	}
	first := took[0]
	slices.Sort(took)
	t.Logf("a look takes %s (median of %d), the slowest %s, the first %s", took[len(took)/2], len(took), took[len(took)-1], first)
	if took[len(took)/2] > most {
		t.Errorf("a look takes %s, at most %s", took[len(took)/2], most)
	}
}
