package kernel

import "strings"

const mask = "***"

// secretNames mark an option or variable whose value must not leave the host.
var secretNames = []string{"token", "passwd", "password", "secret", "api-key", "apikey", "access-key", "private-key", "credential", "auth-key"}

// Redact returns a program's arguments with the values of secrets masked, as events have them.
func Redact(args []string) []string { return redact(args) }

// redact returns args with the values of secrets masked: what follows --token, stands behind
// --api-key= or AWS_SECRET_ACCESS_KEY=, or between ":" and "@" of a URL, and bearer headers.
func redact(args []string) []string {
	out := args
	change := func(i int, s string) {
		if &out[0] == &args[0] {
			out = append([]string(nil), args...)
		}
		out[i] = s
	}
	for i := 0; i < len(args); i++ {
		a := args[i]
		name, value, hasValue := strings.Cut(a, "=")
		switch {
		case hasValue && isSecret(name) && strings.Trim(value, `'"`) == "": // none: that there is none is worth knowing
		case hasValue && isSecret(name) && plainName(name) && (name[0] == '-' || !strings.Contains(value, " ")):
			change(i, name+"="+mask)
		case strings.HasPrefix(a, "-") && !hasValue && isSecret(a) && plainName(a):
			if i+1 < len(args) && !strings.HasPrefix(args[i+1], "--") {
				i++
				change(i, mask)
			}
		default:
			if s := redactInside(a); s != a {
				change(i, s)
			}
		}
	}
	return out
}

func isSecret(name string) bool {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	for _, s := range secretNames {
		i := strings.Index(name, s)
		// "--max-tokens" counts words, "--tokenizer" names one: neither is a secret.
		if i >= 0 && (i+len(s) == len(name) || name[i+len(s)] == '-') {
			return !strings.HasSuffix(name, "-file") && !strings.HasSuffix(name, "-path")
		}
	}
	return false
}

// plainName reports whether s looks like an option or variable, not like a sentence or program.
func plainName(s string) bool {
	return len(s) <= 64 && !strings.ContainsAny(s, " \t\n;(){}'\"/")
}

// redactInside masks a password in a URL, a bearer token in a header, and what redact masks among
// the words of a shell command.
func redactInside(a string) string {
	if i := strings.Index(strings.ToLower(a), "bearer "); i >= 0 {
		a = a[:i+len("bearer ")] + mask + afterWord(a[i+len("bearer "):])
	}
	if i := strings.Index(a, "://"); i >= 0 {
		rest := a[i+3:]
		if at := strings.IndexByte(rest, '@'); at >= 0 && !strings.ContainsAny(rest[:at], "/ \n") {
			if colon := strings.IndexByte(rest[:at], ':'); colon >= 0 {
				a = a[:i+3] + rest[:colon+1] + mask + rest[at:]
			}
		}
	}
	if words := strings.Split(a, " "); len(words) > 1 {
		a = strings.Join(redact(words), " ")
	}
	return a
}

// afterWord returns s from the end of its first word on.
func afterWord(s string) string {
	if i := strings.IndexAny(s, " \t\n'\""); i >= 0 {
		return s[i:]
	}
	return ""
}
