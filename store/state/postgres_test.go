package state

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var cluster struct {
	once sync.Once
	url  string
	skip string
	stop func()
	n    int
}

func TestMain(m *testing.M) {
	code := m.Run()
	if cluster.stop != nil {
		cluster.stop()
	}
	os.Exit(code)
}

// database returns the URL of an empty Postgres database: on the server that PICKET_POSTGRES names,
// or on a throw-away one where Postgres is installed.
func database(t *testing.T) string {
	t.Helper()
	cluster.once.Do(startPostgres)
	if cluster.skip != "" {
		if slices.Contains(strings.Split(os.Getenv("PICKET_REQUIRE"), ","), "postgres") {
			t.Fatal(cluster.skip)
		}
		t.Skip(cluster.skip)
	}
	db, err := sql.Open("pgx", fmt.Sprintf(cluster.url, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cluster.n++
	name := fmt.Sprintf("picket_test_%d_%d", os.Getpid(), cluster.n)
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if db, err := sql.Open("pgx", fmt.Sprintf(cluster.url, "postgres")); err == nil {
			_, _ = db.Exec("DROP DATABASE " + name + " WITH (FORCE)")
			db.Close()
		}
	})
	return fmt.Sprintf(cluster.url, name)
}

func startPostgres() {
	if u := os.Getenv("PICKET_POSTGRES"); u != "" { // with %s for the database
		cluster.url = u
		return
	}
	bin, err := exec.LookPath("postgres")
	if err != nil {
		cluster.skip = "needs Postgres: install it, or set PICKET_POSTGRES to postgres://…/%s"
		return
	}
	if bin, err = filepath.EvalSymlinks(bin); err != nil {
		cluster.skip = err.Error()
		return
	}
	dir, err := os.MkdirTemp("/tmp", "picket-pg-")
	if err != nil {
		cluster.skip = err.Error()
		return
	}
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Getuid() == 0 { // Postgres refuses root
		u, err := user.Lookup("postgres")
		if err != nil {
			cluster.skip = "needs a user postgres to run Postgres as: " + err.Error()
			return
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			cluster.skip = err.Error()
			return
		}
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(filepath.Dir(bin), "initdb"), "-D", data, "-U", "picket", "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		cluster.skip = fmt.Sprintf("initdb: %v: %s", err, out)
		return
	}
	var logs bytes.Buffer
	pg := exec.Command(bin, "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off")
	pg.SysProcAttr, pg.Dir, pg.Stderr = attr, dir, &logs
	if err := pg.Start(); err != nil {
		cluster.skip = err.Error()
		return
	}
	cluster.stop = func() {
		_ = pg.Process.Signal(syscall.SIGINT)
		_ = pg.Wait()
		_ = os.RemoveAll(dir)
	}
	cluster.url = "postgres://picket@/%s?host=" + dir
	for range 100 {
		if db, err := sql.Open("pgx", fmt.Sprintf(cluster.url, "postgres")); err == nil {
			err = db.Ping()
			db.Close()
			if err == nil {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	cluster.skip = "Postgres does not start: " + logs.String()
}
