package artifact

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"io"
	"strings"
)

// loaders load the bytes that they are handed.
var loaders = map[string]bool{
	"torch.storage._load_from_bytes": true, "pickle.loads": true, "_pickle.loads": true, "pickle._loads": true, "dill.loads": true, "dill._dill.loads": true, "cloudpickle.loads": true,
	"torch.load": true, "joblib.load": true, "pickle.load": true, "_pickle.load": true, "numpy.load": true, "torch.serialization.load": true,
	"marshal.loads": true, "builtins.eval": true, "builtins.exec": true, "pandas.read_pickle": true,
}

// wrappers return what they are handed, as far as a loader cares.
var wrappers = map[string]bool{
	"io.BytesIO": true, "_io.BytesIO": true, "builtins.bytes": true, "builtins.bytearray": true, "builtins.memoryview": true, "io.BufferedReader": true,
}

// decoders are the functions whose result on literal bytes is worth a look.
var decoders = map[string]func([]byte) (io.Reader, error){
	"base64.b64decode":          plain64,
	"base64.standard_b64decode": plain64,
	"base64.decodebytes":        plain64,
	"binascii.a2b_base64":       plain64,
	"base64.urlsafe_b64decode": func(b []byte) (io.Reader, error) {
		return base64.NewDecoder(base64.URLEncoding, bytes.NewReader(b)), nil
	},
	"base64.b16decode":       func(b []byte) (io.Reader, error) { return plain16(bytes.ToLower(b)) },
	"binascii.unhexlify":     plain16,
	"binascii.a2b_hex":       plain16,
	"builtins.bytes.fromhex": plain16,
	"zlib.decompress":        func(b []byte) (io.Reader, error) { return zlib.NewReader(bytes.NewReader(b)) },
	"gzip.decompress":        func(b []byte) (io.Reader, error) { return gzip.NewReader(bytes.NewReader(b)) },
	"bz2.decompress":         func(b []byte) (io.Reader, error) { return bzip2.NewReader(bytes.NewReader(b)), nil },
	"lzma.decompress":        func(b []byte) (io.Reader, error) { return unxz(bytes.NewReader(b)) },
}

func plain64(b []byte) (io.Reader, error) {
	return base64.NewDecoder(base64.StdEncoding, bytes.NewReader(b)), nil
}

func plain16(b []byte) (io.Reader, error) { return hex.NewDecoder(bytes.NewReader(b)), nil }

// unwrap follows bytes through wrappers and decoders into what loads them.
func (m *machine) unwrap(full string, args []value) (value, bool) {
	if m.trial || len(args) == 0 {
		return 0, false
	}
	if wrappers[full] {
		return args[0], args[0].kind() != isOther && args[0].kind() != isGlobal
	}
	if loaders[full] {
		m.load(full, args[0])
		return 0, false
	}
	decode, ok := decoders[full]
	if !ok || m.blobbed > blobMost {
		return 0, false
	}
	c := m.content(args[0], full)
	if c == nil {
		return 0, false
	}
	in, ok := c.all(blobMost)
	if !ok {
		return 0, false
	}
	r, err := decode(in)
	if err != nil {
		return 0, false
	}
	out, _ := io.ReadAll(io.LimitReader(r, blobMost)) // what came before an error counts
	m.blobbed += len(out)
	m.s.unpacked += int64(len(out))
	m.blobs = append(m.blobs, out)
	return pack(isBlob, uint64(len(m.blobs)-1)), true
}

// load scans the bytes that a pickle hands to a loader.
func (m *machine) load(full string, v value) {
	c := m.content(v, full[strings.LastIndexByte(full, '.')+1:])
	if c != nil {
		m.s.opcodes, m.steps = m.s.opcodes+m.steps, 0 // the inner machine counts on
		m.s.nested(c)
		return
	}
	if g := m.byName[full]; m.globals[g.num()].verdict == Clean {
		m.tell(Issue{
			Rule: "pickle-dynamic-load", Verdict: Suspicious, Name: full,
			Text: "Loading it loads bytes that are made while loading, so they were not judged.",
		})
	}
}
