// Testlist sums up a test run: failures with their output, skips with their reasons, and one last
// line of numbers. It reads a folder with go.json (go test -json), vitest.json and shell.list
// (lines of pass|fail|skip, name, reason), and exits 1 where anything failed.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

// tally is what a run came to.
type tally struct {
	passed  int
	failed  []string // name and output
	skipped []string // name: reason
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: testlist FOLDER")
		os.Exit(2)
	}
	var t tally
	dir := os.DirFS(os.Args[1])
	for name, read := range map[string]func(fs.File, *tally) error{"go.json": goTests, "vitest.json": vitest, "shell.list": shell} {
		f, err := dir.Open(name)
		if err != nil {
			continue // that kind of test did not run; whoever should have run it says so
		}
		if err := read(f, &t); err != nil {
			t.failed = append(t.failed, name+": "+err.Error())
		}
		_ = f.Close() // it was only read
	}
	sort.Strings(t.skipped)
	sort.Strings(t.failed)
	for _, s := range t.skipped {
		fmt.Println("SKIP", s)
	}
	for _, s := range t.failed {
		fmt.Println("FAIL", s)
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", t.passed, len(t.failed), len(t.skipped))
	if len(t.failed) > 0 || t.passed == 0 {
		os.Exit(1)
	}
}

var place = regexp.MustCompile(`^\s*\S+\.go:\d+: `)

// goTests reads the events of go test -json. A test that others run below counts as they do.
func goTests(f fs.File, t *tally) error {
	type event struct{ Action, Package, Test, Output, ImportPath string }
	output := map[string][]string{}
	ended := map[string]string{}
	parents := map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output", "build-output":
			if e.Package == "" {
				key = e.ImportPath + " "
			}
			output[key] = append(output[key], e.Output)
		case "pass", "fail", "skip", "build-fail":
			if e.Action == "build-fail" {
				key = e.ImportPath + " "
			}
			ended[key] = e.Action
			for p := e.Test; strings.Contains(p, "/"); {
				p = p[:strings.LastIndex(p, "/")]
				parents[e.Package+" "+p] = true
			}
		}
	}
	failedIn := map[string]bool{}
	for key, how := range ended {
		if pkg, test, _ := strings.Cut(key, " "); how == "fail" && test != "" {
			failedIn[pkg] = true
		}
	}
	for key, how := range ended {
		pkg, test, _ := strings.Cut(key, " ")
		text := strings.TrimSpace(strings.Join(output[key], ""))
		switch {
		case test == "" && (how == "pass" || how == "skip"), test == "" && failedIn[pkg]: // the package as a whole
		case parents[key] && how == "pass": // its parts were counted
		case how == "pass":
			t.passed++
		case how == "skip":
			t.skipped = append(t.skipped, key+": "+reason(output[key]))
		default:
			t.failed = append(t.failed, strings.TrimSpace(key)+"\n"+text)
		}
	}
	if len(ended) == 0 {
		return errors.New("no Go test ran")
	}
	return lines.Err()
}

// reason finds what a test said before it was skipped.
func reason(output []string) string {
	for _, line := range output {
		if place.MatchString(line) {
			return strings.TrimSpace(place.ReplaceAllString(line, ""))
		}
	}
	return "no reason given"
}

func vitest(f fs.File, t *tally) error {
	var r struct {
		TestResults []struct {
			Name             string
			AssertionResults []struct {
				FullName        string
				Status          string
				FailureMessages []string
			}
		}
	}
	if err := json.NewDecoder(f).Decode(&r); err != nil {
		return err
	}
	for _, file := range r.TestResults {
		for _, a := range file.AssertionResults {
			name := "ui/" + filepath.Base(file.Name) + " " + a.FullName
			switch a.Status {
			case "passed":
				t.passed++
			case "failed":
				t.failed = append(t.failed, name+"\n"+strings.Join(a.FailureMessages, "\n"))
			default:
				t.skipped = append(t.skipped, name+": "+a.Status+" in the test file")
			}
		}
	}
	return nil
}

func shell(f fs.File, t *tally) error {
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		how, rest, _ := strings.Cut(lines.Text(), " ")
		switch how {
		case "pass":
			t.passed++
		case "fail":
			t.failed = append(t.failed, rest)
		case "skip":
			name, why, _ := strings.Cut(rest, " ")
			t.skipped = append(t.skipped, name+": "+why)
		}
	}
	return lines.Err()
}
