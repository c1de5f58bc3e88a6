package node_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"picket/api/client"
)

// hostile is what an attacker may put into an argument or a file name.
var hostile = map[string]string{
	"long":     strings.Repeat("A", 20<<10),
	"lines":    "one\ntwo\r\nlevel=ERROR msg=forged",
	"terminal": "\x1b[2J\x1b]0;owned\x07\x1b[31mred",
	"bytes":    "\xff\xfe\xc3(\x80",
	"html":     `<script>alert(1)</script>"'&<img src=x onerror=alert(2)>`,
	"bidi":     "gpj.\u202Eexe\u2066\u200b",
	"json":     `","severity":"low","x":"\`,
	"query":    `" | delete * ${who} %s`,
}

// Text that an attacker chose reaches every way out whole or visibly cut, and steers none of them.
func TestHostileText(t *testing.T) {
	p := newProgram(t)
	p.start()
	for name, text := range hostile {
		cmd := exec.Command("/bin/true", mark+name+".", text)
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		if len(text) > 200 {
			text = text[:200]
		}
		file := filepath.Join(p.dir, "models/m", strings.ReplaceAll(text, "/", "_")+".safetensors")
		if err := os.WriteFile(file, []byte("weights"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := exec.Command("cat", file).Run(); err != nil {
			t.Fatal(err)
		}
		if err := exec.Command("/bin/sh", "-c", "exec cat \"$0\" # "+mark+"file", file).Run(); err != nil {
			t.Fatal(err)
		}
	}
	ocsf := filepath.Join(p.cfg.Data, "server/findings.ocsf.jsonl")
	p.until(20*time.Second, "a finding of each text", func() bool {
		all, err := p.findings("canary")
		b, _ := os.ReadFile(ocsf) // not there yet is not written yet
		missing := err != nil
		for name := range hostile {
			missing = missing || !bytes.Contains(b, []byte(mark+name+"."))
		}
		return !missing && len(all) >= 2*len(hostile)
	})
	p.until(20*time.Second, "the events are stored", func() bool {
		list, err := p.client.Events(t.Context(), client.EventFilter{Query: `event.kind:="process.start" process.cmdline:"` + mark + `"`, Start: "10m", Limit: 1000})
		return err == nil && len(list.Items) >= 2*len(hostile)
	})
	t.Run("API", func(t *testing.T) { hostileAPI(t, p) })
	t.Run("OCSF", func(t *testing.T) {
		b, err := os.ReadFile(ocsf)
		if err != nil {
			t.Fatal(err)
		}
		records(t, "OCSF", b, 2*len(hostile))
	})
	t.Run("CLI", func(t *testing.T) { hostileCLI(t, p) })
	t.Run("log", func(t *testing.T) {
		plain(t, "the log", string(p.log()))
		if strings.Contains(string(p.log()), "\nlevel=ERROR msg=forged") {
			t.Error("a line of the log is forged")
		}
	})
	if err, _ := p.stop(syscall.SIGINT); err != nil {
		t.Error(err)
	}
}

func hostileAPI(t *testing.T, p *program) {
	all, err := p.findings("canary")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range all {
		line := f.Processes[0].Cmdline
		if !utf8.ValidString(line) || !utf8.ValidString(f.Summary) {
			t.Errorf("not UTF-8: %q", line)
		}
		for name := range hostile {
			if strings.Contains(line, mark+name+".") {
				got[name] = line
			}
		}
	}
	files, err := p.findings("weights_read_by_stranger")
	if err != nil || len(files) < len(hostile) {
		t.Errorf("%d findings of the files' names, want %d at least: %v", len(files), len(hostile), err)
	}
	for _, f := range files {
		if !utf8.ValidString(f.Summary) || strings.ContainsAny(f.Summary, "\x1b\n\r\a") {
			t.Errorf("a summary holds control characters: %q", f.Summary)
		}
	}
	for name, text := range hostile {
		line, ok := got[name]
		switch {
		case !ok:
			t.Errorf("no finding of %s", name)
		case name == "bytes":
			if !strings.ContainsAny(line, "\ufffd\\") {
				t.Errorf("%s: invalid bytes do not show: %q", name, line)
			}
		case strings.Contains(line, text):
		case !strings.Contains(line, "…") && !strings.Contains(line, "...") && !strings.Contains(line, `\`):
			t.Errorf("%s is neither whole nor visibly cut: %d bytes, %.80q … %.40q", name, len(line), line, line[max(0, len(line)-40):])
		}
	}
	list, err := p.client.Events(t.Context(), client.EventFilter{Query: "*", Start: "10m", Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range list.Items {
		if !json.Valid(row) || !utf8.Valid(row) {
			t.Errorf("no JSON: %.200q", row)
		}
	}
}

func hostileCLI(t *testing.T, p *program) {
	findings, err := p.findings("canary")
	if err != nil || len(findings) == 0 {
		t.Fatal(err)
	}
	commands := [][]string{{"findings"}, {"incidents"}, {"hunt", "*", "--limit", "300"}, {"events"}}
	for _, f := range findings {
		commands = append(commands, []string{"findings", "show", f.ID})
	}
	for _, args := range commands {
		plain(t, "picket "+strings.Join(args, " "), p.picket(args...))
	}
	records(t, "picket hunt", []byte(p.picket("hunt", "*", "--limit", "300", "--output", "json")), len(hostile))
	if out := p.picket("findings", "list", "--output", "json"); !json.Valid([]byte(out)) {
		t.Errorf("picket findings --output json is no JSON: %.300q", out)
	}
}

// plain fails where text holds what steers a terminal.
func plain(t *testing.T, what, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s is not UTF-8", what)
	}
	for i, r := range text {
		if r != '\n' && !unicode.IsPrint(r) && r != utf8.RuneError {
			t.Errorf("%s holds %q: …%q…", what, r, text[max(0, i-60):min(len(text), i+40)])
			return
		}
	}
}

// records fails where a line is no JSON object of its own.
func records(t *testing.T, what string, b []byte, least int) {
	t.Helper()
	lines := textLines(b)
	if len(lines) < least {
		t.Errorf("%s: %d lines, want %d at least", what, len(lines), least)
	}
	for _, line := range lines {
		var o map[string]any
		if err := json.Unmarshal(line, &o); err != nil || !utf8.Valid(line) {
			t.Errorf("%s: no record: %v: %.200q", what, err, line)
		}
	}
}
