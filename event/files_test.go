package event

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestWaysToAFile says each kind in words, and reads its record back.
func TestWaysToAFile(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		file File
		want string
	}{
		{FileLink, File{Path: "/tmp/x", Old: "/etc/shadow", Mode: modeLink}, "p[7] linked /tmp/x to /etc/shadow"},
		{FileMkdir, File{Path: "/d"}, "p[7] made the directory /d"},
		{FileTruncate, File{Path: "/f", Size: 9}, "p[7] cut /f to 9 bytes"},
		{FileChown, File{Path: "/f", FileChange: FileChange{Owner: 0, Group: 5}}, "p[7] changed the owner of /f to 0:5"},
		{FileChown, File{Path: "/f", FileChange: FileChange{Owner: NoOwner, Group: 5}}, "p[7] changed the owner of /f to :5"},
		{FileAttr, File{Path: "/f", FileChange: FileChange{Attribute: "security.capability"}}, "p[7] set the attribute security.capability of /f"},
		{FileAttr, File{Path: "/f", FileChange: FileChange{Attribute: "user.a", Removed: true}}, "p[7] removed the attribute user.a of /f"},
		{FileMap, File{Path: "/f.so", FileChange: FileChange{Access: AccessRead | AccessExec}}, "p[7] mapped /f.so r-x"},
		{FileIO, File{Path: "/f", FileChange: FileChange{BytesRead: 3, BytesWritten: 4}}, "p[7] has read 3 and written 4 bytes of /f"},
	} {
		e := &Event{Kind: c.kind, Time: time.Unix(1, 0).UTC(), Process: &Process{PID: 7, Comm: "p"}, File: c.file}
		if got := e.Describe(); got != c.want {
			t.Errorf("%s: %q, want %q", c.kind, got, c.want)
		}
		back, err := ParseRecord(e.AppendRecord(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.file, back.File); diff != "" || back.Kind != c.kind || back.ID() != e.ID() {
			t.Errorf("%s: %s", c.kind, diff)
		}
	}
}

func TestFieldsOfChanges(t *testing.T) {
	value := func(e *Event, name string) string {
		f, ok := Lookup(name)
		if !ok {
			t.Fatalf("no field %s", name)
		}
		return e.Value(f.Field).String()
	}
	for _, c := range []struct {
		e          Event
		name, want string
	}{
		{Event{Kind: FileLink}, "file.link", "hard"},
		{Event{Kind: FileLink, File: File{Mode: modeLink}}, "file.link", "symbolic"},
		{Event{Kind: FileWrite}, "file.link", ""},
		{Event{Kind: FileChown}, "file.owner", "0"},
		{Event{Kind: FileChown, File: File{FileChange: FileChange{Owner: NoOwner}}}, "file.owner", ""},
		{Event{Kind: FileChmod}, "file.group", ""},
		{Event{Kind: FileAttr}, "file.attribute_removed", "false"},
		{Event{Kind: FileWrite}, "file.attribute_removed", ""},
		{Event{Kind: FileMap, File: File{Path: "/x.so"}}, "ImageLoaded", "/x.so"},
		{Event{Kind: FileRead, File: File{Path: "/x.so"}}, "ImageLoaded", ""},
	} {
		if got := value(&c.e, c.name); got != c.want {
			t.Errorf("%s of %s: %q, want %q", c.name, c.e.Kind, got, c.want)
		}
	}
}
