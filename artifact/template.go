package artifact

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

const templateLimit = 1 << 20 // bytes of a template

// templateFormat is a Jinja template in a file of its own. It must be named as one, as loaders go by that
// name, or begin as one.
func templateFormat() format {
	return format{name: "jinja", sniff: sniffTemplate, scan: func(s *scan, p *part) {
		text, whole := p.text(templateLimit)
		judgeTemplate(s, p, 0, p.base(), text, !whole)
	}}
}

func sniffTemplate(head []byte, p *part) bool {
	if !printable(head) {
		return false
	}
	if named(p, ".jinja", ".jinja2", ".j2") {
		return true
	}
	if ext := path.Ext(strings.ToLower(p.base())); prose[ext] && ext != ".txt" {
		return false // of a program's pages, that no model is asked through
	}
	t := strings.TrimSpace(string(head))
	return strings.HasPrefix(t, "{%") || strings.HasPrefix(t, "{{") || strings.HasPrefix(t, "{#")
}

// What templates of honest models use.
var (
	templateStatements = words("if elif else endif for endfor set endset macro endmacro call endcall filter endfilter generation endgeneration break continue with endwith do")
	templateFilters    = words(`abs batch capitalize count d default dictsort e escape first float forceescape format from_json groupby
		indent int items join last length list lower map max min pprint random reject rejectattr replace reverse round safe select
		selectattr slice sort string strip striptags sum title tojson trim truncate unique upper urlencode wordcount wordwrap`)
	templateTests = words(`boolean callable defined divisibleby equalto eq even false filter float ge gt in integer iterable le lower lt
		mapping ne none None not number odd sameas sequence string test true undefined upper`)
	templateCalls   = words("range namespace raise_exception strftime_now dict caller loop super joiner cycler varargs kwargs")
	templateMethods = words(`strip lstrip rstrip split rsplit splitlines startswith endswith items keys values get lower upper title capitalize
		join replace removeprefix removesuffix find rfind index count append extend pop update insert isdigit isspace isupper islower strftime copy next previtem cycle partition rpartition`)
	countFilters = words("length count int abs")
	// What templates reach the interpreter through.
	templateGlobals = words("self request lipsum url_for get_flashed_messages")
	templateInner   = words("mro func_globals func_code gi_frame gi_code cr_frame ag_frame tb_frame f_globals f_builtins f_back f_locals")
)

var (
	pythonName  = regexp.MustCompile(`^__[a-z_]+__$`)
	dunder      = regexp.MustCompile(`__(class|bases?|mro|subclasses|globals|builtins?|init|new|import|dict|getattribute|getattr|code|reduce|reduce_ex|call|self|func|module|closure|kwdefaults|loader|spec|weakref|wrapped|objclass|getitem|setattr)__`)
	promptWords = regexp.MustCompile(`(?i)https?://|ignore (all |any )?(previous|prior|above)|do not (tell|mention|reveal)|without telling|<script`)
)

// judgeTemplate tells what a chat template does that no chat template needs.
func judgeTemplate(s *scan, p *part, at int64, key, text string, cut bool) {
	if cut {
		s.issue(p, Issue{Rule: "limit", Verdict: Failed, Offset: at, Name: key, Text: fmt.Sprintf("The template is longer than %d bytes; the rest was not judged.", templateLimit)})
	}
	j := &jinja{lex: jinjaLexer{text: text}, macros: map[string]bool{}, seen: map[string]bool{}}
	j.tell = func(rule string, v Verdict, word, why string) {
		if id := rule + word + why; !j.seen[id] && len(j.seen) < 100 { // one template repeats itself
			j.seen[id] = true
			s.issue(p, Issue{Rule: rule, Verdict: v, Offset: at, Name: clip(word), Text: "The template " + clip(key) + " " + why + "."})
		}
	}
	if err := j.run(); err != nil && !cut {
		s.issue(p, Issue{Rule: "template-malformed", Verdict: Failed, Offset: at, Name: clip(key), Text: fmt.Sprintf("The template cannot be read: %v.", err)})
	}
}

// jinja judges a template, a tag after the other.
type jinja struct {
	lex    jinjaLexer
	macros map[string]bool
	seen   map[string]bool
	ifs    []bool // of open ifs: whether what people write decides
	tell   func(rule string, v Verdict, word, why string)
}

func (j *jinja) run() error {
	for name := range macroNames(j.lex.text) {
		j.macros[name] = true
	}
	for {
		text, tag, err := j.lex.tag()
		if slices.Contains(j.ifs, true) && promptWords.MatchString(text) {
			j.tell("template-prompt", Suspicious, promptWords.FindString(text), "writes an address or instruction where the conversation holds a word")
		}
		if err != nil || tag == 0 {
			return err
		}
		words, err := j.lex.words(tag)
		if err != nil {
			return err
		}
		if tag == '%' {
			words = j.statement(words)
		}
		j.expression(words)
	}
}

var macroName = regexp.MustCompile(`\{%[-+]?\s*macro\s+(\w+)`)

func macroNames(text string) map[string]bool {
	m := map[string]bool{}
	for _, found := range macroName.FindAllStringSubmatch(text, 10_000) {
		m[found[1]] = true
	}
	return m
}

