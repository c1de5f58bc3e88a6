package events

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Config says how the built-in store runs.
type Config struct {
	Dir       string        // where the events lie
	Listen    string        // loopback address, host:port
	Retention time.Duration // how long events are kept; 0: 30 days
	Disk      int64         // most bytes on disk, the oldest days go first; 0: no bound
	MinFree   int64         // bytes of disk to leave free, below it the store refuses writes; 0: 1 GiB
	Memory    int64         // bytes for caches and queries; 0: 256 MiB
	User      string        // name that clients must give; "" lets everyone in
	Password  string        // file with the password: never given on the command line
}

const day = 24 * time.Hour

// Args returns the arguments for child.Main that make the store run as c says.
func Args(c Config) []string {
	or := func(n, def int64) string {
		if n <= 0 {
			n = def
		}
		return strconv.FormatInt(n, 10)
	}
	days := max(1, int64((c.Retention+day-1)/day))
	if c.Retention <= 0 {
		days = 30
	}
	args := []string{
		"-listen=" + c.Listen,
		"-storageDataPath=" + c.Dir,
		"-inmemoryDataFlushInterval=1s", // its least: bounds what a kill loses, see AckDelay
		"-retentionPeriod=" + strconv.FormatInt(days, 10) + "d",
		"-futureRetention=2d",
		"-storage.minFreeDiskSpaceBytes=" + or(c.MinFree, 1<<30),
		"-memory.allowedBytes=" + or(c.Memory, 256<<20),
		"-search.maxQueryDuration=30s",
		"-search.maxConcurrentRequests=4",
		"-loggerLevel=WARN",
		"-loggerFormat=json",
		"-loggerWarnsPerSecondLimit=5", // a bad line is logged with its content
	}
	if c.Disk > 0 {
		args = append(args, "-retention.maxDiskSpaceUsageBytes="+strconv.FormatInt(c.Disk, 10))
	}
	if c.User != "" {
		args = append(args, "-httpAuth.username="+c.User, "-httpAuth.password=file://"+c.Password)
	}
	return args
}

// validate says what is wrong with a Config that Args would make unusable arguments from.
func (c Config) validate() error {
	switch {
	case c.Dir == "":
		return errors.New("store: no directory given")
	case !strings.Contains(c.Listen, ":"):
		return fmt.Errorf("store: cannot listen on %q: want host:port", c.Listen)
	case c.User != "" && !filepath.IsAbs(c.Password):
		return fmt.Errorf("store: password file %q: want an absolute path", c.Password)
	}
	return nil
}

// Prepare makes the directory and proves that it takes files, so that a full or read-only disk is
// said in plain words: the engine itself ends with a stack trace.
func (c Config) Prepare() error {
	if err := c.validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("store: making the directory for events: %w", err)
	}
	name := filepath.Join(c.Dir, ".write-check")
	if err := os.WriteFile(name, make([]byte, 4096), 0o600); err != nil {
		_ = os.Remove(name) // the write failed: the file may be there or not
		return fmt.Errorf("store: directory for events takes no files: %w", err)
	}
	return os.Remove(name)
}
