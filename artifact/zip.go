package artifact

import (
	"bytes"
	"cmp"
	"compress/bzip2"
	"compress/flate"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"regexp"
	"slices"
	"strings"
)

func zipFormat() format {
	return format{"zip", func(head []byte, p *part) bool {
		if bytes.HasPrefix(head, []byte("PK\x03\x04")) || bytes.HasPrefix(head, []byte("PK\x05\x06")) {
			return true
		}
		if p.size < endSize { // where only reading to the end tells the size, an archive at the end is no archive to its readers
			return false
		}
		d, err := findDirectory(p, p.size)
		return err == nil && d.count > 0 && !inTar(p, d.lead, d.end)
	}, scanZip}
}

// archive is a ZIP under way.
type archive struct {
	s       *scan
	p       *part
	entries []entry
	torch   bool
	seen    map[string]bool
}

func scanZip(s *scan, p *part) {
	size, err := p.length()
	if err != nil {
		s.broken(p, 0, "zip", err)
		return
	}
	a := &archive{s: s, p: p, seen: map[string]bool{}}
	d, err := findDirectory(p, size)
	if err == nil {
		a.around(d)
		err = d.entries(p, a.add)
	}
	if err != nil { // Python and torch refuse it; who reads it as a stream does not
		s.broken(p, -1, "zip", err)
	}
	a.compare()
	a.ends(d)
	a.duplicates()
	a.hidden(d, size)
	for i, e := range a.entries {
		if s.over || !a.member(i, e) {
			return
		}
	}
}

// length returns the part's size, unpacking all of it where nothing else tells.
func (p *part) length() (int64, error) {
	if p.size < 0 {
		n, err := io.Copy(io.Discard, p.stream(0))
		if err != nil {
			return 0, err
		}
		p.size = n
	}
	return p.size, nil
}

func (a *archive) tell(rule string, v Verdict, off int64, name, reader, format string, args ...any) {
	a.s.issue(a.p, Issue{Rule: rule, Verdict: v, Offset: off, Name: name, Reader: reader, Text: fmt.Sprintf(format, args...)})
}

// around tells of bytes before and behind the archive.
func (a *archive) around(d directory) {
	if d.lead > 0 {
		a.tell("zip-leading", Suspicious, 0, "", "zipfile", "%d bytes stand before the archive: Python's zipfile skips them, torch.load reads the file as what they are.", d.lead)
	}
	if d.tail > 0 {
		a.tell("zip-trailing", Suspicious, d.end, "", "", "%d bytes stand behind the end of the archive.", d.tail)
	}
}

// ends tells of more than one end. Those that stand in a member are its own.
func (a *archive) ends(d directory) {
	n := 0
	for _, at := range d.ends {
		if !slices.ContainsFunc(a.entries, func(e entry) bool { return e.data >= 0 && at >= e.data && at < e.end() }) {
			n++
		}
	}
	if n > 1 || len(d.ends) == endsMost { // those behind so many were not looked at
		a.tell("zip-ends", Suspicious, d.end, "", "", "It has %d end records: readers may choose different ones.", max(n, 2))
	}
}

func (a *archive) add(e entry, _ int64) bool {
	if a.s.members+len(a.entries) >= a.s.o.Limits.Members {
		a.s.stop(a.p, -1, fmt.Sprintf("The archives hold more than %d members.", a.s.o.Limits.Members))
		return false
	}
	a.keep(e)
	return true
}

func (a *archive) keep(e entry) {
	if strings.HasSuffix(e.name, "/data.pkl") || e.name == "data.pkl" {
		a.torch = true
		a.s.is("torch")
	}
	a.entries = append(a.entries, e)
}

