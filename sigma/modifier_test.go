package sigma_test

import (
	"fmt"
	"slices"
	"testing"

	"picket/sigma"
)

// A case is one selection and what it fires and does not fire on.
type modifierCase struct {
	selection string
	hit, miss []any // values of field f; missing{} leaves it out
}

type missing struct{}

func TestModifiers(t *testing.T) {
	for _, c := range slices.Concat(valueCases, wildcardCases, textCases, numberCases, encodingCases) {
		e := compile(t, rule("selection:\n"+indent(c.selection)+"condition: selection"), sigma.Options{})
		check := func(v any, want bool) {
			fields := map[string]any{"f": v, "g": "Foo", "n": 7}
			if _, ok := v.(missing); ok {
				delete(fields, "f")
			}
			if got := len(hits(e, event(fields))) > 0; got != want {
				t.Errorf("%s on %#v: fires %t, want %t", c.selection, v, got, want)
			}
		}
		for _, v := range c.hit {
			check(v, true)
		}
		for _, v := range c.miss {
			check(v, false)
		}
	}
}

func vals(v ...any) []any { return v }

var valueCases = []modifierCase{
	{"f: Foo", vals("foo", "FOO", []string{"x", "foo"}), vals("foo ", "fo", "", nil, missing{}, []string{})},
	{"f: [a, b]", vals("a", "B"), vals("c", missing{})},
	{"f: ''", vals(""), vals("x", nil, missing{}, []string{})},
	{"f: null", vals(nil, missing{}), vals("", "null", 0, []string{})},
	{"f:", vals(nil, missing{}), vals("")},
	{"f: [null, x]", vals(nil, missing{}, "x"), vals("y", "")},
	{"f: '*'", vals("", "x", 1, false, []string{}), vals(nil, missing{})},
	{"f: true", vals(true, "true", "TRUE"), vals(false, 1, "yes", missing{})},
	{"f: False", vals(false, "false"), vals(true, nil, missing{})},
	{"f: yes", vals("yes", "YES"), vals(true)},
	{"f: 00000429", vals("00000429"), vals("429", 429, 281)},
	{"f: 0x17", vals("0x17", "0X17"), vals(23, "23")},
	{"f: 1e3", vals("1e3", "1E3"), vals(1000, "1000")},
	{"f: 0o17", vals("0o17"), vals(15, 17)},
	{"f: 1_000", vals("1_000"), vals(1000)},
	{"f: .5", vals(".5"), vals("0.5")},
	{"f: 443", vals(443, "443", []string{"80", "443"}), vals(4430, "0443")},
	{"f: -1", vals(-1, "-1"), vals(1)},
	{"f: 2024-01-01", vals("2024-01-01"), vals("2024-01-01T00:00:00Z")},
	{"f: 'РЕЗЮМЕ'", vals("резюме", "Резюме"), vals("rezume")},
	{"f: 'STRASSE'", vals("strasse"), vals("straße")},
	{"f|exists: true", vals("", nil, "x", 0), vals(missing{})},
	{"f|exists: false", vals(missing{}), vals("", nil)},
	{"f|neq: x", vals("y", "", 1, []string{}), vals("x", "X", nil, missing{}, []string{"a", "x"})},
	{"f|neq: [x, z]", vals("y"), vals("x", "z", missing{})},
	{"f|neq: null", vals("y", ""), vals(nil, missing{})},
	{"f|neq: 5", vals("6", 6), vals(5, "5", missing{})},
	{"f|contains|neq: x", vals("abc"), vals("axb", missing{})},
	{"f|cidr|neq: 10.0.0.0/8", vals("11.0.0.1", "name"), vals("10.1.1.1", missing{})},
	{"f|neq|fieldref: g", vals("bar"), vals("foo", missing{})},
	{"f|all: [a, b]", vals([]string{"a", "b"}), vals("a", []string{"b"})},
}