// statement judges the name of one and returns what follows it.
func (j *jinja) statement(words []jinjaWord) []jinjaWord {
	if len(words) == 0 {
		return nil
	}
	name := words[0].text
	switch name {
	case "if", "elif":
		decides := false
		for i, w := range words[1:] {
			decides = decides || w.kind == 's' && i+2 < len(words) && words[i+2].text == "in"
		}
		if name == "if" {
			j.ifs = append(j.ifs, decides)
		} else if n := len(j.ifs); n > 0 {
			j.ifs[n-1] = j.ifs[n-1] || decides
		}
	case "endif":
		if n := len(j.ifs); n > 0 {
			j.ifs = j.ifs[:n-1]
		}
	case "include", "import", "from", "extends":
		j.tell("template-statement", Suspicious, name, "loads another template")
	default:
		if !templateStatements[name] {
			j.tell("template-statement", Unknown, name, "uses an unknown statement")
		}
	}
	if name == "filter" && len(words) > 1 {
		j.filter(words[1:])
	}
	return words[1:]
}

func (j *jinja) expression(words []jinjaWord) {
	var open []bool // brackets, and whether each is a subscript
	for i, w := range words {
		var before, after jinjaWord
		if i > 0 {
			before = words[i-1]
		}
		if i+1 < len(words) {
			after = words[i+1]
		}
		switch w.text {
		case "[", "(", "{":
			open = append(open, w.text == "[" && (before.kind == 'n' && !jinjaOperator[before.text] || before.text == ")" || before.text == "]"))
		case "]", ")", "}":
			open = open[:max(0, len(open)-1)]
		case "~", "|":
			if len(open) > 0 && open[len(open)-1] && !countFilters[after.text] {
				j.tell("template-subscript", Suspicious, after.text, "takes a member by a name that it builds")
			}
		}
		switch w.kind {
		case 's':
			j.literal(w.text, before, after)
		case 'n':
			j.word(w.text, before, after, words[i:])
		}
	}
}

// literal judges a text: dunder names are subscripts, whole or in pieces.
func (j *jinja) literal(text string, before, after jinjaWord) {
	pieces := before.text == "~" || before.text == "+" || after.text == "~" || after.text == "+" || after.kind == 's' || before.kind == 's'
	switch {
	case dunder.MatchString(text) || before.text == "[" && after.text == "]" && pythonName.MatchString(text):
		j.tell("template-inner", Malicious, text, "reaches into the interpreter by the name "+text)
	case before.text == "[" && after.text == "]" && templateInner[text]:
		j.tell("template-inner", Malicious, text, "reaches into the interpreter by the name "+text)
	case pieces && strings.Trim(text, "_") == "" && text != "":
		j.tell("template-inner", Malicious, text, "builds a name with underscores from pieces")
	case pieces && (strings.HasPrefix(text, "__") || strings.HasSuffix(text, "__")):
		j.tell("template-inner", Malicious, text, "builds a name with underscores from pieces")
	case text == "attr" && before.text == "(" && before.after == "map":
		j.tell("template-attr", Suspicious, text, "takes attributes by name")
	case slices.Contains(j.ifs, true) && before.text != "in" && promptWords.MatchString(text):
		j.tell("template-prompt", Suspicious, text, "writes an address or instruction where the conversation holds a word")
	}
}

func (j *jinja) word(name string, before, after jinjaWord, rest []jinjaWord) {
	call := after.text == "("
	switch {
	case pythonName.MatchString(name) || before.text == "." && templateInner[name]:
		j.tell("template-inner", Malicious, name, "reaches into the interpreter by the name "+name)
	case before.text == "|":
		j.filter(rest)
	case before.text == "is" || before.text == "not" && before.after == "is":
		if !templateTests[name] {
			j.tell("template-test", Unknown, name, "uses an unknown test")
		}
	case before.text == ".":
		switch {
		case call && (name == "format" || name == "format_map"):
			j.tell("template-call", Suspicious, name, "formats texts by a method, which reaches attributes")
		case call && !templateMethods[name]:
			j.tell("template-call", Unknown, name, "calls an unknown method")
		}
	case templateGlobals[name] && (after.text == "." || after.text == "[" || after.text == "|" || call):
		j.tell("template-global", Suspicious, name, "uses "+name+", which leads to the interpreter")
	case call && !templateCalls[name] && !j.macros[name] && !jinjaOperator[name]:
		j.tell("template-call", Suspicious, name, "calls an unknown function")
	}
}

// filter judges the filter that stands first.
func (j *jinja) filter(words []jinjaWord) {
	name := words[0].text
	switch {
	case name == "attr" && len(words) > 2 && words[2].kind == 's' && len(words) > 3 && words[3].text == ")":
		j.tell("template-attr", Suspicious, words[2].text, "takes an attribute by name")
	case name == "attr":
		j.tell("template-attr", Malicious, name, "takes an attribute by a name that it builds")
	case !templateFilters[name]:
		j.tell("template-filter", Unknown, name, "uses an unknown filter")
	}
}
