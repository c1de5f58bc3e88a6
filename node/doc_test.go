package node

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the generated parts of the documentation")

// The reference in docs/configuration.md is what `picket config default` prints:
// go test ./node -run Reference -update writes it.
func TestTheReferenceIsWhatTheProgramReads(t *testing.T) {
	const file, open, end = "../docs/configuration.md", "## Every key\n\n```yaml\n", "```\n"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(b), open)
	_, tail, _ := strings.Cut(rest, end)
	var keys strings.Builder
	if err := WriteDefault(&keys); err != nil {
		t.Fatal(err)
	}
	want := strings.TrimRight(head, "\n") + "\n\n" + open + keys.String() + end + tail
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want, string(b)); d != "" {
		t.Errorf("%s is not what the program reads; run go test ./node -run Reference -update\n%s", file, d)
	}
}