// compare sets the central directory beside the local headers, which some readers believe instead.
func (a *archive) compare() {
	for i := range a.entries {
		e := &a.entries[i]
		l, err := local(a.p, e.header)
		if err != nil {
			a.tell("zip-local", Failed, e.header, e.name, "", "%s has no local header: %v.", e.name, err)
			e.data = -1
			continue
		}
		e.data = l.data
		a.s.outside(a.p, e.header, e.name, "member")
		var differ []string
		if l.name != e.name {
			differ = append(differ, fmt.Sprintf("name (%q)", short(l.name)))
		}
		if l.method != e.method {
			differ = append(differ, "method")
		}
		if (l.flags^e.flags)&flagEncrypted != 0 {
			differ = append(differ, "encrypted flag")
		}
		if l.flags&flagDescriptor == 0 && (l.size != e.size || l.packed != e.packed) {
			differ = append(differ, "size")
		}
		if l.flags&flagDescriptor == 0 && l.crc != e.crc {
			differ = append(differ, "checksum")
		}
		if len(differ) > 0 {
			a.tell("zip-headers", Suspicious, e.header, e.name, "", "The local header of %s and the directory differ in %s.", e.name, strings.Join(differ, ", "))
		}
		if e.flags&flagEncrypted != 0 {
			a.tell("zip-encrypted", Suspicious, e.header, e.name, "", "%s claims to be encrypted; it was read as if it were not.", e.name)
		}
	}
}

// duplicates says who reads which of several members with one name.
func (a *archive) duplicates() {
	seen := map[string]int{}
	for _, e := range a.entries {
		if seen[e.name]++; seen[e.name] == 2 {
			a.tell("zip-duplicate", Suspicious, e.header, e.name, "zipfile", "%s stands in it more than once: torch.load reads the first, Python's zipfile the last. All were scanned.", e.name)
		}
	}
}

// hidden finds members that stand in the file and not in the directory, and those that overlap.
func (a *archive) hidden(d directory, size int64) {
	spans := slices.DeleteFunc(slices.Clone(a.entries), func(e entry) bool { return e.data < 0 })
	slices.SortFunc(spans, func(x, y entry) int { return cmp.Compare(x.header, y.header) })
	stop := d.at + d.lead
	if d.size == 0 {
		stop = size
	}
	at, overlaps, found, cut := int64(0), 0, 0, int64(-1)
	for _, e := range append(spans, entry{header: stop, data: stop}) {
		if e.header < at && e.header != stop {
			if overlaps++; overlaps == 1 {
				a.tell("zip-overlap", Suspicious, e.header, e.name, "", "%s overlaps the member before it.", e.name)
			}
		}
		if e.header > at && !a.s.over {
			if found >= hiddenMost || e.header-at > gapMost {
				cut = at
			}
			if found < hiddenMost {
				found += a.gap(at, e.header, d.size > 0)
			}
		}
		at = max(at, e.end())
	}
	if cut >= 0 || found >= hiddenMost {
		a.tell("limit", Failed, cut, "", "", "Between its members lie more than %d bytes, or more than %d members that its directory lacks; the rest was not judged.", gapMost, hiddenMost)
	}
}

const (
	gapMost    = 16 << 20 // bytes between two members that are searched
	hiddenMost = 64       // members outside the directory that are looked at
)

// gap looks for members between from and to, and returns how many it found. Where the directory is gone
// (not listed), that they are missing in it is no news.
func (a *archive) gap(from, to int64, listed bool) (found int) {
	w := newWindow(a.p, from, 64<<10)
	for w.at() < min(to, from+gapMost)-30 && found < hiddenMost {
		b, err := w.take(4)
		if err != nil {
			return found
		}
		at := w.at() - 4
		if string(b) != "PK\x03\x04" {
			w.pos -= 3
			continue
		}
		e, err := local(a.p, at)
		if err != nil || e.data > to {
			continue
		}
		if e.flags&flagDescriptor != 0 || e.packed > to-e.data {
			e.packed = to - e.data
		}
		found++
		if listed {
			a.tell("zip-hidden", Suspicious, at, e.name, "", "%s stands in the file and not in its directory: who reads it as a stream finds it.", e.name)
		}
		a.keep(e)
		w.seek(e.end())
	}
	return found
}

// storage are the tensors of a torch archive, which are read as they are.
var storage = regexp.MustCompile(`(^|/)(data|constants|tensors)/\d+$|(^|/)\.data/|(^|/)(version|byteorder)$`)

