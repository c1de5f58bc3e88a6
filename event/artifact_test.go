package event

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAModelFileIsToldOf(t *testing.T) {
	e := &Event{
		Kind: ModelSeen, Process: &Process{PID: 7, Exe: "/usr/bin/python3"},
		File:     File{Path: "/models/a/x.pt", Model: &Model{Path: "/models/a", Name: "a"}},
		Artifact: &Artifact{Use: UseRead, Digest: "00ff", Verdict: "malicious", Issue: `Loading it calls os.system("id").`, Signature: Invalid, Refusal: "x.pt was not signed"},
	}
	if d := cmp.Diff(`python3[7] read /models/a/x.pt: malicious, invalid (Loading it calls os.system("id").)`, e.Describe()); d != "" {
		t.Error(d)
	}
	back, err := ParseRecord(e.AppendRecord(nil))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(e.Artifact, back.Artifact); d != "" {
		t.Error(d)
	}
	if e.Kind.Class() != "model" || back.ID() == (&Event{Kind: ModelSeen, Process: e.Process, File: e.File}).ID() {
		t.Error("the class, or the identity, does not mind what the file is")
	}
	e.Kind, e.Policy = PolicyViolation, &Policy{Name: "signed-only", Rule: RuleModels, Action: ActionSeen, Rung: "model.seen"}
	e.Artifact.Signature = Unsigned
	if d := cmp.Diff("python3[7] loaded /models/a/x.pt, which is unsigned: x.pt was not signed, which was only seen (policy signed-only, model.seen)", e.Describe()); d != "" {
		t.Error(d)
	}
}
