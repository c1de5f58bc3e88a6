package node

import (
	"os"
	"path/filepath"
)

// lasting are the host's directories from which programs start by themselves, or by which people come
// in. What the sensor's programs miss of changes in them, fanotify tells.
var lasting = []string{
	"/etc", "/etc/cron.*", "/var/spool/cron", "/var/spool/cron/crontabs", "/etc/systemd/system", "/etc/systemd/system/*.wants", "/etc/systemd/user",
	"/usr/lib/systemd/system", "/usr/local/lib/systemd/system", "/etc/init.d", "/etc/profile.d", "/etc/update-motd.d", "/etc/udev/rules.d",
	"/etc/modules-load.d", "/etc/ld.so.conf.d", "/etc/sudoers.d", "/etc/pam.d", "/etc/ssh", "/root", "/root/.ssh", "/home/*", "/home/*/.ssh",
}

const maxLasting = 512

// witnessLasting gives lasting directories a second witness.
func (a *agent) witnessLasting() {
	n := 0
	for _, pattern := range lasting {
		dirs, _ := filepath.Glob(pattern) // the patterns are ours
		for _, dir := range dirs {
			if st, err := os.Lstat(dir); err != nil || !st.IsDir() {
				continue // a link of a person would lead us anywhere
			}
			if n++; n > maxLasting {
				a.log.Warn("not all homes have a second witness", "witnessed", maxLasting)
				return
			}
			if err := a.sensor.WitnessDir(dir); err != nil {
				a.log.Warn("changes in a directory have no second witness", "dir", dir, "error", err)
			}
		}
	}
}
