// Package cacao reads, checks, signs and writes security playbooks in CACAO 2.0, and evaluates what
// they ask: conditions in the STIX patterning language, and variables put safely into commands. It
// knows no Picket, does no I/O and has no clock: who uses it passes times in.
//
// [Parse] reads a playbook and refuses what is none; [Playbook.Validate] says what is wrong with it.
// What the types have no field for is kept and written again.
//
// # What we chose where the standard is open
//
//   - A step that fails goes to on_failure; where it has none, to workflow_exception; where there is
//     none, the run fails. on_completion is not followed after a failure.
//   - A condition that is no expression is a question for a person ([Ask]), never false. A variable
//     without a value is an error, which is a failure of the step.
//   - The text of a shell command never receives values: they come through the environment ([ForShell]).
package cacao
