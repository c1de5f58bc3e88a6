package falco

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// errnos are the error names that conditions compare evt.res with.
var errnos = map[string]int{
	"EPERM": 1, "ENOENT": 2, "EINTR": 4, "EIO": 5, "EBADF": 9, "EAGAIN": 11, "ENOMEM": 12, "EACCES": 13, "EBUSY": 16, "EEXIST": 17,
	"ENOTDIR": 20, "EISDIR": 21, "EINVAL": 22, "EMFILE": 24, "ENOSPC": 28, "EROFS": 30, "ELOOP": 40, "ECONNRESET": 104,
	"ENETUNREACH": 101, "ETIMEDOUT": 110, "ECONNREFUSED": 111, "EHOSTUNREACH": 113, "EALREADY": 114, "EINPROGRESS": 115,
}

// modeBits are the patterns of file.permissions in which a bit is set.
var modeBits = map[string][]string{
	"S_IRUSR": {"r*"}, "S_IWUSR": {"?w*"}, "S_IXUSR": {"??x*", "??s*"}, "S_ISUID": {"??s*", "??S*"},
	"S_IRGRP": {"???r*"}, "S_IWGRP": {"????w*"}, "S_IXGRP": {"?????x*", "?????s*"}, "S_ISGID": {"?????s*", "?????S*"},
	"S_IROTH": {"??????r*"}, "S_IWOTH": {"*w?"}, "S_IXOTH": {"*x", "*t"}, "S_ISVTX": {"*t", "*T"},
}

// fact answers comparisons of what the log source itself says, of the result of the call, and of
// fields whose values are settled. It reports false where the comparison is of something else.
func (s *source) fact(c *check, neg bool) (*cond, bool) {
	if len(c.change) > 0 || c.other != nil || c.hasArg {
		return nil, false
	}
	texts := make([]string, len(c.values))
	for i, v := range c.values {
		texts[i] = v.text
	}
	settled := func(value string) (*cond, bool) {
		return constant(c.op == "exists" || len(texts) > 0 && evaluate(c.op, value, texts)), true
	}
	switch c.field {
	case "evt.type":
		if c.op == "=" || c.op == "!=" || c.op == "in" || c.op == "intersects" {
			return constant(s.selects(c, neg)), true
		}
		return settled(s.types[0])
	case "evt.dir":
		return settled("<")
	case "evt.source":
		return settled("syscall")
	case "evt.num":
		return count(c.op, texts)
	}
	if s.family == foreign {
		return nil, false
	}
	switch c.field {
	case "evt.is_open_write":
		return settled(strconv.FormatBool(s.name == "write"))
	case "evt.is_open_read":
		return settled(strconv.FormatBool(s.name == "read"))
	case "evt.is_open_exec":
		if s.name == "write" {
			return s.opensProgram(c.op, texts)
		}
		return settled("false")
	case "fd.num":
		if (s.family == network || s.family == local) && (c.op == ">=" || c.op == ">") && len(texts) == 1 && (texts[0] == "0" || texts[0] == "-1") {
			return always, true // there is a socket, whatever became of the call
		}
		return s.outcome(c, texts)
	case "evt.rawres", "evt.res", "evt.failed":
		return s.outcome(c, texts)
	case "fd.name":
		return s.socketName(c, texts)
	case "fd.typechar", "fd.type", "fd.sockfamily":
		return s.objectType(c, texts)
	case "evt.arg.mode":
		if s.name == "chmod" && c.op == "contains" && modeBits[texts[0]] != nil {
			return &cond{op: isLeaf, leaf: &leaf{field: "file.permissions", mods: []string{"cased"}, values: modeBits[texts[0]]}}, true
		}
	case "evt.arg.flags":
		creates := (c.op == "contains" || c.op == "=") && texts[0] == "O_CREAT"
		if creates && s.name == "read" {
			return never, true // an open that makes the file is a write
		}
		if creates && s.name == "write" {
			return &cond{op: isLeaf, leaf: &leaf{field: "event.kind", values: []string{"file.create"}}}, true
		}
	}
	return nil, false
}

// count compares the number of an event, which begins at 1. Only what holds of every number or of
// none is settled.
func count(op string, texts []string) (*cond, bool) {
	n, err := strconv.ParseInt(strings.Join(texts, ","), 0, 64)
	if err != nil {
		return nil, false
	}
	switch {
	case n <= 0 && (op == ">" || op == ">=" || op == "!="), n == 1 && op == ">=":
		return always, true
	case n <= 0 && (op == "<" || op == "<=" || op == "=" || op == "in"), n == 1 && op == "<":
		return never, true
	}
	return nil, false
}

// opensProgram tells whether an open made a file that may be run.
func (s *source) opensProgram(op string, texts []string) (*cond, bool) {
	want, ok := truth(texts)
	if !ok || op != "=" && op != "!=" {
		return nil, false
	}
	var runs []string
	for _, bit := range []string{"S_IXUSR", "S_IXGRP", "S_IXOTH"} {
		runs = append(runs, modeBits[bit]...)
	}
	made := both(
		&cond{op: isLeaf, leaf: &leaf{field: "event.kind", values: []string{"file.create"}}},
		&cond{op: isLeaf, leaf: &leaf{field: "file.permissions", mods: []string{"cased"}, values: runs}},
	)
	if want != (op == "=") {
		made = negate(made)
	}
	return made, true
}

