package kernel

import (
	"encoding/binary"
	"path"

	"picket/event"
)

// howRemoved marks a FileAttr that took the attribute away.
const howRemoved = 2

// fileChange puts in what the kinds from FileLink on say besides. Some of it travels in members of
// the record that mean another thing in other kinds.
func fileChange(e *event.Event, r *typedFileRecord, data [][]byte) {
	f := &e.File
	switch e.Kind {
	case event.FileLink:
		symbolic := f.Mode == modeLink
		switch {
		case symbolic && len(data[3]) > 0 && data[3][0] != '/': // read from where the link is
			f.Old = path.Join(path.Dir(f.Path), string(data[3]))
		case !symbolic && f.Old == "": // linkat with AT_EMPTY_PATH: the descriptor is the file
			f.Old = string(data[2])
		}
	case event.FileChown:
		f.Owner, f.Group, f.Size = uint32(r.Size), uint32(r.Size>>32), 0
	case event.FileAttr:
		f.Attribute, f.Removed, f.Old = string(data[3]), r.How == howRemoved, ""
	case event.FileIO:
		f.Path = string(data[1])
		if len(data[0]) >= 16 {
			f.BytesRead, f.BytesWritten = binary.NativeEndian.Uint64(data[0]), binary.NativeEndian.Uint64(data[0][8:])
		}
	case event.FileMap:
		f.Access = event.Access(r.How & 7)
	}
}

const modeLink = 0o120000
