package event

import (
	"maps"
	"strings"
	"testing"
)

func TestForeignFieldsArePartOfTheEvent(t *testing.T) {
	a := &Event{Host: "h", Extra: map[string]string{"zone": "create", "objectRef.uid": "x\"y", "_stream": "{}", "class": "no", "process.lineage": "no"}}
	record := string(a.AppendRecord(nil))
	if !strings.HasSuffix(record, `,"objectRef.uid":"x\"y","zone":"create"}`) || strings.Contains(record, "_stream") || strings.Contains(record, `"no"`) {
		t.Errorf("got %s", record)
	}
	back, err := ParseRecord([]byte(record))
	if err != nil {
		t.Fatal(err)
	}
	if back.ID() != a.ID() {
		t.Errorf("%s has another id when it is read again", record)
	}
	b := *a
	b.Extra = maps.Clone(a.Extra)
	b.Extra["zone"] = "delete"
	if b.ID() == a.ID() {
		t.Error("two events that differ in a foreign field have one id")
	}
	b.Extra["zone"], b.Extra["_stream"] = "create", "{host}"
	if b.ID() != a.ID() {
		t.Error("what the store adds changes the id")
	}
}
