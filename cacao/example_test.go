package cacao_test

import (
	"fmt"

	"picket/cacao"
)

func ExampleParseCondition() {
	cond, err := cacao.ParseCondition("__score__:value > 9")
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := cond.Eval(cacao.Variables{"__score__": {Type: "integer", Value: cacao.Known("10")}})
	fmt.Println(cond.Dialect, answer, err)
	// Output: comparison true <nil>
}

func ExamplePlaybook_Validate() {
	_, err := cacao.Parse([]byte(`{"type": "playbook", "spec_version": "1.1"}`))
	fmt.Println(err)
	p, err := cacao.Parse([]byte(`{"type": "playbook", "spec_version": "cacao-2.0", "id": "playbook--1"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Validate().Errors()[3])
	// Output:
	// /spec_version: error: this is CACAO 1.1, only 2.0 is read (2.0 has action steps for single ones, agents for target, ids of the form TYPE--UUID as keys of the workflow: convert it)
	// /: error: name is missing
}

func ExampleForShell() {
	vars := cacao.Variables{"__name__": {Type: "string", Value: cacao.Known("'; reboot #")}}
	sh, err := cacao.ForShell(`logger "stopped __name__:value"`, vars)
	fmt.Println(sh.Script, sh.Env, err)
	// Output: logger "stopped ${CACAO_name}" [CACAO_name='; reboot #] <nil>
}
