package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

var errNoPython = errors.New("this attack runs Python, and this host has none: install it (Debian, Ubuntu: apt-get install python3)")

// sharedObject is the path of a library in what ldd prints.
var sharedObject = regexp.MustCompile(`/\S+`)

// lendPython returns mounts that bring the host's Python into a sandbox, to be read only: the interpreter, the
// libraries that it is linked with, and its standard library. interpreter is its path, here and there.
func lendPython(ctx context.Context) (interpreter string, mounts []ociMount, err error) {
	found, err := exec.LookPath("/usr/bin/python3")
	if err != nil {
		found, err = exec.LookPath("python3")
	}
	if err != nil {
		return "", nil, errNoPython
	}
	// What is found may be a script that chooses one of several.
	said, err := exec.CommandContext(ctx, found, "-I", "-c", "import os, sys, sysconfig; print(os.path.realpath(sys.executable)); print(sysconfig.get_path('stdlib'))").Output()
	if err != nil {
		return "", nil, fmt.Errorf("ask %s where it is: %w", found, err)
	}
	file, library, _ := strings.Cut(strings.TrimSpace(string(said)), "\n")
	linked, err := exec.CommandContext(ctx, "ldd", file).Output()
	if err != nil {
		return "", nil, fmt.Errorf("ask which libraries %s needs: %w", file, err)
	}
	for _, from := range append([]string{file, library}, sharedObject.FindAllString(string(linked), -1)...) {
		if _, err := os.Stat(from); err == nil {
			mounts = append(mounts, ociMount{Destination: from, Type: "bind", Source: from, Options: []string{"bind", "ro", "nosuid", "nodev"}})
		}
	}
	return file, mounts, nil
}

// nameInterpreter makes the name by which attacks call Python, in an image.
func nameInterpreter(image, interpreter string) error {
	if interpreter == "" || interpreter == pythonPath {
		return nil
	}
	return os.Symlink(interpreter, filepath.Join(image, pythonPath))
}

const pythonPath = "/usr/bin/python3"
