package event

import "strconv"

// fileFields are what the ways to a file besides an open say of it.
var fileFields = []Info{
	derived(top("file.link", "", Text, "of a link that was made: hard or symbolic",
		func(e *Event) Value {
			switch {
			case e.Kind != FileLink:
				return Value{}
			case e.File.Mode&modeType == modeLink:
				return text("symbolic")
			}
			return text("hard")
		}, nil), "file.mode"),
	top("file.owner", "", Integer, "user id that a file was given to",
		func(e *Event) Value { return e.owner(e.File.Owner) }, number(func(e *Event, n int64) { e.File.Owner = uint32(n) })),
	top("file.group", "", Integer, "group id that a file was given to",
		func(e *Event) Value { return e.owner(e.File.Group) }, number(func(e *Event, n int64) { e.File.Group = uint32(n) })),
	top("file.attribute", "", Text, "name of an extended attribute that was set or removed, such as security.capability",
		func(e *Event) Value { return text(e.File.Attribute) }, func(e *Event, s string) error { e.File.Attribute = s; return nil }),
	top("file.attribute_removed", "", Boolean, "true where the extended attribute was removed",
		func(e *Event) Value {
			if e.Kind != FileAttr {
				return Value{}
			}
			return boolean(e.File.Removed)
		}, flag(func(e *Event, b bool) { e.File.Removed = b })),
	top("file.access", "", Text, "what a mapping of the file allows, as in /proc/PID/maps: r-x",
		func(e *Event) Value { return text(e.File.Access.String()) },
		func(e *Event, s string) error { e.File.Access = parseAccess(s); return nil }),
	top("file.bytes_read", "", Integer, "bytes that the process has read of the file so far",
		func(e *Event) Value { return count(e.File.BytesRead) }, number(func(e *Event, n int64) { e.File.BytesRead = uint64(n) })),
	top("file.bytes_written", "", Integer, "bytes that the process has written to the file so far",
		func(e *Event) Value { return count(e.File.BytesWritten) }, number(func(e *Event, n int64) { e.File.BytesWritten = uint64(n) })),
	derived(top("", "ImageLoaded", Text, "file that was mapped to be run, or module that the kernel was given",
		func(e *Event) Value {
			switch {
			case e.Kind == FileMap:
				return text(e.File.Path)
			case e.Kind == HostModule && e.Call != nil:
				return text(e.Call.Module)
			}
			return Value{}
		}, nil), "file.path or module.path"),
}

const (
	modeType = 0o170000
	modeLink = 0o120000
)

func (e *Event) owner(id uint32) Value {
	if e.Kind != FileChown || id == NoOwner {
		return Value{}
	}
	return integer(int64(id))
}

// Access is what a mapping of a file allows: bits of mmap's prot.
type Access uint8

// The bits of an Access.
const (
	AccessRead Access = 1 << iota
	AccessWrite
	AccessExec
)

// String returns the three letters of /proc/PID/maps, "" for none.
func (a Access) String() string {
	if a == 0 {
		return ""
	}
	b := []byte("---")
	for i, c := range []byte("rwx") {
		if a&(1<<i) != 0 {
			b[i] = c
		}
	}
	return string(b)
}

func parseAccess(s string) (a Access) {
	for i := range min(len(s), 3) {
		if s[i] == "rwx"[i] {
			a |= 1 << i
		}
	}
	return a
}

// describe says what was done to a file, after the name of who did it.
func (f *File) describe(k Kind, object string) string {
	switch k {
	case FileLink:
		return "linked " + object + " to " + f.Old
	case FileMkdir:
		return "made the directory " + object
	case FileTruncate:
		return "cut " + object + " to " + strconv.FormatInt(f.Size, 10) + " bytes"
	case FileChown:
		return "changed the owner of " + object + " to " + ownerName(f.Owner) + ":" + ownerName(f.Group)
	case FileAttr:
		if f.Removed {
			return "removed the attribute " + f.Attribute + " of " + object
		}
		return "set the attribute " + f.Attribute + " of " + object
	case FileMap:
		return "mapped " + object + " " + f.Access.String()
	}
	return "has read " + strconv.FormatUint(f.BytesRead, 10) + " and written " + strconv.FormatUint(f.BytesWritten, 10) + " bytes of " + object
}

func ownerName(id uint32) string {
	if id == NoOwner {
		return ""
	}
	return strconv.FormatUint(uint64(id), 10)
}
