package respond

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTags(t *testing.T) {
	inc := sample() // workload llama-70b, address 203.0.113.9
	assets := []Asset{
		{Entities: []string{"workload:llama-*"}, Tags: []string{"prod", "crown-jewel"}},
		{Entities: []string{"address:203.0.113.*", "host:nobody"}, Tags: []string{"watched", "prod"}},
		{Entities: []string{"workload:qwen-*"}, Tags: []string{"lab"}},
	}
	if n, err := CheckAssets(assets); err != nil {
		t.Fatal(n, err)
	}
	if d := cmp.Diff([]string{"crown-jewel", "prod", "watched"}, TagsOf(assets, &inc)); d != "" {
		t.Error(d)
	}
	r := newRig(t, book(t, "http://192.0.2.1", nil, openc2("deny", "container", "")), func(o *Options) {
		o.Config = Config{Assets: assets, Rules: []Rule{
			{Name: "jewels", Playbook: "test", Mode: Approve, Tags: []string{"crown-jewel", "other"}},
			{Name: "labs", Playbook: "test", Mode: Approve, Tags: []string{"lab"}},
		}}
	})
	if err := r.Respond(ctx, inc, nil); err != nil {
		t.Fatal(err)
	}
	list, err := r.Runs(ctx, Query{})
	if err != nil || len(list) != 1 || list[0].By != "policy:jewels" {
		t.Fatalf("%+v %v", list, err)
	}
	if d := cmp.Diff([]string{"crown-jewel", "prod", "watched"}, list[0].Plan.Tags); d != "" {
		t.Error(d)
	}
	for name, a := range map[string]Asset{
		"entities are missing": {Tags: []string{"x"}},
		"want from 1 to 16":    {Entities: []string{"host:h"}},
		"want small letters":   {Entities: []string{"host:h"}, Tags: []string{"Crown Jewel"}},
		"want kind:name":       {Entities: []string{"llama"}, Tags: []string{"x"}},
	} {
		if err := a.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
