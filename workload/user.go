package workload

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"time"
)

// users names the host's user ids. It reads the passwd file again, at most once a minute, when it
// meets an id that it does not know.
type users struct {
	file   string
	names  map[uint32]string
	loaded time.Time
}

// name returns the name of a user id; inside a container only root is told, because the
// container's own passwd file is not ours to believe.
func (u *users) name(id uint32, inside bool, now time.Time) string {
	if id == 0 {
		return "root"
	}
	if inside {
		return ""
	}
	if n, ok := u.names[id]; ok {
		return n
	}
	if u.names == nil || now.Sub(u.loaded) >= time.Minute {
		u.load(now)
	}
	return u.names[id]
}

func (u *users) load(now time.Time) {
	u.loaded, u.names = now, map[uint32]string{}
	f, err := os.Open(u.file)
	if err != nil {
		return
	}
	defer f.Close() //nolint:errcheck // opened for reading
	for lines := bufio.NewScanner(f); lines.Scan() && len(u.names) < 64<<10; {
		part := strings.SplitN(lines.Text(), ":", 4)
		if len(part) < 4 {
			continue
		}
		if id, err := strconv.ParseUint(part[2], 10, 32); err == nil {
			if _, dup := u.names[uint32(id)]; !dup {
				u.names[uint32(id)] = part[0]
			}
		}
	}
}
