package ingest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/event"
)

// log is a Reader of a test: its clock stands still unless it is moved.
type log struct {
	*Reader
	t    *testing.T
	now  time.Time
	told []string
}

func reader(t *testing.T, opts Options) *log {
	l := &log{t: t, now: time.Now()}
	opts.Now = func() time.Time { return l.now }
	opts.Told = func(e *event.Event) {
		line := fmt.Sprintf("%s %s %s", e.Request.Engine, e.Request.Method, e.Request.Path)
		if e.Count > 0 {
			line += fmt.Sprint(" x", e.Count)
		}
		l.told = append(l.told, line)
	}
	l.Reader = New(opts)
	t.Cleanup(l.close)
	return l
}

// step finds and reads, as Run does, and returns what was told.
func (l *log) step(move time.Duration) string {
	l.now = l.now.Add(move)
	l.find(l.now)
	l.read(l.now)
	defer func() { l.told = nil }()
	return strings.Join(l.told, "; ")
}

func line(path string) string {
	return `INFO:     10.0.0.5:51234 - "GET ` + path + ` HTTP/1.1" 200 OK` + "\n"
}

func write(t *testing.T, name string, flags int, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|flags, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestALogIsReadOverItsRotation(t *testing.T) {
	dir := t.TempDir()
	name, state := filepath.Join(dir, "access.log"), filepath.Join(dir, "state.json")
	write(t, name, 0, line("/before"))
	opts := Options{Logs: []Logs{{Paths: []string{filepath.Join(dir, "*.log")}, Engine: "vllm"}}, State: state}
	l := reader(t, opts)
	l.started = time.Now() // the file is older
	expect := func(what, want string, move time.Duration) {
		t.Helper()
		if got := l.step(move); got != want {
			t.Errorf("%s: told of %q, want %q", what, got, want)
		}
	}
	expect("what was written before", "", 0)
	write(t, name, os.O_APPEND, line("/a")+line("/b")[:20])
	expect("one line and a half", "vllm GET /a", 0)
	write(t, name, os.O_APPEND, line("/b")[20:])
	expect("the other half", "vllm GET /b", 0)

	if err := os.Rename(name, filepath.Join(dir, "access.1")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "access.1"), os.O_APPEND, line("/late"))
	write(t, name, 0, line("/new"))
	if got := l.step(0); !strings.Contains(got, "/late") || !strings.Contains(got, "/new") {
		t.Errorf("rotation by rename: told of %q", got)
	}
	write(t, name, os.O_TRUNC, line("/c"))
	expect("rotation by copy and truncation", "vllm GET /c", 0)

	write(t, name, os.O_APPEND, strings.Repeat("x", maxLine+1)+"\n"+line("/d"))
	expect("behind a line that is too long", "vllm GET /d", 0)
	l.save()
	write(t, name, os.O_APPEND, line("/away"))
	if s := l.Sources(); len(s) != 2 || s[0].Refused+s[1].Refused != 1 {
		t.Errorf("%+v", s)
	}

	l2 := reader(t, opts)
	l2.started = time.Now()
	if got := l2.step(0); got != "vllm GET /away" {
		t.Errorf("the next reader told of %q, want what came since", got)
	}
}

// What a client had a server write cannot be read as a line of its own, wherever reading begins and
// however a container's runtime cuts it.
func TestTheRestOfALineIsNoLine(t *testing.T) {
	forged := line("/forged")
	docker := func(stream, text string) string {
		return fmt.Sprintf("{\"log\":%q,\"stream\":%q,\"time\":\"t\"}\n", text, stream)
	}
	cri := func(stream, tag, text string) string {
		return "2026-01-02T15:04:05.123456789Z " + stream + " " + tag + " " + strings.TrimSuffix(text, "\n") + "\n"
	}
	piece := strings.Repeat("p", 16<<10)
	for name, c := range map[string][2]string{
		"begun in the middle":  {"prompt: ", forged + line("/real")},
		"too many pieces":      {"", strings.Repeat(docker("stdout", piece), 5) + docker("stdout", forged) + docker("stdout", line("/real"))},
		"far too many pieces":  {"", strings.Repeat(docker("stdout", piece), 9) + docker("stdout", forged) + docker("stdout", line("/real"))},
		"a megabyte":           {"", strings.Repeat("x", 1<<20) + forged + line("/real")},
		"a megabyte, in turns": {strings.Repeat("x", 1<<20), strings.Repeat("x", 1<<20) + forged + line("/real")},
		"two streams":          {"", cri("stderr", "P", "prompt: ") + cri("stdout", "F", line("/real")) + cri("stderr", "F", forged)},
	} {
		file := filepath.Join(t.TempDir(), "a.log")
		write(t, file, 0, c[0])
		l := reader(t, Options{Logs: []Logs{{Paths: []string{file}, Engine: "vllm"}}})
		l.started = time.Now()
		l.step(0)
		write(t, file, os.O_APPEND, c[1])
		got := l.step(0)
		for range 3 { // a megabyte is read at a time
			got += l.step(0)
		}
		if got != "vllm GET /real" {
			t.Errorf("%s: told of %q", name, got)
		}
	}
}

