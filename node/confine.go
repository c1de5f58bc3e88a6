package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// environment is what server and store get of root's environment, beside what the configuration
// names: no more than they read.
var environment = []string{
	"PATH", "TZ", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"GOMAXPROCS", "GOMEMLIMIT", "GOGC", "GODEBUG", "GOTRACEBACK", "GOCOVERDIR", "NO_COLOR",
	"KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT",
}

// harden closes what children would inherit by chance: descriptors that the program which started
// us left open, and core files, which would hold keys.
func harden() error {
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil && !errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("closing inherited descriptors: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbidding core files: %w", err)
	}
	return nil
}

// needless are the capabilities of root that an agent has no use for: modules, ports of the machine, its
// clock, its end, its audit log, device nodes, the security module's rules.
var needless = []uintptr{
	unix.CAP_NET_BROADCAST, unix.CAP_IPC_OWNER, unix.CAP_SYS_MODULE, unix.CAP_SYS_RAWIO, unix.CAP_SYS_PACCT, unix.CAP_SYS_BOOT, unix.CAP_SYS_TIME,
	unix.CAP_SYS_TTY_CONFIG, unix.CAP_MKNOD, unix.CAP_LEASE, unix.CAP_AUDIT_WRITE, unix.CAP_AUDIT_CONTROL, unix.CAP_AUDIT_READ,
	unix.CAP_MAC_OVERRIDE, unix.CAP_MAC_ADMIN, unix.CAP_WAKE_ALARM, unix.CAP_BLOCK_SUSPEND,
}

// confine takes from the calling thread, and so from the programs that it starts, the means to gain
// privilege by running a program. Those that run as another user can get no capability either, and root
// none that is needless.
// The goroutine must hold its thread and never give it back: nothing undoes this.
func confine(uid int) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if os.Geteuid() != 0 {
		return nil
	}
	if uid == 0 {
		for _, c := range needless {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
				return fmt.Errorf("capability bounding set: %w", err)
			}
		}
		return nil
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("ambient capabilities: %w", err)
	}
	for c := uintptr(0); ; c++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			return nil // beyond the last that this kernel knows
		}
		if err != nil {
			return fmt.Errorf("capability bounding set: %w", err)
		}
	}
}

// program makes the command that runs this program again, as uid, with args and the configuration.
// A uid other than 0 gets neither root's environment nor its terminal, on which it could type.
func program(cfg *Config, uid int, args ...string) (*exec.Cmd, error) {
	conf, err := configFile(cfg)
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: append([]string{"picket"}, args...), Stderr: os.Stderr, Dir: "/",
		Env:         os.Environ(),
		ExtraFiles:  []*os.File{conf},
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setsid: true},
		WaitDelay:   5 * time.Second, // who it left behind may hold its output open
	}
	if uid != 0 && os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(groupOf(uid))}
		named := envName.FindAllString(string(cfg.src), -1)
		for _, m := range envRef.FindAllStringSubmatch(string(cfg.src), -1) {
			named = append(named, "${"+m[1]+"}")
		}
		cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool {
			name, _, _ := strings.Cut(v, "=")
			return !slices.Contains(environment, name) && !slices.Contains(named, "${"+name+"}")
		})
	}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		cmd.Stderr = struct{ io.Writer }{os.Stderr} // not a file: by a pipe
	}
	cmd.Env = append(cmd.Env, "PICKET_HOST="+cfg.Host)
	return cmd, nil
}

// groupOf returns the user's group. A group with the user's own number may be somebody else's.
func groupOf(uid int) int {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		if id, err := strconv.Atoi(u.Gid); err == nil && id > 0 {
			return id
		}
	}
	return fallbackUID
}

// configFile returns an open, nameless file with the configuration. Handing over the descriptor
// lets a role without privilege read a file that only root may.
func configFile(cfg *Config) (*os.File, error) {
	fd, err := unix.MemfdCreate("picket.yaml", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("handing over the configuration: %w", err)
	}
	f := os.NewFile(uintptr(fd), "picket.yaml")
	if _, err := f.WriteAt(cfg.src, 0); err != nil {
		_ = f.Close() // the error below says more
		return nil, fmt.Errorf("handing over the configuration: %w", err)
	}
	return f, nil
}

// ownData checks that nobody but root can replace the folders of the roles.
func ownData(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return dirError(dir, err)
	}
	if os.Geteuid() == 0 && (st.Uid != 0 || st.Mode&0o022 != 0) {
		return &Error{
			Err:  fmt.Errorf("data directory %s: others than root may write in it (owner %d, mode %#o)", dir, st.Uid, st.Mode&0o7777),
			Hint: "chown root " + dir + " && chmod go-w " + dir + ", or choose another place with `data:` in picket.yaml or --data",
			Code: ExitHost,
		}
	}
	return nil
}

// RunConfined runs this program again to read what nobody vouches for: as a user without privilege or
// network where we are root, and never with root's environment. Its descriptor 3 is in. It returns
// when the program ended.
func RunConfined(ctx context.Context, in *os.File, out, said io.Writer, args ...string) error {
	return runReaderOf(ctx, false, "/proc/self/exe", in, out, said, append([]string{"picket"}, args...))
}

// runConfinedWith does so with several descriptors, from 3 on.
func runConfinedWith(ctx context.Context, in []*os.File, out, said io.Writer, args ...string) error {
	return runFiles(ctx, false, "/proc/self/exe", in, out, said, append([]string{"picket"}, args...))
}

// runReaderOf does so with any program; a calm one comes after all others.
func runReaderOf(ctx context.Context, calm bool, path string, in *os.File, out, said io.Writer, args []string) error {
	return runFiles(ctx, calm, path, []*os.File{in}, out, said, args)
}

func runFiles(ctx context.Context, calm bool, path string, in []*os.File, out, said io.Writer, args []string) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: see confine
		if calm {
			giveWay()
		}
		done <- runReader(ctx, path, in, out, said, args)
	}()
	return <-done
}

const idleIO = 3 << 13 // IOPRIO_CLASS_IDLE: the disk when nobody else wants it

// giveWay makes the calling thread, and so the programs that it starts, come after all others. Where
// that is refused, they run as others do.
func giveWay() {
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 19)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, 1, 0, idleIO) // of a thread: the calling one
}

func runReader(ctx context.Context, path string, in []*os.File, out, said io.Writer, args []string) error {
	uid := os.Geteuid()
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	if uid == 0 {
		uid = fallbackUID
		attr.Credential = &syscall.Credential{Uid: fallbackUID, Gid: fallbackUID}
		attr.Cloneflags = syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC
	}
	if err := confine(uid); err != nil {
		return err
	}
	start := func() (*exec.Cmd, error) {
		cmd := &exec.Cmd{
			Path: path, Args: args, Dir: "/", Env: []string{"TMPDIR=" + os.TempDir(), "GOMAXPROCS=1"},
			Stdout: out, Stderr: said, ExtraFiles: in, SysProcAttr: attr, WaitDelay: time.Second,
		}
		return cmd, cmd.Start()
	}
	cmd, err := start()
	if errors.Is(err, unix.EPERM) && attr.Cloneflags != 0 { // in a container without CAP_SYS_ADMIN
		attr.Cloneflags = 0
		cmd, err = start()
	}
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() }) // gone already is as good
	defer stop()
	return errors.Join(cmd.Wait(), ctx.Err())
}
