package event

import (
	"cmp"
	"fmt"
)

// Policy is the object of a PolicyViolation: what forbids the act, and what became of it. What was
// acted on stands in Net (egress) or File (the others).
type Policy struct {
	Name   string // the policy's
	Rule   string // the part of it that forbids: RuleExec, RuleEgress…
	Action string // ActionDenied, ActionKilled or ActionSeen
	Rung   string // the kernel's hook that stopped or saw it: cgroup/connect4, sched_process_exec…
}

// The parts of a policy that an act can be against.
const (
	RuleExec    = "exec"
	RuleEgress  = "egress"
	RuleDevice  = "device"
	RuleSysctl  = "sysctl"
	RuleModels  = "models"
	RulePrivate = "private" // models that are another workload's
	RuleSignal  = "signal"  // to Picket itself: the configuration forbids it
)

// What became of an act against a policy. A denied one got an error; a program that was killed ran
// no instruction; one that was seen went on.
const (
	ActionDenied = "denied"
	ActionKilled = "killed"
	ActionSeen   = "seen"
)

// Breach says what the process did or tried, and what became of it.
func (e *Event) Breach() string {
	p := e.Policy
	if p == nil {
		p = &Policy{}
	}
	act, what := "did what the policy forbids", e.File.Path
	switch p.Rule {
	case RuleExec:
		act = "ran"
	case RuleEgress:
		act, what = "sent to", e.Net.Remote.String()
	case RuleDevice, RulePrivate:
		act = "opened"
	case RuleSysctl:
		act = "wrote"
	case RuleModels:
		act = "changed"
		if a := e.Artifact; a != nil { // no change, but one that must be signed
			act, what = "loaded", what+", which is "+cmp.Or(a.Signature, "of no known signature")
			if a.Signature == Signed {
				what += " by " + a.Signer
			}
			if a.Refusal != "" {
				what += ": " + a.Refusal
			}
		}
	case RuleSignal:
		act = "sent"
		if c := e.Call; c != nil && c.Target != nil {
			what = fmt.Sprintf("%s to %s[%d]", c.Request, c.Target.Comm, c.Target.PID)
		}
	}
	by := " (policy " + p.Name + ", " + p.Rung + ")"
	switch p.Action {
	case ActionKilled:
		return "was killed before its first instruction, as it " + act + " " + what + by
	case ActionDenied:
		return "was denied: it would have " + participle(p.Rule, act) + " " + what + e.times() + by
	}
	return act + " " + what + e.times() + ", which was only seen" + by
}

func participle(rule, act string) string {
	if act == "loaded" {
		return act
	}
	switch rule {
	case RuleExec:
		return "run"
	case RuleEgress:
		return "sent to"
	case RuleDevice, RulePrivate:
		return "opened"
	case RuleSysctl:
		return "written"
	case RuleModels:
		return "changed"
	case RuleSignal:
		return "sent"
	}
	return "acted on"
}