func TestMoreOfTheSameIsToldTogether(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a.log")
	write(t, name, 0, "")
	l := reader(t, Options{Logs: []Logs{{Paths: []string{name}, Engine: "vllm"}}})
	l.step(0)
	write(t, name, os.O_APPEND, strings.Repeat(line("/a"), 30)+line("/b"))
	got := []string{l.step(0), l.step(foldFor + time.Second), l.step(time.Second)}
	if got[0] != "vllm GET /a; vllm GET /b" || got[1] != "vllm GET /a x29" || got[2] != "" {
		t.Errorf("%q", got)
	}
	var many strings.Builder
	for i := range maxSecond + 70 {
		many.WriteString(line(fmt.Sprint("/", i)))
	}
	write(t, name, os.O_APPEND, many.String())
	if n := strings.Count(l.step(0), "GET"); n != maxOne {
		t.Errorf("%d requests were told of in a second, want %d", n, maxOne)
	}
	if got, want := l.step(foldFor+time.Second), fmt.Sprintf("vllm GET /%d x%d", maxSecond+69, maxSecond+70-maxOne); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if s, _ := l.Total(); s.Dropped != 0 || s.Lines != 31+maxSecond+70 || s.Requests != s.Lines {
		t.Errorf("%+v", s)
	}
}

// Who floods a server hides nobody: of each the first requests of a second are told, and the rest counts.
func TestAFloodHidesNobody(t *testing.T) {
	var f fold[alike, event.Request]
	now := time.Unix(1000, 0)
	told := map[string]int{}
	tell := func(_ time.Time, r event.Request, n uint32) { told[r.Principal] += int(n) }
	ask := func(principal string, i int) {
		t.Helper()
		r := event.Request{Principal: principal, Method: "GET", Path: fmt.Sprint("/", i)}
		if !f.take(now, alikeOf(&r), false, r, tell) {
			t.Fatalf("request %d of %s is told of in no way", i, principal)
		}
	}
	const each = 1000
	for i := range each {
		for _, p := range []string{"a", "b", "c", "d"} {
			ask(p, i)
		}
	}
	if told["a"] != maxOne || told["d"] != maxOne {
		t.Errorf("told of %v, want %d of each", told, maxOne)
	}
	for i := range 3 {
		ask("quiet", i)
	}
	if told["quiet"] != 3 {
		t.Errorf("of who asked three times %d are told", told["quiet"])
	}
	f.flush(now.Add(time.Hour), tell)
	for _, p := range []string{"a", "b", "c", "d"} {
		if told[p] != each {
			t.Errorf("%s: %d counted, want %d", p, told[p], each)
		}
	}
}

// What was counted when the reader ends is told of: a rule about how many goes by it.
func TestWhatIsCountedIsToldAtTheEnd(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.log")
	write(t, name, 0, "")
	l := reader(t, Options{Logs: []Logs{{Paths: []string{name}, Engine: "vllm"}}})
	l.step(0)
	write(t, name, os.O_APPEND, strings.Repeat(line("/a"), 30))
	l.step(0)
	l.close()
	if got := l.told; !slices.Equal(got, []string{"vllm GET /a x29"}) {
		t.Errorf("%q", got)
	}
}

func TestWhatIsNoRegularFileIsNotRead(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "real"), 0, "")
	if err := os.Symlink("real", filepath.Join(dir, "link.log")); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfifo", filepath.Join(dir, "pipe.log")).CombinedOutput(); err != nil {
		t.Fatalf("mkfifo: %v: %s", err, out)
	}
	l := reader(t, Options{Logs: []Logs{{Paths: []string{filepath.Join(dir, "*.log"), "/dev/null", dir}}}})
	l.step(0)
	if n := len(l.sources); n != 0 {
		t.Errorf("%d were opened", n)
	}
}

