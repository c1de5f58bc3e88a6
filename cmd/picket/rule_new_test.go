package main

import (
	"testing"

	"picket/detect"
	"picket/lab"
)

func TestAnAttackThatIsMadeCanBePlayed(t *testing.T) {
	files, err := detect.Scaffold("steal-prompts", newUUID(), "2026-11-25")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Parse("attack.yml", []byte(files["attack.yml"])); err != nil {
		t.Error(err)
	}
	if a, b := newUUID(), newUUID(); a == b {
		t.Errorf("two rules would have the id %s", a)
	}
}