// member scans one member.
func (a *archive) member(i int, e entry) bool {
	if e.data < 0 || strings.HasSuffix(e.name, "/") && e.size == 0 {
		return true
	}
	if a.torch && e.method == stored && storage.MatchString(e.name) {
		return true
	}
	name := e.name
	if a.seen[e.name] {
		name = fmt.Sprintf("%s#%d", e.name, i+1)
	}
	a.seen[e.name] = true
	m := a.p.section(name, e.data, e.packed)
	switch e.method {
	case stored:
	case deflated:
		in := io.NewSectionReader(a.p, e.data, e.packed)
		m = a.s.unpack(a.p, name, flate.NewReader(in), func() int64 { at, _ := in.Seek(0, io.SeekCurrent); return at })
	case 12, 14, 93, 95: // Python's zipfile knows the first two and, from 3.14 on, the third
		in := io.NewSectionReader(a.p, e.data, e.packed)
		r, err := a.method(e, in)
		if err != nil {
			a.s.broken(m, 0, "what its method packs", err)
			return true
		}
		m = a.s.unpack(a.p, name, r, func() int64 { at, _ := in.Seek(0, io.SeekCurrent); return at })
	default:
		a.tell("zip-method", Failed, e.header, e.name, "", "%s is packed by method %d, which is not known; it was not judged.", e.name, e.method)
		return true
	}
	a.code(m, e)
	a.checksum(m, e)
	return a.s.nested(m)
}

// method returns what a method that torch does not know unpacks.
func (a *archive) method(e entry, in io.Reader) (io.Reader, error) {
	switch e.method {
	case 12:
		return bzip2.NewReader(in), nil
	case 93:
		return unzstd(in)
	case 95:
		return unxz(in)
	}
	var head [9]byte // two bytes of a version, two of a size, and the properties
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, cutShort(err)
	}
	return rawLZMA(in, string(head[4:]), e.size)
}

const checkedMost = 1 << 20 // bytes of a member whose checksum is verified: pickles, not tensors

func (a *archive) checksum(m *part, e entry) {
	if e.size > checkedMost || e.flags&flagEncrypted != 0 {
		return
	}
	b, ok := m.all(checkedMost)
	switch {
	case a.s.over:
	case !ok:
		a.tell("zip-content", Failed, e.data, e.name, "", "%s cannot be unpacked to its end.", e.name)
	case int64(len(b)) != e.size && e.size >= 0 && e.flags&flagDescriptor == 0 || crc32.ChecksumIEEE(b) != e.crc && e.crc != 0:
		a.tell("zip-checksum", Suspicious, e.data, e.name, "torch.load", "The checksum of %s is wrong: Python refuses it, others load it.", e.name)
	}
}

// scriptCalls finds what TorchScript can do beside arithmetic.
var scriptCalls = regexp.MustCompile(`\b(?:torch|aten)\.?(?:::)?\.?(from_file|save|load)\(|\bops\.([a-zA-Z_]\w*)\.(\w+)|\bprim\.(rpc_\w+)`)

// builtinOps are the families of operators that come with torch and touch nothing but tensors.
var builtinOps = words(`aten prim prims quantized _quantized torchvision torchaudio inductor mkldnn xnnpack prepacked sparse onednn _caffe2 c10d_functional`)

// code looks at a member of TorchScript's code, which runs in torch's own interpreter.
func (a *archive) code(m *part, e entry) {
	if !strings.Contains("/"+e.name, "/code/") || !strings.HasSuffix(e.name, ".py") {
		return
	}
	a.s.is("torchscript")
	b, ok := m.all(blobMost)
	if !ok {
		a.s.broken(m, 0, "TorchScript", errors.New("it is larger than any that is judged"))
		return
	}
	for _, c := range scriptCalls.FindAllSubmatchIndex(b, 1000) {
		text := string(b[c[0]:c[1]])
		i := Issue{Rule: "torchscript-call", Verdict: Suspicious, Offset: int64(c[0]), Name: text, Text: "Its code calls " + text + ", which reads or writes files or the network."}
		if c[4] >= 0 {
			if builtinOps[string(b[c[4]:c[5]])] {
				continue
			}
			i.Verdict, i.Text = Unknown, "Its code calls "+text+", an operator that does not come with torch."
		}
		a.s.issue(m, i)
	}
}
