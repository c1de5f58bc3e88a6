package sigma_test

import (
	"fmt"

	"picket/sigma"
)

func Example() {
	parsed, err := sigma.Parse("shell.yml", []byte(`
title: Shell started by a model server
level: high
logsource: {category: process_creation, product: linux}
detection:
  shell:
    Image|endswith: [/sh, /bash]
  server:
    ParentImage|contains: vllm
  condition: shell and server
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	engine, err := sigma.Compile(parsed.Rules, schema)
	if err != nil {
		fmt.Println(err)
		return
	}
	engine.Match(event(map[string]any{"Image": "/bin/bash", "ParentImage": "/opt/vllm/bin/server"}), func(r *sigma.Rule) {
		fmt.Println(r.Level, r.Title)
	})
	// Output: high Shell started by a model server
}

func ExampleParse_error() {
	_, err := sigma.Parse("shell.yml", []byte(`title: Shell
logsource: {category: process_creation}
detection:
  shell:
    Image|endswith: /sh
  condition: shel
`))
	fmt.Println(err)
	// Output:
	// shell.yml:6:14: unknown identifier "shel"
	// 	  condition: shel
	// 	hint: the rule has shell
}

func ExampleOptions_Compile() {
	parsed, _ := sigma.Parse("admin.yml", []byte(`
title: Work of an administrator
logsource: {category: process_creation}
detection:
  who:
    User|expand: '%administrators%'
  condition: who
`))
	o := sigma.Options{Placeholders: map[string][]string{"administrators": {"root", "adm-*"}}}
	engine, _ := o.Compile(parsed.Rules, schema)
	engine.Match(event(map[string]any{"User": "adm-lena"}), func(r *sigma.Rule) { fmt.Println(r.Title) })
	// Output: Work of an administrator
}

func ExampleLint() {
	parsed, _ := sigma.Parse("rule.yml", []byte(`title: Curl
id: 5013198a-7f2b-4a25-8c42-b2e2f3a0a7b5
level: low
logsource: {category: process_creation}
detection:
  curl:
    image|endswith: /curl
  condition: curl
`))
	for _, p := range sigma.Lint(parsed.Rules, schema) {
		fmt.Println(p)
	}
	// Output: rule.yml:7: field image is not known, so it is never present (field names are case-sensitive)
}

// Events that come as lines of JSON need no code of one's own.
func ExampleRecord() {
	parsed, _ := sigma.Parse("shell.yml", []byte(`
title: Shell started
logsource: {category: process_creation}
detection:
  shell:
    Image|endswith: [/sh, /bash]
  condition: shell
`))
	mapping, _ := sigma.ParsePipeline("names.yml", []byte(`
transformations:
  - {type: field_name_mapping, mapping: {Image: process.executable}}
`))
	rules, _ := sigma.Apply(parsed.Rules, mapping)

	names := sigma.NewNames(sigma.FieldsOf(rules))
	engine, _ := sigma.Compile(rules, names)
	record := sigma.NewRecord(names, sigma.Logsource{Category: "process_creation", Product: "linux"})
	for i, line := range []string{`{"process": {"executable": "/bin/sh"}}`, `{"process": {"executable": "/bin/ls"}}`, `{"process"`} {
		if err := record.Parse("events.jsonl", i+1, []byte(line)); err != nil {
			fmt.Println(err)
			continue
		}
		engine.Match(record, func(r *sigma.Rule) { fmt.Println("line", i+1, r.Title) })
	}
	// Output:
	// line 1 Shell started
	// events.jsonl:3:11: the line ends where a colon is expected
	// 	hint: it may have been cut short
}
