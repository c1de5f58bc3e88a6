package artifact

import (
	"bytes"
	"testing"
)

// scanBytes scans b under a name.
func scanBytes(name string, b []byte, o Options) Report {
	return Scan(name, bytes.NewReader(b), o)
}

func TestUnknownBytesAreUnsupported(t *testing.T) {
	r := scanBytes("x.txt", []byte("hello, this is a text\n"), Options{})
	if r.Verdict != Unsupported || len(r.Issues) != 1 {
		t.Errorf("got %v %v", r.Verdict, r.Issues)
	}
}
