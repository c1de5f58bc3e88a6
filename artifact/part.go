package artifact

import "io"

// part is one thing that is scanned: the file, or a member of an archive in it.
type part struct {
	io.ReaderAt        // bytes of the part; what is compressed is unpacked as far as it is read
	size        int64  // -1 where only reading to the end tells
	name        string // for messages: the members from the outside in, joined by !
	depth       int
}

// base returns the part's own name, the last of name.
func (p *part) base() string {
	for i := len(p.name) - 1; i >= 0; i-- {
		if p.name[i] == '/' || p.name[i] == '!' {
			return p.name[i+1:]
		}
	}
	return p.name
}