// A server whose output was sent to a file is found by its process, also where the file lost its name.
func TestALogIsFoundByItsProcess(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "out")
	l := reader(t, Options{})
	cmd := exec.Command("sh", "-c", "exec >"+name+` 3>`+filepath.Join(dir, "x.log")+` 4<`+"/etc/hosts"+`; echo ready; while read a; do echo "$a"; done`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // its input ended, and so does it
	})
	p := &event.Process{PID: uint32(cmd.Process.Pid), StartBoot: 1}
	p.Workload = &event.Workload{ID: "w", Engine: "ollama", Root: p.Key()}
	l.opts.Processes = func() []*event.Process { return []*event.Process{p} }
	for range 100 {
		l.step(0)
		if s := l.sources; len(s) == 2 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if len(l.sources) != 2 {
		t.Skipf("the file system of %s is none that logs are read of", dir)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("[GIN] 2026/01/02 - 15:04:05 | 200 | 1ms | 10.0.0.5 | GET \"/api/tags\"\n")); err != nil {
		t.Fatal(err)
	}
	got := ""
	for range 100 {
		if got += l.step(0); got != "" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if got != "ollama GET /api/tags" {
		t.Errorf("told of %q", got)
	}

	again := *p // the service began anew, and writes to the same file
	again.StartBoot = 2
	p = &again
	l.step(time.Second)
	for _, s := range l.sources {
		if s.process.StartBoot != 2 {
			t.Errorf("%s is still that of the process which ended", s.Name)
		}
	}
}

func TestALogThatComesBackIsReadFromWhereItWasLeft(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a.log")
	l := reader(t, Options{Logs: []Logs{{Paths: []string{name}}}})
	l.started = l.started.Add(-time.Hour) // the log is made while it runs
	write(t, name, 0, line("/a"))
	if got := l.step(0); got != " GET /a" {
		t.Fatalf("told of %q", got)
	}
	if err := os.Rename(name, name+".away"); err != nil {
		t.Fatal(err)
	}
	l.step(2 * forget)
	write(t, name+".away", os.O_APPEND, line("/b"))
	if err := os.Rename(name+".away", name); err != nil {
		t.Fatal(err)
	}
	if got := l.step(time.Second); got != " GET /b" {
		t.Errorf("told of %q", got)
	}
	for i := range 2 * maxKept {
		l.keep(fileID{ino: uint64(i)}, &source{})
	}
	if len(l.kept) > maxKept {
		t.Errorf("%d are kept", len(l.kept))
	}
}

func TestEqualRequestsWithTokensAreTwoEvents(t *testing.T) {
	ids := map[string]bool{}
	s := &source{}
	one := []byte(`{"method":"POST","path":"/v1/x","status":200,"remote_addr":"10.0.0.5","prompt_tokens":5}`)
	for range 3 {
		s.line(time.Unix(1e9, 0), one, func(e *event.Event) { ids[e.ID()] = true })
	}
	if len(ids) != 3 {
		t.Errorf("%d events of 3 requests", len(ids))
	}
}

func TestOneWorkloadCannotTakeThePlacesOfAll(t *testing.T) {
	dir := t.TempDir()
	l := reader(t, Options{})
	p := &event.Process{PID: 1, Workload: &event.Workload{ID: "w"}}
	for i := range maxLogsOfOne + 3 {
		name := filepath.Join(dir, fmt.Sprint(i))
		write(t, name, 0, "")
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		l.follow(f, p, "vllm", false, l.now)
	}
	if len(l.sources) != maxLogsOfOne || l.tooMany != 3 {
		t.Errorf("%d are read, %d are not", len(l.sources), l.tooMany)
	}
}

func TestPlacesWhereAReadMayWaitAreTold(t *testing.T) {
	table := filepath.Join(t.TempDir(), "mountinfo")
	write(t, table, 0, "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n22 21 0:40 / /f rw,relatime shared:3 - fuse.sshfs x rw\n23 21 0:41 / /n rw - nfs4 a:/ rw\n")
	for mount, want := range map[string]bool{"21": true, "22": false, "23": false, "24": false, "": false} {
		if got := local(mount, table); got != want {
			t.Errorf("mount %s: %v", mount, got)
		}
	}
	if got := containerLogs("../../../etc/passwd"); got != nil {
		t.Errorf("%v", got)
	}
}
