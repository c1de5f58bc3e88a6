package cacao_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"picket/cacao"
)

// Note 1.4: what an attacker chose reaches a shell as one word, whatever it is.
func TestForShell(t *testing.T) {
	for _, value := range []string{"plain", "a b", "'; echo gone; '", "$(echo gone)", "`echo gone`", "\"; echo gone #", "*", "a\nb", "-n", "\\", "__v__:value"} {
		vars := cacao.Variables{"__v__": {Type: "string", Value: cacao.Known(value)}}
		for _, text := range []string{`printf '%s' __v__:value`, `printf '%s' "__v__:value"`} {
			sh, err := cacao.ForShell(text, vars)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("sh", "-c", sh.Script)
			cmd.Env = sh.Env
			if out, err := cmd.Output(); err != nil || string(out) != value {
				t.Errorf("%q in %s: got %q, %v", value, sh.Script, out, err)
			}
			if strings.Contains(sh.Script, "gone") {
				t.Errorf("the value stands in the script: %s", sh.Script)
			}
		}
		quoted, err := cacao.Quote(value)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("sh", "-c", "printf %s "+quoted).Output(); err != nil || string(out) != value {
			t.Errorf("quoted %q: got %q, %v", value, out, err)
		}
	}
}

func TestForShellRefuses(t *testing.T) {
	vars := cacao.Variables{"__v__": {Type: "string", Value: cacao.Known("x")}, "__null__": {Type: "string"}}
	for text, want := range map[string]string{
		`echo '__v__:value'`:      "in single quotes",
		`echo $(id __v__:value)`:  "backquotes",
		"cat <<E\n__v__:value\nE": "behind <<",
		`eval "__v__:value"`:      "as a program",
		`bash -c "__v__:value"`:   "as a program",
		`echo \__v__:value`:       "behind a backslash",
		`echo __null__:value`:     "has no value",
		`echo __other__:value`:    "is not declared",
	} {
		if sh, err := cacao.ForShell(text, vars); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q %v, want %s", text, sh.Script, err, want)
		}
	}
}

// Note 1.3 and 1.4: each place of a request has its own way to escape; the query stays a query.
func TestForHTTP(t *testing.T) {
	evil := "a/b?c=d&e \"\r\nX: y"
	vars := cacao.Variables{"__v__": {Type: "string", Value: cacao.Known(evil)}, "__n__": {Type: "integer", Value: cacao.Known("7")}, "__t__": {Type: "string", Value: cacao.Known("abc")}}
	c := &cacao.Command{Type: "http-api", Command: "POST /hosts/__v__:value/x?q=__v__:value&n=1 HTTP/1.1", Headers: map[string][]string{"Authorization": {"Bearer __t__:value"}}, Content: `{"name": "<__v__:value>", "n": __n__:value}`}
	req, err := cacao.ForHTTP(c, vars)
	if err != nil {
		t.Fatal(err)
	}
	if want := "/hosts/a%2Fb%3Fc=d&e%20%22%0D%0AX:%20y/x?q=a%2Fb%3Fc%3Dd%26e+%22%0D%0AX%3A+y&n=1"; req.Path != want {
		t.Errorf("got  %s\nwant %s", req.Path, want)
	}
	var body struct {
		Name string
		N    int
	}
	if err := json.Unmarshal([]byte(req.Body), &body); err != nil || body.Name != "<"+evil+">" || body.N != 7 {
		t.Errorf("%s: %v", req.Body, err)
	}
	if got := req.Headers["Authorization"][0]; got != "Bearer abc" {
		t.Error(got)
	}
	c.Headers = map[string][]string{"X-Host": {"__v__:value"}}
	if _, err := cacao.ForHTTP(c, vars); err == nil || !strings.Contains(err.Error(), "header X-Host") {
		t.Errorf("got %v", err)
	}
}

// Note 1.4: constants, types, and what a trigger must give.
func TestStart(t *testing.T) {
	vars := cacao.Variables{"__c__": {Type: "string", Constant: true, Value: cacao.Known("1")}, "__e__": {Type: "integer", External: true}}
	for _, c := range []struct {
		given map[string]string
		want  string
	}{
		{map[string]string{"__e__": "5"}, ""},
		{nil, "__e__ is external and must be given"},
		{map[string]string{"__e__": "five"}, "no integer"},
		{map[string]string{"__e__": "5", "__c__": "2"}, "__c__ is constant"},
		{map[string]string{"__e__": "5", "__x__": "2"}, "__x__ is not declared"},
	} {
		_, err := vars.Start(c.given)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %q", c.given, err, c.want)
		}
	}
	if vars["__e__"].Value.Known {
		t.Error("the playbook itself was changed")
	}
}

func FuzzSubstitute(f *testing.F) {
	f.Add("printf %s \"__v__:value\"", "'$(id)")
	f.Add(`{"a": "__v__:value"}`, "\"}")
	f.Fuzz(func(t *testing.T, text, value string) {
		vars := cacao.Variables{"__v__": {Type: "string", Value: cacao.Known(value)}}
		if sh, err := cacao.ForShell(text, vars); err == nil && len(value) > len(text)+40 && strings.Contains(sh.Script, value) {
			t.Errorf("%q stands in the script %q", value, sh.Script)
		}
		req, err := cacao.ForHTTP(&cacao.Command{Type: "http-api", Command: "GET /__v__:value?__v__:value", Content: text}, vars)
		if err == nil && strings.ContainsAny(req.Path, " \r\n") {
			t.Errorf("%q breaks the request line", req.Path)
		}
		if err == nil && strings.HasPrefix(text, "{") && strings.Contains(text, "__v__:value") && !json.Valid([]byte(req.Body)) {
			t.Errorf("%q is no JSON", req.Body)
		}
	})
}

func TestReferences(t *testing.T) {
	got := cacao.References("GET /x?a=__ip__:value&b=[__name-2__:value];c=__ip__:value __none__ x:value")
	if want := []string{"__ip__", "__name-2__"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
