package prompt

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// What the arguments of a call can be said to be about.
const (
	Shell   = "shell"   // a command for a shell
	Outside = "outside" // a destination outside that the user did not name
	Secret  = "secret"  // a key or token of a known form
	Carried = "carried" // what came in by a tool or document before
)

// shellTools are names, or parts of names between separators, of tools that run what they are given.
var shellTools = []string{"bash", "sh", "shell", "terminal", "exec", "execute", "command", "cmd", "powershell", "subprocess", "zsh"}

// shellWords are expressions that hold a command of a shell.
var shellWords = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?:^|[\s"'` + "`" + `;&|(])(?:/(?:usr/)?bin/)?(?:(?:ba|da|z)?sh -c\b|curl -|curl https?:|wget -|wget https?:|rm -r|chmod \+?[0-7x]|nc -|bash -i|base64 -d|sudo |python3? -c\b|cat /etc/|powershell -)` +
		`|\|\s*(?:ba|z)?sh\b|\$\([a-z]|>&\s*/dev/tcp/`)
})

// RunsShell reports whether a call of a tool hands a command to a shell: by what the tool is called, or
// by its arguments.
func RunsShell(tool, arguments string) bool {
	for part := range strings.FieldsFuncSeq(strings.ToLower(tool), func(r rune) bool { return r == '_' || r == '-' || r == '.' || r == ' ' || r == '/' }) {
		if slices.Contains(shellTools, part) {
			return true
		}
	}
	return shellWords().MatchString(arguments[:min(len(arguments), MaxText)])
}

// destination is where a call sends to: an address of the web, or of mail.
type destination struct {
	host  string
	whole string // as it was written
}

var addresses = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`https?://[^\s"'<>\\)\]}` + "`" + `]+|[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+`)
})

// destinations returns the places outside that a text names, at most 32.
func destinations(text string) (out []destination) {
	for _, whole := range addresses().FindAllString(text[:min(len(text), MaxText)], 64) {
		host := whole
		if _, rest, ok := strings.Cut(whole, "://"); ok {
			host, _, _ = strings.Cut(rest, "/")
			host, _, _ = strings.Cut(host, "?")
			if i := strings.LastIndexByte(host, '@'); i >= 0 {
				host = host[i+1:]
			}
			if i := strings.LastIndexByte(host, ':'); i > 0 && !strings.HasSuffix(host, "]") {
				host = host[:i]
			}
		}
		if host = strings.ToLower(host); !within(host) && len(out) < 32 {
			out = append(out, destination{host, whole})
		}
	}
	return out
}

// within reports whether a host is one of the own network, by its name or address.
func within(host string) bool {
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()
	}
	name := host[strings.LastIndexByte(host, '@')+1:]
	if !strings.Contains(name, ".") {
		return true
	}
	for _, end := range []string{".internal", ".local", ".localdomain", ".svc", ".lan", ".corp", ".intranet", ".home.arpa"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// hasSecret reports whether a text holds a key or token: not an account, a card, or a link.
func hasSecret(text string) bool {
	return slices.ContainsFunc(Answer(text), func(name string) bool { return IsKey(name) })
}

// IsKey reports whether a kind of secret opens something.
func IsKey(name string) bool {
	switch name {
	case AWSKey, GitHubToken, HFToken, APIKey, PrivateKey, JWT:
		return true
	}
	return false
}
