package lab

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCurlKnowsTheWaysInAndOut(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want transfer
	}{
		"put":    {[]string{"-s", "-T", "/a", "http://h/u"}, transfer{method: "PUT", url: "http://h/u", upload: "/a"}},
		"post":   {[]string{"-sf", "--data-binary", "@/a", "h/u"}, transfer{method: "POST", url: "http://h/u", upload: "/a", fail: true}},
		"text":   {[]string{"-d", "x=1", "-H", "A: b", "http://h"}, transfer{method: "POST", url: "http://h", text: "x=1"}},
		"get":    {[]string{"-sSL", "-o", "/b", "http://h"}, transfer{method: "GET", url: "http://h", output: "/b"}},
		"method": {[]string{"-X", "PATCH", "http://h"}, transfer{method: "PATCH", url: "http://h"}},
	} {
		got, err := parseCurl(c.args)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(c.want, got, cmp.AllowUnexported(transfer{})); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if _, err := parseCurl([]string{"-s", "-T"}); err == nil {
		t.Error("no address, no error")
	}
}
