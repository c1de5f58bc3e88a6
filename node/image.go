package node

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"picket/event"
)

// imageOf names the image that a process's root file system is of: by the layers below it, which all
// containers of one image share on a host. It is "" where there is no overlay, as on the host.
func imageOf(p *event.Process) string {
	if p.Container == nil {
		return ""
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", p.PID))
	if err != nil {
		return "" // it has ended
	}
	defer f.Close() //nolint:errcheck // it was only read
	lines := bufio.NewScanner(io.LimitReader(f, 1<<20))
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		if layers := layersOf(lines.Text()); layers != "" {
			return "layers " + event.HashID(layers)[:16]
		}
	}
	return ""
}

// layersOf returns the lower layers of the overlay that a line of mountinfo mounts at the root. Docker puts
// a layer of the container's own on top of those of the image.
func layersOf(line string) string {
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[4] != "/" || !strings.Contains(line, " - overlay ") {
		return ""
	}
	var lower string
	docker := false
	for opt := range strings.SplitSeq(fields[len(fields)-1], ",") {
		switch name, value, _ := strings.Cut(opt, "="); name {
		case "lowerdir":
			lower = value
		case "upperdir":
			docker = strings.Contains(value, "/overlay2/")
		}
	}
	if _, rest, more := strings.Cut(lower, ":"); docker && more {
		return rest
	}
	return lower
}
