package node

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"picket/store/child"
	"picket/store/events"
)

// storeUser is the name that the server gives to the store; the password is made at first start.
const storeUser = "picket"

// RunStore runs the store role. It ends on SIGTERM, which the engine takes itself.
func RunStore(cfg *Config, listen string) error {
	if err := makeDir(cfg.dir("store"), 0); err != nil {
		return err
	}
	release, err := lock(cfg.dir("store"), "store")
	if err != nil {
		return err
	}
	defer release()
	if _, err := storePassword(cfg, 0); err != nil {
		return err
	}
	c := events.Config{
		Dir: filepath.Join(cfg.dir("store"), "events"), Listen: listen,
		Retention: time.Duration(cfg.Store.Retention), Disk: int64(cfg.Store.Disk), Memory: int64(cfg.Store.Memory),
		User: storeUser, Password: passwordFile(cfg),
	}
	if err := c.Prepare(); err != nil {
		return dirError(c.Dir, err)
	}
	return child.Main(events.Args(c))
}

func passwordFile(cfg *Config) string { return filepath.Join(cfg.dir("store"), "password") }

// storePassword returns the store's password, making one, owned by uid, where there is none.
// Loopback is open to every local process: without it any of them could read or forge events.
func storePassword(cfg *Config, uid int) (string, error) {
	name := passwordFile(cfg)
	b, err := os.ReadFile(name)
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("the store's password: %w", err)
	}
	secret := rand.Text()
	if err := replaceFile(name, []byte(secret), 0o600); err != nil {
		return "", fmt.Errorf("the store's password: %w", err)
	}
	if os.Geteuid() == 0 && uid > 0 {
		if err := os.Chown(name, uid, uid); err != nil {
			return "", fmt.Errorf("the store's password: %w", err)
		}
	}
	return secret, nil
}