var wildcardCases = []modifierCase{
	{`f: '\cmd.exe'`, vals(`\cmd.exe`), vals("cmd.exe", `\\cmd.exe`)},
	{`f: '\\cmd.exe'`, vals(`\cmd.exe`), vals(`\\cmd.exe`)},
	{`f: 'a\*'`, vals("a*"), vals("ab", `a\*`)},
	{`f: 'a\?'`, vals("a?"), vals("ab")},
	{`f: 'a\\*'`, vals(`a\`, `a\b`), vals("a*", "ab")},
	{`f: 'a\\\*'`, vals(`a\*`), vals(`a\b`, "a*")},
	{`f: 'a\\\\'`, vals(`a\\`), vals(`a\`, `a\\\\`)},
	{`f: 'a\\\x'`, vals(`a\\x`), vals(`a\x`)},
	{"f: 'a*c'", vals("ac", "abc", "a\nb\nc", "A**C"), vals("ab", "xac")},
	{"f: 'a?c'", vals("abc", "aéc", "a\xffc", "a\nc"), vals("ac", "abbc")},
	{"f: 'a**c'", vals("ac", "abc"), vals("a")},
	{"f: '?'", vals("x", "é"), vals("", "xx", nil)},
	{"f: 'a*b*c'", vals("abc", "axbxc"), vals("acb", "ab")},
	{"f: '*a?b*'", vals("xxaéby", "aab"), vals("ab", "axxb")},
	{"f: 'a*?b'", vals("axb", "aéb", "axxb"), vals("ab")},
	{"f: 'ab*ba'", vals("abba"), vals("aba")},
	{`f|contains: 'foo\'`, vals(`xfoo\y`, `foo\`), vals("foo*", "foo")},
	{`f|endswith: '\sh.exe'`, vals(`c:\sh.exe`), vals("sh.exe")},
	{"f|contains: 'a*b'", vals("xaxbx", "ab"), vals("ba")},
	{"f|startswith: 'a?b'", vals("axbc"), vals("abc")},
	{"f|endswith: 'a*b'", vals("xaxb"), vals("xaxbx")},
	{"f: '%temp%'", vals("%TEMP%"), vals("x")},
}

var textCases = []modifierCase{
	{"f|contains: b", vals("abc", "B", []string{"x", "ABC"}), vals("ac", "", nil, missing{})},
	{"f|contains: ''", vals("abc", ""), vals(nil, missing{})},
	{"f|startswith: ab", vals("ABC"), vals("cab")},
	{"f|endswith: bc", vals("ABC"), vals("bcd")},
	{"f|contains|all: [a, b]", vals("b a", []string{"xa", "xb"}), vals("a", "b")},
	{"f|all|contains: [a, b]", vals("ba"), vals("a")},
	{"f|cased: Foo", vals("Foo"), vals("foo", "FOO")},
	{"f|contains|cased: B", vals("aBc"), vals("abc")},
	{"f|cased|endswith: é", vals("xé"), vals("xÉ")},
	{"f|contains: é", vals("xÉy", "\xffÉ"), vals("xE")},
	{"f|contains: abc", vals("\xff\xfeABC\xff", "ÀABC"), vals("\xff")},
	{"f|re: 'b+c'", vals("abbcd"), vals("ABBC", "ac")},
	{"f|re|i: 'b+c'", vals("ABBC"), vals("ac")},
	{"f|re: '(?i)b+c'", vals("ABBC"), vals("ac")},
	{"f|re: '^b'", vals("bc"), vals("a\nb")},
	{"f|re|m: '^b'", vals("a\nb"), vals("ab")},
	{"f|re: 'a.b'", vals("axb"), vals("a\nb")},
	{"f|re|s: 'a.b'", vals("a\nb"), vals("ab")},
	{"f|re|i|m|s: '^A.B'", vals("x\na\nb"), vals("ab")},
	{`f|re: 'a\Z'`, vals("xa", "xa\n"), vals("ab")},
	{"f|re: 'a*'", vals("", "b"), vals(nil, missing{})},
	{"f|re: ['^a$', '^b$']", vals("a", "b"), vals("ab")},
	{"f|contains|windash: ' -enc'", vals("x -enc", "x /ENC", "x –enc", "x —enc", "x ―enc"), vals("x enc", "x_enc")},
	{"f|windash|contains|all: ['-a', '/b-c']", vals("/a -b-c"), vals("/a -b/c", "-a")},
	{"f|windash: 'x -a -b -c -d -e -f -g'", vals("x /a -b /c –d -e /f -g"), vals("x /a")},
	{"f|endswith|windash: ' -p'", vals("nc /p"), vals("nc -p x")},
	{"f|windash|contains: ' a-b'", vals("x a-b"), vals("x a/b")},
	{"f|fieldref: g", vals("foo", "FOO", []string{"x", "foo"}), vals("food", missing{}, nil)},
	{"f|fieldref|cased: g", vals("Foo"), vals("foo")},
	{"f|fieldref|contains: g", vals("a food"), vals("fo")},
	{"f|fieldref|startswith: g", vals("food"), vals("a foo")},
	{"f|endswith|fieldref: g", vals("a foo"), vals("food")},
	{"f|fieldref: n", vals(7, "7"), vals(8)},
	{"f|fieldref: h", nil, vals("", "x", missing{})},
	{"f|cidr: 10.1.2.3/8", vals("10.9.9.9", "::ffff:10.1.1.1", []string{"x", "10.0.0.1"}), vals("11.0.0.1", "10", "x", "", nil, missing{}, "::a00:1")},
	{"f|cidr: 'fd00::/8'", vals("fd12::1", "FD12::1"), vals("fe80::1", "10.0.0.1")},
	{"f|cidr: '::ffff:10.0.0.0/104'", vals("10.1.1.1"), vals("11.1.1.1")},
	{"f|cidr: [127.0.0.1, '::1/128']", vals("127.0.0.1", "::1"), vals("127.0.0.2")},
	{"f|cidr: 'fe80::/10'", vals("fe80::1%eth0"), vals("ff80::1%eth0")},
}

var numberCases = []modifierCase{
	{"f|gt: 5", vals(6, "6", "0x10", "5.5", "1e1"), vals(5, "4.9", "x", "", nil, missing{}, "six", "0x")},
	{"f|gte: 5", vals(5, "5.0"), vals(4)},
	{"f|lt: 5", vals(4, -9, "4.99", "-0x10"), vals(5, "inf", "nan")},
	{"f|lte: -1.5", vals("-1.5", -2), vals(-1)},
	{"f|gt: 0x10", vals(17), vals(16)},
	{"f|gt: 9007199254740992", vals(9007199254740993), vals(9007199254740992)},
	{"f|gt: 18446744073709551614", vals("18446744073709551615"), vals("18446744073709551614", -1)},
	{"f|lt: 9007199254740992.5", vals(9007199254740991), vals(9007199254740993)},
	{"f|gt: 1_000", vals(1001), vals(1000)},
	{"f|lt: [1, -5]", vals(0), vals(1)},
	{"f|minute: 5", vals("2024-02-29T23:05:59Z", "2024-02-29 23:05"), vals("2024-02-29", "2024-02-29T23:06:05Z")},
	{"f|hour: 23", vals("2024-02-29T23:05:59+09:00"), vals("2024-02-29T22:00:00Z", "23")},
	{"f|day: 29", vals("2024-02-29"), vals("2024-02-28")},
	{"f|week: 53", vals("2021-01-01T00:00:00Z"), vals("2021-01-04")},
	{"f|month: 2", vals("2024/02/29"), vals("2024-03-02", "2024-13-02", "hello world")},
	{"f|year: 2024", vals("2024-02-29T00:00:00.123456Z"), vals("2023-01-01", 2024)},
	{"f|hour|gte: 22", vals("2024-02-29T22:00:00Z"), vals("2024-02-29T21:59:59Z")},
	{"f|hour|neq: 22", vals("2024-02-29T21:00:00Z"), vals("2024-02-29T22:59:59Z", missing{})},
}

var encodingCases = []modifierCase{
	{"f|base64: foobar", vals("Zm9vYmFy", "zm9vymfy"), vals("foobar")},
	{"f|base64|contains: 'a'", vals("xYQ==x"), vals("YQ")},
	{"f|base64offset|contains: /bin/sh", vals("xL2Jpbi9zax", "AvYmluL3No", "ABvYmluL3Nox", "AAAC9iaW4vc2g="), vals("bin")},
	{"f|wide|base64: ab", vals("YQBiAA=="), vals("YWI=")},
	{"f|utf16le|base64: ab", vals("YQBiAA=="), vals("YWI=")},
	{"f|utf16be|base64: ab", vals("AGEAYg=="), vals("YQBiAA==")},
	{"f|utf16|base64: ab", vals("//5hAGIA"), vals("YQBiAA==")},
	{"f|wide: ab", vals("a\x00b\x00", "A\x00B\x00"), vals("ab")},
	{"f|utf16be|contains: a", vals("x\x00a"), vals("xa")},
	{`f|base64: 'a\*b'`, vals("YSpi"), vals("YSsi")},
	{"f|windash|base64: '-a'", vals("LWE=", "L2E="), vals("YQ==")},
	{"f|base64|base64: a", vals("WVE9PQ=="), vals("YQ==")},
}

func TestBase64OffsetFindsAnyShift(t *testing.T) {
	e := compile(t, rule("s:\n  f|base64offset|contains: 'http://evil'\ncondition: s"), sigma.Options{})
	for shift := range 7 {
		for tail := range 4 {
			text := fmt.Sprintf("%.*shttp://evil%.*s", shift, "ABCDEFG", tail, "WXYZ")
			if len(hits(e, event(map[string]any{"f": base64Of(text)}))) == 0 {
				t.Errorf("not found in the encoding of %q", text)
			}
		}
	}
}

func TestExpand(t *testing.T) {
	o := sigma.Options{Placeholders: map[string][]string{"admins": {"root", "adm*"}, "one": {"x"}, "net": {"10.0.0.0/8"}}}
	for _, c := range []modifierCase{
		{"f|expand: '%admins%'", vals("root", "admin", "ADM"), vals("%admins%", "user", missing{})},
		{"f|contains|expand: 'u=%admins%;'", vals("u=root;", "xu=admin;"), vals("u=%admins%;")},
		{"f|expand|contains: 'u=%admins%;'", vals("u=root;", "xu=admin;"), vals("u=;")},
		{`f|expand: '\%one\%'`, vals("%one%"), vals("x")},
		{"f|expand: '%one% 100% %one%'", vals("x 100% x"), vals("x")},
		{"f|expand: '%one%%one%'", vals("xx"), vals("x")},
		{`f|expand: 'c:\\%admins%'`, vals(`c:\root`), vals("c:root")},
		{"f|cidr|expand: '%net%'", vals("10.1.1.1"), vals("11.1.1.1")},
		{"f|re|expand: '^%admins%$'", vals("root", "adm*"), vals("admin")},
		{"f|neq|expand: '%admins%'", vals("user"), vals("root", "admin", missing{})},
		{"f|expand|wide|base64: '%one%'", vals("eAA="), vals("x")},
	} {
		e := compile(t, rule("selection:\n"+indent(c.selection)+"condition: selection"), o)
		for i, v := range append(c.hit, c.miss...) {
			fields := map[string]any{"f": v}
			if _, ok := v.(missing); ok {
				fields = nil
			}
			if got := len(hits(e, event(fields))) > 0; got != (i < len(c.hit)) {
				t.Errorf("%s on %#v: fires %t", c.selection, v, got)
			}
		}
	}
}
