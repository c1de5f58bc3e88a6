package event

import (
	"strings"
)

// fileRows says which file it was.
var fileRows = []Info{
	top("file.path", "TargetFilename", Text, "file's path, resolved by the kernel",
		func(e *Event) Value { return text(e.File.Path) }, func(e *Event, s string) error { e.File.Path = s; return nil }),
	derived(top("file.directory", "", Text, "directory that the file is in",
		func(e *Event) Value {
			i := strings.LastIndexByte(e.File.Path, '/')
			return text(e.File.Path[:max(i, min(i+1, 1))]) // of /a the directory is /
		}, nil), "file.path"),
	derived(top("file.name", "", Text, "last part of the file's path",
		func(e *Event) Value { return text(e.File.Path[strings.LastIndexByte(e.File.Path, '/')+1:]) }, nil), "file.path"),
	top("file.old_path", "SourceFilename", Text, "path before a rename; of a link, what it leads to",
		func(e *Event) Value { return text(e.File.Old) }, func(e *Event, s string) error { e.File.Old = s; return nil }),
	top("file.inode", "", Integer, "inode number",
		func(e *Event) Value { return count(e.File.Ino) }, number(func(e *Event, n int64) { e.File.Ino = uint64(n) })),
	top("file.device", "", Integer, "device number, kernel encoding",
		func(e *Event) Value { return count(e.File.Dev) }, number(func(e *Event, n int64) { e.File.Dev = uint64(n) })),
	top("file.size", "", Integer, "size in bytes when it was opened",
		func(e *Event) Value { return count(e.File.Size) }, number(func(e *Event, n int64) { e.File.Size = n })),
	top("file.mode", "", Integer, "file mode bits",
		func(e *Event) Value { return count(e.File.Mode) }, number(func(e *Event, n int64) { e.File.Mode = uint32(n) })),
	derived(top("file.permissions", "", Text, "permissions in the file's mode, or given to it, as ls -l writes them: rwsr-xr-x",
		func(e *Event) Value { return text(e.File.Permissions()) }, nil), "file.mode"),
	top("file.layer", "", Text, "overlay layer of the file",
		func(e *Event) Value { return text(e.File.Layer.String()) }, func(e *Event, s string) error { e.File.Layer = parseLayer(s); return nil }),
}

func parseLayer(s string) Layer {
	switch s {
	case "lower":
		return LayerLower
	case "upper":
		return LayerUpper
	}
	return LayerNone
}
