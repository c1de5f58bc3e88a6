package sigma_test

import (
	"errors"
	"strings"
	"testing"

	"picket/sigma"
)

func pipeline(t testing.TB, src string) *sigma.Pipeline {
	t.Helper()
	p, err := sigma.ParsePipeline("p.yml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// steps is a pipeline of transformations written in flow style, one a line.
func steps(lines ...string) string {
	return "name: test\ntransformations:\n  - " + strings.Join(lines, "\n  - ") + "\n"
}

func TestPipelines(t *testing.T) {
	type fields = map[string]any
	for _, c := range []struct {
		name, pipeline, detection string
		hits, misses              []fields
	}{
		{
			"one name", steps("{type: field_name_mapping, mapping: {Image: process.executable}}"),
			"s: {Image|endswith: /sh, User: root}\ncondition: s",
			[]fields{{"process.executable": "/bin/sh", "User": "root"}},
			[]fields{{"Image": "/bin/sh", "User": "root"}, {"process.executable": "/bin/sh"}},
		},
		{
			"several names are alternatives", steps("{type: field_name_mapping, mapping: {User: [a, b]}}"),
			"s: {User: root, Image: x}\ncondition: s",
			[]fields{{"a": "root", "Image": "x"}, {"b": "ROOT", "Image": "x"}},
			[]fields{{"User": "root", "Image": "x"}, {"a": "root"}},
		},
		{
			"none of the alternatives under not", steps("{type: field_name_mapping, mapping: {User: [a, b]}}"),
			"s: {Image: x}\nf: {User: root}\ncondition: s and not f",
			[]fields{{"Image": "x", "a": "you", "b": "me"}},
			[]fields{{"Image": "x", "a": "you", "b": "root"}},
		},
		{
			"the names that fields are compared with", steps("{type: field_name_mapping, mapping: {Image: a, ParentImage: b}}"),
			"s: {Image|fieldref: ParentImage}\ncondition: s",
			[]fields{{"a": "x", "b": "X"}},
			[]fields{{"Image": "x", "ParentImage": "x"}},
		},
		{
			"prefix", steps("{type: field_name_prefix, prefix: win.}"),
			"s: {User: root}\nk: [word]\ncondition: s or k",
			[]fields{{"win.User": "root"}, {"x": "a word"}},
			[]fields{{"User": "root"}},
		},
		{
			"suffix", steps("{type: field_name_suffix, suffix: .text}"),
			"s: {User: root}\ncondition: s",
			[]fields{{"User.text": "root"}},
			[]fields{{"User": "root"}},
		},
		{
			"prefix mapping", steps("{type: field_name_prefix_mapping, mapping: {Par: x.Par, P: y.P}}"),
			"s: {ParentImage: a, ProcessId: 1, User: u}\ncondition: s",
			[]fields{{"x.ParentImage": "a", "y.ProcessId": 1, "User": "u"}},
			[]fields{{"ParentImage": "a", "ProcessId": 1, "User": "u"}},
		},
		{
			"drop", steps("{type: drop_detection_item, field_name_conditions: [{type: include_fields, fields: [User]}]}"),
			"s: {Image: x, User: root}\ngone: {User: daemon}\ncondition: s and not gone",
			[]fields{{"Image": "x"}},
			[]fields{{"User": "root"}},
		},
		{
			"drop by text", steps("{type: drop_detection_item, detection_item_conditions: [{type: match_string, cond: any, pattern: '\\*bad'}]}"),
			"s:\n  - Image|contains: bad\n  - Image: bad\ncondition: s",
			[]fields{{"Image": "bad"}},
			[]fields{{"Image": "a bad one"}},
		},
		{
			"add", steps("{type: add_condition, conditions: {host|startswith: web, kind: [a, b]}}"),
			"s: {Image: x}\ncondition: s",
			[]fields{{"Image": "x", "host": "web1", "kind": "b"}},
			[]fields{{"Image": "x", "kind": "b"}, {"host": "web1", "kind": "a"}},
		},
		{
			"add the opposite", steps("{type: add_condition, negated: true, conditions: {host: lab}}"),
			"s: {Image: x}\ncondition: s",
			[]fields{{"Image": "x"}, {"Image": "x", "host": "prod"}},
			[]fields{{"Image": "x", "host": "Lab"}},
		},
		{
			"add from a template", steps("{type: add_condition, template: true, conditions: {index: 'logs-$category'}}"),
			"s: {Image: x}\ncondition: s",
			[]fields{{"Image": "x", "index": "logs-process_creation"}},
			[]fields{{"Image": "x", "index": "logs-$category"}},
		},
		{
			"replace", steps(`{type: replace_string, regex: '^/usr(/s?bin)', replacement: '\1'}`),
			"s: {Image: /usr/bin/sh}\ncondition: s",
			[]fields{{"Image": "/bin/sh"}},
			[]fields{{"Image": "/usr/bin/sh"}},
		},
		{
			"replace in some fields", steps(`{type: replace_string, regex: a, replacement: '\g<0>$', field_name_conditions: [{type: exclude_fields, mode: re, fields: ['Im.*e$']}]}`),
			"s: {Image: a, User: a}\ncondition: s",
			[]fields{{"Image": "a", "User": "a$"}},
			[]fields{{"Image": "a$", "User": "a$"}},
		},
		{
			"placeholders", "vars: {admins: [root, 'adm*'], other: x}\n" + steps("{type: value_placeholders, include: [admins]}"),
			"s: {User|expand: '%admins%'}\ncondition: s",
			[]fields{{"User": "root"}, {"User": "admin"}},
			[]fields{{"User": "%admins%"}, {"User": "x"}},
		},
		{
			"steps follow each other", steps("{type: field_name_mapping, mapping: {User: [a, b]}}", "{type: field_name_mapping, mapping: {b: c}}", "{type: field_name_prefix, prefix: x.}"),
			"s: {User: root}\ncondition: s",
			[]fields{{"x.a": "root"}, {"x.c": "root"}},
			[]fields{{"x.b": "root"}, {"a": "root"}},
		},
		{
			"not for rules of others", steps("{type: field_name_prefix, prefix: x., rule_conditions: [{type: logsource, category: file_event}]}",
				"{type: field_name_prefix, prefix: y., rule_cond_op: or, rule_conditions: [{type: tag, tag: attack.t1}, {type: rule_attribute, attribute: id, value: other}]}"),
			"s: {User: root}\ncondition: s",
			[]fields{{"User": "root"}},
			[]fields{{"x.User": "root"}, {"y.User": "root"}},
		},
		{
			"for rules that are not of others", steps("{type: field_name_prefix, prefix: x., rule_cond_not: true, rule_conditions: [{type: logsource, category: file_event}]}"),
			"s: {User: root}\ncondition: s",
			[]fields{{"x.User": "root"}},
			[]fields{{"User": "root"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			rules, err := parseRules("r.yml", []byte(rule(c.detection)))
			if err != nil {
				t.Fatal(err)
			}
			before := strings.Join(rules[0].Fields(), " ")
			changed, err := sigma.Apply(rules, pipeline(t, c.pipeline))
			if err != nil {
				t.Fatal(err)
			}
			if after := strings.Join(rules[0].Fields(), " "); after != before {
				t.Errorf("the original rule was changed: it reads %s", after)
			}
			e, err := sigma.Compile(changed, schema)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range c.hits {
				if len(hits(e, event(f))) == 0 {
					t.Errorf("does not fire on %v", f)
				}
			}
			for _, f := range c.misses {
				if len(hits(e, event(f))) > 0 {
					t.Errorf("fires on %v", f)
				}
			}
		})
	}
}

func TestPipelinesChangeTheLogsource(t *testing.T) {
	rules, err := parseRules("r.yml", []byte(rule("s: {a: b}\ncondition: s")))
	if err != nil {
		t.Fatal(err)
	}
	changed, err := sigma.Apply(rules, pipeline(t, steps("{type: change_logsource, product: linux, service: auditd}")))
	if err != nil {
		t.Fatal(err)
	}
	if want := (sigma.Logsource{Product: "linux", Service: "auditd"}); changed[0].Logsource != want {
		t.Errorf("got %+v", changed[0].Logsource)
	}
	if rules[0].Logsource.Category != "process_creation" {
		t.Errorf("the original is now %+v", rules[0].Logsource)
	}
}

func TestPipelinesGoByPriority(t *testing.T) {
	late := pipeline(t, "priority: 20\n"+steps("{type: field_name_suffix, suffix: .late}"))
	early := pipeline(t, "priority: 10\n"+steps("{type: field_name_suffix, suffix: .early}"))
	same := pipeline(t, "priority: 10\n"+steps("{type: field_name_suffix, suffix: .same}"))
	rules, err := parseRules("r.yml", []byte(rule("s: {a: b}\ncondition: s")))
	if err != nil {
		t.Fatal(err)
	}
	changed, err := sigma.Apply(rules, late, early, same)
	if err != nil {
		t.Fatal(err)
	}
	if got := changed[0].Fields(); got[0] != "a.early.same.late" {
		t.Errorf("got %q", got)
	}
}

func TestPipelinesThatCannotBeCarriedOutAreRefused(t *testing.T) {
	for _, c := range []struct{ src, at, msg string }{
		{"[]", "p.yml:1:1", "a pipeline is one map of keys"},
		{"a: b: c", "p.yml:1:1", "not YAML"},
		{"name: x\npostprocessing: []", "p.yml:2:1", `"postprocessing" is not part`},
		{"priority: high", "p.yml:1:11", "priority is not a number"},
		{"transformations: {}", "p.yml:1:18", "must be a list"},
		{"transformations: [x]", "p.yml:1:19", "must be a map"},
		{steps("{id: x}"), "p.yml:3:5", "has no type"},
		{steps("{type: set_state, key: a, val: b}"), "p.yml:3:12", `unknown transformation "set_state"`},
		{steps("{type: field_name_prefix, prefix: a, postfix: b}"), "p.yml:3:42", `unknown key "postfix"`},
		{steps("{type: field_name_prefix}"), "p.yml:3:5", "has no prefix"},
		{steps("{type: field_name_mapping, mapping: {a: []}}"), "p.yml:3:45", `"a" has 0 names`},
		{steps("{type: field_name_mapping, mapping: [a]}"), "p.yml:3:41", "mapping must be a map"},
		{steps("{type: change_logsource}"), "p.yml:3:5", "the new log source is empty"},
		{steps("{type: replace_string, regex: '(?=x)', replacement: y}"), "p.yml:3:35", "is not a regular expression"},
		{steps("{type: add_condition, conditions: {a|nonsense: b}}"), "p.yml:3:40", "unknown modifier"},
		{steps("{type: add_condition, negated: maybe, conditions: {a: b}}"), "p.yml:3:36", "must be true or false"},
		{steps("{type: field_name_prefix, prefix: a, rule_conditions: [{type: processing_state}]}"), "p.yml:3:60", `unknown rule condition "processing_state"`},
		{steps("{type: field_name_prefix, prefix: a, rule_conditions: [{type: logsource}]}"), "p.yml:3:60", "names no log source"},
		{steps("{type: field_name_prefix, prefix: a, rule_cond_op: xor}"), "p.yml:3:56", "joined by and or by or"},
		{steps("{type: field_name_prefix, prefix: a, field_name_conditions: [{type: match_string, pattern: x}]}"), "p.yml:3:66", `unknown condition "match_string"`},
		{steps("{type: drop_detection_item, detection_item_conditions: [{type: match_string, pattern: '('}]}"), "p.yml:3:91", "is not a regular expression"},
		{steps("{type: change_logsource, product: x, field_name_conditions: [{type: include_fields, fields: a}]}"), "p.yml:3:5", "changes a rule as a whole"},
		{steps(strings.Split(strings.Repeat("{type: drop_detection_item};", 1001), ";")[:1001]...), "p.yml:3:3", "more than 1000 transformations"},
	} {
		_, err := sigma.ParsePipeline("p.yml", []byte(c.src))
		var list sigma.Errors
		if !errors.As(err, &list) {
			t.Errorf("%.80s: got %v", c.src, err)
			continue
		}
		if got := list[0].Error(); !strings.HasPrefix(got, c.at+": ") || !strings.Contains(list[0].Msg, c.msg) {
			t.Errorf("%.80s:\n got %s\nwant %s: …%s", c.src, got, c.at, c.msg)
		}
	}
}

func TestARuleThatAPipelineCannotRewriteIsNamed(t *testing.T) {
	good, bad := rule("s: {Image: x}\ncondition: s"), strings.Replace(rule("s: {User: x}\ncondition: s"), "title: t", "title: only a user", 1)
	rules, err := parseRules("r.yml", []byte(good+"---\n"+bad))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ step, msg string }{
		{"{type: drop_detection_item, field_name_conditions: [{type: include_fields, fields: [User]}]}", "nothing is left of the condition, in rule r.yml: only a user"},
		{"{type: rule_failure, message: no users here, rule_conditions: [{type: rule_attribute, attribute: title, value: only a user}]}", "no users here, in rule r.yml: only a user"},
		{"{type: field_name_suffix, suffix: " + strings.Repeat("x", 2000) + ", field_name_conditions: [{type: include_fields, fields: [User]}]}", "a field's name became longer than 1024 bytes, in rule r.yml: only a user"},
	} {
		changed, err := sigma.Apply(rules, pipeline(t, steps(c.step)))
		var list sigma.Errors
		if !errors.As(err, &list) || len(list) != 1 || list[0].Msg != c.msg || list[0].Line != 3 || list[0].File != "p.yml" {
			t.Errorf("%s: got %v", c.step, err)
		}
		if len(changed) != 1 || changed[0].Title != "t" {
			t.Errorf("%s: the other rule is not there: %v", c.step, changed)
		}
	}
}

func TestAPipelineCannotBlowUpARule(t *testing.T) {
	double := "{type: field_name_mapping, mapping: {a: [a, a]}}"
	var many []string
	for range 40 {
		many = append(many, double)
	}
	rules, err := parseRules("r.yml", []byte(rule("s: {a: x}\ncondition: s")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sigma.Apply(rules, pipeline(t, steps(many...))); err == nil || !strings.Contains(err.Error(), "more than 10000 tests") {
		t.Errorf("got %v", err)
	}
}

func TestPublicRulesGoThroughAPipeline(t *testing.T) {
	rules, _ := loadPublic(t)
	changed, err := sigma.Apply(rules, pipeline(t, steps(
		"{type: field_name_mapping, mapping: {Image: process.executable, CommandLine: [process.command_line, process.args]}}",
		"{type: field_name_prefix, prefix: x.}",
	)))
	if err != nil || len(changed) != len(rules) {
		t.Fatalf("%d of %d rules: %v", len(changed), len(rules), err)
	}
	for _, r := range changed {
		for _, f := range r.Fields() {
			if !strings.HasPrefix(f, "x.") || f == "x.Image" || f == "x.CommandLine" {
				t.Fatalf("%s still reads %s", r.SourceFile, f)
			}
		}
	}
}

func FuzzPipeline(f *testing.F) {
	for _, s := range []string{
		steps("{type: field_name_mapping, mapping: {a: [b, c]}}", "{type: drop_detection_item, rule_conditions: [{type: tag, tag: x}]}"),
		steps("{type: add_condition, template: true, conditions: {a|re: $product}}", `{type: replace_string, regex: (.), replacement: '\1\1'}`),
		"vars: {x: [a]}\n" + steps("{type: value_placeholders}"), "transformations: [{}]", "priority: 1e9",
	} {
		f.Add(s)
	}
	rules, err := parseRules("r.yml", []byte(rule("s: {a: x, b|expand: '%x%', c|fieldref: a}\nk: [w]\ncondition: s or not k")))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, src string) {
		p, err := sigma.ParsePipeline("p.yml", []byte(src))
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		changed, _ := sigma.Apply(rules, p)
		_, _ = sigma.Compile(changed, schema)
		if got := strings.Join(rules[0].Fields(), " "); got != "a b c" {
			t.Errorf("the original rule reads %s", got)
		}
	})
}
