package prompt

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// What an answer can be said to hold.
const (
	AWSKey        = "aws-key"
	GitHubToken   = "github-token"
	HFToken       = "huggingface-token"
	APIKey        = "api-key" // as OpenAI, Anthropic and others write them: sk-…
	PrivateKey    = "private-key"
	JWT           = "jwt"
	IBAN          = "iban"
	CardNumber    = "card-number"
	MarkdownImage = "markdown-image" // one that carries data away when it is shown
	MarkdownLink  = "markdown-link"
)

// secret is a kind of secret: how it is written, and what must hold of a part written so.
type secret struct {
	name string
	hint string // parts, separated by blanks, of which it holds one: to look for them costs less
	re   *regexp.Regexp
	is   func(string) bool
}

// secrets are made when they are first asked for: most programs of Picket never do.
var secrets = sync.OnceValue(func() []secret {
	return []secret{
		{AWSKey, "AKIA ASIA", regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z2-7]{16}\b`), func(s string) bool { return !strings.HasSuffix(s, "EXAMPLE") && entropy(s) > 3 }},
		{GitHubToken, "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_", regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60,90})\b`), random},
		{HFToken, "hf_", regexp.MustCompile(`\bhf_[A-Za-z0-9]{34}\b`), random},
		{APIKey, "sk-", regexp.MustCompile(`\bsk-(?:proj-|svcacct-|admin-|ant-[a-z0-9]+-)?[A-Za-z0-9_-]{20,}`), func(s string) bool { return random(s) && strings.ContainsAny(s, "0123456789") }},
		{PrivateKey, "PRIVATE", regexp.MustCompile(`-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----(?:\\n|\s)+[A-Za-z0-9+/=:,\-\s\\]{60}`), func(string) bool { return true }},
		{JWT, "eyJ", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{16,}`), isJWT},
		{IBAN, "0 1 2 3 4 5 6 7 8 9", regexp.MustCompile(`\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b`), isIBAN},
		{CardNumber, "0 1 2 3 4 5 6 7 8 9", regexp.MustCompile(`\b(?:\d{4}[ -]?){3}\d{4}\b|\b3[47]\d{2}[ -]?\d{6}[ -]?\d{5}\b`), isCard},
		{MarkdownImage, "](", regexp.MustCompile(`!\[[^\]\n]*\]\(\s*<?https?://[^\s)>]+`), carries},
		{MarkdownLink, "](", regexp.MustCompile(`(?:^|[^!])\[[^\]\n]*\]\(\s*<?https?://[^\s)>]+`), carries},
	}
})

// Answer returns the names of what an answer holds and should not, in the order of the constants.
func Answer(text string) (names []string) {
	text = text[:min(len(text), MaxText)]
	for i := range secrets() {
		s := &secrets()[i]
		if !s.hinted(text) {
			continue
		}
		for _, at := range s.re.FindAllStringIndex(text, 64) {
			if s.is(text[at[0]:at[1]]) {
				names = append(names, s.name)
				break
			}
		}
	}
	return names
}

func (s *secret) hinted(text string) bool {
	for part := range strings.SplitSeq(s.hint, " ") {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

// entropy is that of the characters of s, in bits for each.
func entropy(s string) (bits float64) {
	var n [256]float64
	for i := range len(s) {
		n[s[i]]++
	}
	for _, c := range n {
		if c > 0 {
			bits -= c / float64(len(s)) * math.Log2(c/float64(len(s)))
		}
	}
	return bits
}

// random reports whether a token is drawn by lot rather than an example written by hand.
func random(s string) bool {
	_, body, _ := strings.Cut(strings.Replace(s, "-", "_", 1), "_")
	return entropy(body) >= 3.5
}

func isJWT(s string) bool {
	head, _, _ := strings.Cut(s, ".")
	b, err := base64.RawURLEncoding.DecodeString(head)
	var h struct{ Alg string }
	return err == nil && json.Unmarshal(b, &h) == nil && h.Alg != ""
}

// ibanLength is how long the account numbers of a country are. Source: the registry of ISO 13616.
var ibanLength = map[string]int{
	"AT": 20, "BE": 16, "BG": 22, "CH": 21, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "EE": 20, "ES": 24, "FI": 18, "FR": 27, "GB": 22, "GR": 27,
	"HR": 21, "HU": 28, "IE": 22, "IS": 26, "IT": 27, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27, "MT": 31, "NL": 18, "NO": 15, "PL": 28,
	"PT": 25, "RO": 24, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "AE": 23, "BR": 29, "IL": 23, "SA": 24, "TR": 26, "UA": 29,
}

// isIBAN checks country, length and the check digits: the number, its first four characters put last
// and letters read as 10 to 35, leaves 1 when divided by 97.
func isIBAN(s string) bool {
	s = strings.ReplaceAll(s, " ", "")
	if want := ibanLength[s[:2]]; want == 0 || want > len(s) {
		return false
	}
	s = s[:ibanLength[s[:2]]]
	rest := 0
	for _, c := range []byte(s[4:] + s[:4]) {
		if c >= 'A' {
			rest = (rest*100 + int(c-'A') + 10) % 97
		} else {
			rest = (rest*10 + int(c-'0')) % 97
		}
	}
	return rest == 1
}

// isCard checks who issues such numbers, and their check digit, by Luhn.
func isCard(s string) bool {
	var d []int
	for i := range len(s) {
		if s[i] >= '0' && s[i] <= '9' {
			d = append(d, int(s[i]-'0'))
		}
	}
	if !slices.Contains([]int{3, 4, 5, 6}, d[0]) && (d[0] != 2 || d[1] < 2 || d[1] > 7) {
		return false
	}
	sum := 0
	for i := range d {
		n := d[len(d)-1-i]
		if i%2 == 1 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return sum%10 == 0 && slices.Max(d) != slices.Min(d)
}

// carries reports whether the address of an image or link holds a long encoded value behind its host.
func carries(s string) bool {
	_, url, _ := strings.Cut(s, "://")
	_, path, _ := strings.Cut(url, "/")
	for run := range strings.FieldsFuncSeq(path, func(r rune) bool { return !encoding(r) || r == '/' || r == '=' }) {
		if len(run) >= runFrom && mixed(run) && entropy(run) >= 3 {
			return len(run) >= 2*runFrom || strings.ContainsAny(path, "?")
		}
	}
	return false
}
