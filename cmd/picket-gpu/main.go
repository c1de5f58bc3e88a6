// Picket-gpu reads NVIDIA GPUs for picket's agent, which starts it without privilege: one line of
// JSON each time. It ends when nobody reads any more.
package main

import (
	"encoding/json"
	"flag"
	"os"
	"runtime"
	"time"

	"picket/event"
	"picket/sensor/gpu/nvml"
)

func main() {
	library := flag.String("library", "", "NVIDIA's library; empty looks where the driver puts it")
	every := flag.Duration("every", 5*time.Second, "how often to look")
	flag.Parse()
	runtime.LockOSThread() // the driver sees one thread
	out := json.NewEncoder(os.Stdout)
	l, err := nvml.Open(*library)
	if err != nil {
		_ = out.Encode(event.GPUReading{Error: err.Error()}) // the end says it, too
		os.Exit(1)
	}
	for tick := time.Tick(max(*every, 100*time.Millisecond)); ; <-tick {
		if out.Encode(l.Read(time.Now())) != nil {
			return
		}
	}
}
