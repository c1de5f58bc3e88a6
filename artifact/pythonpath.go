package artifact

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// A .pth file among Python's packages names directories to look for packages in, a line each, and Python runs
// each line that begins with import whenever it starts (docs.python.org/3/library/site.html). Such lines are
// usual: of an editable install, of packages that share a name. What they do decides.
var (
	hookLine  = regexp.MustCompile(`(?m)^\x{feff}?import[ \t].*$`)
	hookPlain = regexp.MustCompile(`^\x{feff}?import[ \t]+[\w.]+([ \t]*,[ \t]*[\w.]+)*[ \t;]*$`)
	hookActs  = regexp.MustCompile(`\b(?:import|from)\b[^;'"]*\b(?:` + hookModules + `)\b|\b(?:` + hookModules + `)[ \t]*\.[ \t]*\w|` +
		`\bos[ \t]*\.[ \t]*(?:system|popen\w*|exec\w+|spawn\w*|posix_spawn\w*|fork\w*|kill\w*|remove|unlink|rename|replace|rmdir|removedirs|chmod|chown|open|write|putenv|symlink|link|dup2?|startfile)\b|` +
		`\.[ \t]*(?:system|popen|Popen|check_output|urlopen|urlretrieve|b64decode|a85decode|decompress|rmtree)[ \t]*\(|` +
		`(?:^|[^\w.])(?:exec|eval|compile|open|input|globals|locals|vars)[ \t]*\(|\b(?:exec|eval)\b[ \t]*[,)]|__builtins__|__subclasses__|__globals__|__loader__`)
	hookText   = regexp.MustCompile(`\bexec[ \t]*\([ \t]*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")[ \t]*\)`)
	hookImport = regexp.MustCompile(`(?:__import__|\bimport_module)[ \t]*(\([ \t]*(?:'[\w.]+'|"[\w.]+")[ \t]*\))?`)
	hookHides  = regexp.MustCompile(`\\x[0-9a-fA-F]{2}|\\[0-7]{3}|\\u[0-9a-fA-F]{4}|\bchr[ \t]*\(|\[::-1\]|\bgetattr[ \t]*\(|\bmodules[ \t]*\[`)
)

// hookModules are modules that start programs, decode, or reach files and the network.
const hookModules = "subprocess|socket|ctypes|urllib|urllib3|http|requests|httpx|base64|binascii|codecs|zlib|gzip|bz2|lzma|marshal|pickle|runpy|pty|multiprocessing|shutil|tempfile|threading|asyncio|webbrowser|ftplib|smtplib|builtins"

const hookLong = 2000 // bytes of a line that people still write

// lineEnds are what Python splits the file at, each made as many line ends as it has bytes.
var lineEnds = strings.NewReplacer("\r", "\n", "\v", "\n", "\f", "\n", "\x1c", "\n", "\x1d", "\n", "\x1e", "\n",
	"\u0085", "\n\n", "\u2028", "\n\n\n", "\u2029", "\n\n\n")

// sniffPath finds a line that runs anywhere in the file: what stands before it need be no text.
func sniffPath(_ []byte, p *part) bool {
	if path.Ext(strings.ToLower(p.base())) != ".pth" {
		return false // weights of PyTorch have the same ending
	}
	text, _ := p.text(codeLimit)
	return hookLine.MatchString(lineEnds.Replace(text))
}

func scanPath(s *scan, p *part) {
	text, whole := p.text(codeLimit)
	text = lineEnds.Replace(text)
	if !whole {
		s.issue(p, Issue{Rule: "limit", Verdict: Failed, Offset: codeLimit, Text: "The file is too long for one of paths; the rest was not judged."})
	}
	for _, at := range hookLine.FindAllStringIndex(text, -1) {
		v, does := judgeHook(text[at[0]:at[1]])
		s.issue(p, Issue{
			Rule: "python-hook", Verdict: v, Offset: int64(at[0]), Name: clip(strings.TrimPrefix(text[at[0]:at[1]], "\ufeff")),
			Text: fmt.Sprintf("Python runs this line whenever it starts, if the file lies among its packages: %s.", does),
		})
	}
}

// judgeHook says what a line that runs does.
func judgeHook(line string) (Verdict, string) {
	// Code that stands in the line whole is read as the line is.
	line = hookText.ReplaceAllStringFunc(line, func(call string) string {
		return strings.NewReplacer(`\'`, "'", `\"`, `"`, `\n`, ";").Replace(hookText.FindStringSubmatch(call)[1])
	})
	switch {
	case hookPlain.MatchString(line) && !hookActs.MatchString(line):
		return Unknown, "it imports a module"
	case hookActs.MatchString(line), callsImport(line):
		return Malicious, "it starts programs, runs or unpacks what it is given, reaches files or the network, or imports what does"
	case len(line) > hookLong, hookHides.MatchString(line):
		return Suspicious, "it hides what it does"
	}
	return Unknown, "it imports a module and calls it"
}

// callsImport tells of a call of __import__ that is not for the one module that stands in it.
func callsImport(line string) bool {
	for _, m := range hookImport.FindAllStringSubmatch(line, -1) {
		module := strings.Trim(m[1], "( \t'\")")
		top, _, _ := strings.Cut(module, ".")
		if module == "" || slices.Contains(strings.Split(hookModules, "|"), top) || lethalModules[top] && top != "importlib" && top != "os" && top != "sys" {
			return true
		}
	}
	return false
}