// outcome compares the result of a call: here the error number, which is absent where it worked.
func (s *source) outcome(c *check, texts []string) (*cond, bool) {
	descriptor := c.field == "fd.num"
	if len(texts) != 1 || descriptor && (s.family != opened || s.name == "chmod") {
		return nil, false
	}
	const field = "event.errno"
	worked, failed := absent(field), exists(field)
	text := texts[0]
	n, err := strconv.Atoi(text)
	switch {
	case c.field == "evt.failed":
		want, ok := truth(texts)
		if !ok || c.op != "=" && c.op != "!=" {
			return nil, false
		}
		return map[bool]*cond{true: failed, false: worked}[want == (c.op == "=")], true
	case c.field == "evt.res":
		return outcomeName(c.op, text)
	case err != nil:
		return nil, false
	case c.op == ">=" && n == 0, c.op == ">" && n == -1, c.op == "!=" && n == -1 && descriptor:
		return worked, true
	case c.op == "<" && n == 0, c.op == "<=" && n == -1, c.op == "=" && n == -1 && descriptor:
		return failed, true
	case c.field == "evt.rawres" && s.family != opened && n == 0 && c.op == "=":
		return worked, true
	case c.field == "evt.rawres" && n < 0 && c.op == "=":
		return &cond{op: isLeaf, leaf: &leaf{field: field, values: []string{strconv.Itoa(-n)}, tag: "!!int"}}, true
	}
	return nil, false
}

// outcomeName compares the name of a result: SUCCESS, or that of an error.
func outcomeName(op, text string) (*cond, bool) {
	const field = "event.errno"
	number, known := errnos[text]
	switch {
	case op == "=" && text == "SUCCESS", op == "!=" && text == "E":
		return absent(field), true
	case op == "!=" && text == "SUCCESS", op == "startswith" && text == "E":
		return exists(field), true
	case known && op == "=":
		return &cond{op: isLeaf, leaf: &leaf{field: field, values: []string{strconv.Itoa(number)}, tag: "!!int"}}, true
	case known && op == "!=":
		return negate(&cond{op: isLeaf, leaf: &leaf{field: field, values: []string{strconv.Itoa(number)}, tag: "!!int"}}), true
	}
	return nil, false
}

// Falco's name of a connection: 10.0.0.1:34567->10.0.0.2:443. What holds another letter is in none,
// and what is of these letters alone, with a number, is about no path.
var (
	notOfAddresses = regexp.MustCompile(`[^0-9a-f.:>*?-]`)
	ofAddresses    = regexp.MustCompile(`^[0-9a-f.:>*?-]*[0-9:>][0-9a-f.:>*?-]*$`)
)

// socketName settles comparisons of a connection's name that are meant for the other sort: for a
// path where both ends have addresses, or for addresses where the socket is one of the host.
func (s *source) socketName(c *check, texts []string) (*cond, bool) {
	other := ofAddresses.MatchString
	if s.family == network {
		other = func(t string) bool {
			return notOfAddresses.MatchString(t) && t != "<NA>" && t != "N/A" && t != "/" && !strings.Contains(t, "[")
		}
	}
	if s.family != network && s.family != local || c.op == "regex" || slices.ContainsFunc(texts, func(t string) bool { return !other(t) }) {
		return nil, false
	}
	return constant(c.op == "!=" || c.op == "exists"), s.family == network || c.op != "exists"
}

// objectType compares what a descriptor stands for. File events are about files, network events
// about IPv4 and IPv6, or about sockets of the host.
func (s *source) objectType(c *check, texts []string) (*cond, bool) {
	if c.op == "!=" {
		equal := *c
		equal.op = "="
		k, ok := s.objectType(&equal, texts)
		if !ok {
			return nil, false
		}
		if s.family == process || s.family == named {
			return never, true // there is no descriptor
		}
		return negate(k), true
	}
	if c.op != "=" && c.op != "in" && c.op != "exists" {
		return nil, false
	}
	switch s.family {
	case opened:
		file := map[string]string{"fd.typechar": "f", "fd.type": "file"}[c.field]
		return constant(file != "" && (c.op == "exists" || slices.Contains(texts, file))), true
	case local:
		socket := map[string]string{"fd.typechar": "u", "fd.type": "unix", "fd.sockfamily": "unix"}[c.field]
		return constant(c.op == "exists" || slices.Contains(texts, socket)), true
	case network:
		end := "net.remote.ip"
		if s.name == "listen" || s.name == "bind" {
			end = "net.local.ip"
		}
		var kids []*cond
		for _, t := range texts {
			switch t {
			case "4", "ipv4":
				kids = append(kids, &cond{op: isLeaf, leaf: &leaf{field: end, mods: []string{"cidr"}, values: []string{everyIPv4}}})
			case "6", "ipv6":
				kids = append(kids, &cond{op: isLeaf, leaf: &leaf{field: end, mods: []string{"cidr"}, values: []string{everyIPv6}}})
			case "ip":
				kids = append(kids, always)
			}
		}
		if c.op == "exists" {
			return always, true
		}
		return either(kids...), true
	}
	return never, true
}
