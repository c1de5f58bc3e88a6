package rig

import (
	"errors"
	"os"
	"path/filepath"
)

const canary = `title: Canary
id: 6c0f6f3e-8f0b-4b43-9a6d-3f1c5e1f7a01
name: canary
status: test
description: A program of the benchmark.
author: Picket
logsource: {product: linux, category: process_creation}
detection:
    selection: {CommandLine|contains: 'canary-'}
    condition: selection
level: medium
`

// Canary writes a threat of one rule, canary, about programs with canary- in their command line, and
// returns the directory to name in detect.threats.
func Canary(dir string) (threats string, err error) {
	threats = filepath.Join(dir, "threats")
	of := filepath.Join(threats, "canary")
	return threats, errors.Join(os.MkdirAll(of, 0o755), //nolint:gosec // rules are no secret, and the server's user reads them
		os.WriteFile(filepath.Join(of, "canary.yml"), []byte(canary), 0o644),
		os.WriteFile(filepath.Join(of, "README.md"), []byte("# Canary\n\nPrograms of the benchmark.\n"), 0o644))
}
