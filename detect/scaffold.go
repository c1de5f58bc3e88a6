package detect

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var threatName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// Scaffold returns the files of a new threat's folder, by name: a README with the headings, a rule
// with the id given, an event that it hits and one that it misses, and an attack. They are in
// order as they stand, so that each change can be tried at once: the rule sees a file that the
// attack makes. date is today's, as 2026-01-31.
func Scaffold(name, id, date string) (map[string]string, error) {
	if !threatName.MatchString(name) || len(name) > 60 {
		return nil, errors.New("a threat's name is lower-case words with dashes between them, such as steal-weights")
	}
	if !uuidText.MatchString(id) {
		return nil, fmt.Errorf("%q is no UUID", id)
	}
	rule := strings.ReplaceAll(name, "-", "_") + "_example"
	fill := strings.NewReplacer("{threat}", name, "{rule}", rule, "{id}", id, "{date}", date)
	return map[string]string{
		"README.md":      fill.Replace(scaffoldReadme),
		rule + ".yml":    fill.Replace(scaffoldRule),
		rule + ".events": fill.Replace(scaffoldEvents),
		"attack.yml":     fill.Replace(scaffoldAttack),
	}, nil
}

var uuidText = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

const scaffoldReadme = `# {threat}: say here in a line what goes wrong

Say in two sentences what the attacker gains and whom it hurts.

## What the attacker does

1. One step a line, with its technique (ATT&CK T1105; ATLAS AML.T0025).

## How it shows

| rule | level | what it sees |
|---|---|---|
| ` + "`{rule}`" + ` | medium | an example: a file of a certain name is made |

## What to do

Say what the person who is woken does first.

## Known gaps

- Say what stays dark. A rule without samples, or a threat without an attack, must be named here.
`

const scaffoldRule = `title: Example Of {threat}
id: {id}
name: {rule}
status: experimental
description: |
    An example to start from: a file called {threat}.example is made. Say here what the rule sees and
    why that is bad.
references:
    - https://attack.mitre.org/techniques/T1105/
author: ''
date: {date}
tags:
    - attack.command-and-control
    - attack.t1105
logsource:
    product: linux
    category: file_event
detection:
    selection:
        TargetFilename|endswith: /{threat}.example
    condition: selection
falsepositives:
    - Say what harmless things fire it
level: medium
`

const scaffoldEvents = `# hit: the file is made
{"event.kind":"file.create","process.exe":"/bin/sh","file.path":"/tmp/{threat}.example"}
# miss: another file is made
{"event.kind":"file.create","process.exe":"/bin/sh","file.path":"/tmp/{threat}.other"}
`

const scaffoldAttack = `id: {threat}.example
title: A command below the inference server makes a file
atlas: []
attack: {version: "19", techniques: [T1105]}
tier: alert
needs: {root: true, features: [exec]}
sandbox: {image: inference}
seeded: [dir]
steps:
  - id: make
    title: make the file
    run: 'echo x > ${dir}/{threat}.example'
verify:
  - {exists: '${dir}/{threat}.example'}
expect:
  findings:
    - {rule: {rule}, max_seconds: 10}
cleanup:
  - {id: tidy, run: 'rm -f ${dir}/{threat}.example'}
`
