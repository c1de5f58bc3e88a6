package event

import (
	"cmp"
	"strconv"
)

// CUDA is what a process did through NVIDIA's library libcuda: the object of a CUDACall.
type CUDA struct {
	// Call is the function's name without its version, such as cuModuleLoadData; CUDACopies for what was
	// copied in a while, CUDALibrary for a copy of the library that was met.
	Call string

	// Of CUDACopies, over the last ten minutes.
	Calls     uint64
	Bytes     uint64 // from the GPU to the host
	Moved     uint64 // where the call does not say which way
	Allocated uint64 // asked for since the process was first seen, freed or not
	Memory    Measure
	Share     Measure // Bytes in percent of Memory

	Library string // path of the library, as the process has it
	Private bool   // it is not the file that the host's driver brought

	Module CUDAModule
	Peer   CUDAPeer
}

// CUDAModule is code for the GPU that a process loads.
type CUDAModule struct {
	Format string // elf, fatbin, ptx, file or unknown
	Size   uint64 // 0 where it cannot be known
	Digest string // SHA-256; "" where the code could not be read whole
	File   string // that the process names
	New    bool   // nobody had loaded it with the same executable
	Late   bool   // the process had loaded its first module ten minutes ago or more
}

// CUDAPeer is who gave the memory away that the process takes.
type CUDAPeer struct {
	PID     uint32
	Foreign bool // of another container, or of none where the process has one
}

// Names of CUDA.Call that are no function's.
const (
	CUDACopies  = "copies"
	CUDALibrary = "library"
)

// describe is the sentence about what a process did.
func (c *CUDA) describe(who string) string {
	switch {
	case c.Call == CUDACopies:
		s := who + " copied " + strconv.FormatUint(c.Bytes>>20, 10) + " MiB from the GPU in ten minutes"
		if c.Share.Known {
			s += ", " + strconv.FormatInt(c.Share.N, 10) + " % of what it holds there"
		}
		return s
	case c.Call == CUDALibrary && c.Private:
		return who + " uses a libcuda that is not the driver's: " + c.Library
	case c.Call == CUDALibrary:
		return who + " uses " + c.Library
	case c.Module.Format != "":
		return who + " loaded GPU code (" + cmp.Or(c.Module.File, c.Module.Format) + ") by " + c.Call
	case c.Peer.PID != 0:
		return who + " called " + c.Call + " for memory of process " + strconv.FormatUint(uint64(c.Peer.PID), 10)
	}
	return who + " called " + c.Call
}

// text tells calls apart.
func (c *CUDA) text() string {
	return c.Call + "\x00" + c.Module.Digest + "\x00" + c.Module.File + "\x00" + c.Library + "\x00" +
		strconv.FormatUint(c.Bytes, 10) + "\x00" + strconv.FormatUint(uint64(c.Peer.PID), 10)
}

// Python is an audit event of a Python interpreter: the object of a PythonAudit.
type Python struct {
	Event    string // as Python names it: pickle.find_class
	Argument string // the first, or the two names of pickle.find_class with a dot between; "" where it could not be read
}

// probed tells apart what probes saw; "" is of other events.
func (e *Event) probed() string {
	switch {
	case e.CUDA != nil:
		return e.CUDA.text()
	case e.Python != nil:
		return e.Python.Event + "\x00" + e.Python.Argument
	}
	return ""
}

func (p *Python) describe(who string) string {
	if p.Argument == "" {
		return who + " did " + p.Event + " in Python"
	}
	return who + " did " + p.Event + " in Python: " + p.Argument
}
