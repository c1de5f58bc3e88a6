package artifact

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

func tarFormat() format {
	return format{"tar", func(head []byte, p *part) bool {
		if len(head) < 512 {
			return false
		}
		_, err := tar.NewReader(p.stream(0)).Next()
		return err == nil || errors.Is(err, tar.ErrInsecurePath)
	}, scanTar}
}

// inTar reports whether a part is a tar of which one member holds all that lies between from and to: an archive
// that ends there is that member, and not the file.
func inTar(p *part, from, to int64) bool {
	in := p.stream(0)
	r := tar.NewReader(in)
	for {
		h, err := r.Next()
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return false
		}
		at, _ := in.Seek(0, io.SeekCurrent)
		if at > to {
			return false
		}
		if h.Typeflag == tar.TypeReg && at <= from && to < at+h.Size {
			return true
		}
	}
}

func scanTar(s *scan, p *part) {
	in := p.stream(0)
	r := tar.NewReader(in)
	for !s.over {
		h, err := r.Next()
		at, _ := in.Seek(0, io.SeekCurrent)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			s.broken(p, at, "tar", err)
			return
		}
		s.outside(p, at, h.Name, "member")
		switch h.Typeflag {
		case tar.TypeLink, tar.TypeSymlink:
			s.outside(p, at, linked(h), "link")
		case tar.TypeReg, tar.TypeGNUSparse:
			// The bytes of a sparse member, as they stand, are what programs without sparse support see.
			m := p.section(h.Name, at, h.Size)
			if h.Name == "pickle" {
				s.is("torch-tar")
			}
			s.nested(m)
		case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
			s.issue(p, Issue{Rule: "archive-device", Verdict: Suspicious, Offset: at, Name: h.Name, Text: fmt.Sprintf("Unpacking it makes a device or pipe %s.", h.Name)})
		}
	}
}

func linked(h *tar.Header) string {
	if h.Typeflag == tar.TypeLink || path.IsAbs(h.Linkname) {
		return h.Linkname
	}
	return path.Join(path.Dir(h.Name), h.Linkname)
}

// outside tells of a name in an archive that leads out of the directory it is unpacked in.
func (s *scan) outside(p *part, off int64, name, what string) {
	slashed := strings.ReplaceAll(name, `\`, "/")
	clean := path.Clean(slashed)
	if !path.IsAbs(slashed) && clean != ".." && !strings.HasPrefix(clean, "../") && (len(slashed) < 2 || slashed[1] != ':') {
		return
	}
	s.issue(p, Issue{
		Rule: "archive-traversal", Verdict: Suspicious, Offset: off, Name: name,
		Text: fmt.Sprintf("A %s leads out of the directory that it is unpacked in: %s.", what, name),
	})
}
