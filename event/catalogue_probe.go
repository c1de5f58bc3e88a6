package event

// cudaFields are what a process did through libcuda.
var cudaFields = []Info{
	cudaText("cuda.call", "function of libcuda that was called, without its version; copies: what was copied in ten minutes; library: a copy of libcuda that was met", func(c *CUDA) *string { return &c.Call }),
	cudaCount("cuda.calls", "of cuda.call copies: how many calls", func(c *CUDA) *uint64 { return &c.Calls }),
	cudaCount("cuda.bytes", "bytes that the process copied from the GPU to the host in ten minutes", func(c *CUDA) *uint64 { return &c.Bytes }),
	cudaCount("cuda.moved", "bytes of copies in ten minutes that do not say which way they go", func(c *CUDA) *uint64 { return &c.Moved }),
	cudaCount("cuda.allocated", "bytes of the GPU's memory that the process has asked for so far", func(c *CUDA) *uint64 { return &c.Allocated }),
	cudaMeasure("cuda.memory", "bytes of the GPU's memory that the process holds, as the driver says", func(c *CUDA) *Measure { return &c.Memory }),
	cudaMeasure("cuda.share", "cuda.bytes in percent of cuda.memory", func(c *CUDA) *Measure { return &c.Share }),
	cudaText("cuda.library", "path of libcuda, as the process has it", func(c *CUDA) *string { return &c.Library }),
	cudaFlag("cuda.library.private", "true where libcuda is not the file that the host's driver brought", func(c *CUDA) *bool { return &c.Private }),
	cudaText("cuda.module.format", "code for the GPU that was loaded: elf, fatbin, ptx, file or unknown", func(c *CUDA) *string { return &c.Module.Format }),
	cudaCount("cuda.module.size", "bytes of that code, where they can be known", func(c *CUDA) *uint64 { return &c.Module.Size }),
	cudaText("cuda.module.digest", "SHA-256 of that code, where it could be read whole", func(c *CUDA) *string { return &c.Module.Digest }),
	cudaText("cuda.module.file", "file that the code is loaded from, as the process names it", func(c *CUDA) *string { return &c.Module.File }),
	cudaFlag("cuda.module.new", "true where nobody had loaded that code with the same executable", func(c *CUDA) *bool { return &c.Module.New }),
	cudaFlag("cuda.module.late", "true where the process had loaded its first code ten minutes ago or more", func(c *CUDA) *bool { return &c.Module.Late }),
	top("cuda.peer.pid", "", Integer, "process that gave the memory away which is taken",
		func(e *Event) Value { return count(e.cuda().Peer.PID) }, number(func(e *Event, n int64) { e.cudaMade().Peer.PID = uint32(n) })),
	cudaFlag("cuda.peer.foreign", "true where that process is of another container", func(c *CUDA) *bool { return &c.Peer.Foreign }),
}

// pythonFields are what a Python interpreter says of itself.
var pythonFields = []Info{
	pythonText("python.event", "audit event of Python: pickle.find_class, os.system, subprocess.Popen, exec, import, ctypes.dlopen, socket.connect…", func(p *Python) *string { return &p.Event }),
	pythonText("python.argument", "its first argument, or both names of pickle.find_class with a dot between, where they could be read", func(p *Python) *string { return &p.Argument }),
}

var noCUDA CUDA

// cuda returns what there is of libcuda, to be read only.
func (e *Event) cuda() *CUDA {
	if e.CUDA == nil {
		return &noCUDA
	}
	return e.CUDA
}

func (e *Event) cudaMade() *CUDA {
	if e.CUDA == nil {
		e.CUDA = new(CUDA)
	}
	return e.CUDA
}

func (e *Event) pythonMade() *Python {
	if e.Python == nil {
		e.Python = new(Python)
	}
	return e.Python
}

func pythonText(name, doc string, member func(*Python) *string) Info {
	return part(name, "", doc, func(e *Event) *Python { return e.Python }, (*Event).pythonMade, member)
}

func cudaText(name, doc string, member func(*CUDA) *string) Info {
	return part(name, "", doc, func(e *Event) *CUDA { return e.CUDA }, (*Event).cudaMade, member)
}

func cudaCount(name, doc string, member func(*CUDA) *uint64) Info {
	return top(name, "", Integer, doc, func(e *Event) Value { return count(*member(e.cuda())) },
		number(func(e *Event, n int64) { *member(e.cudaMade()) = uint64(n) }))
}

func cudaMeasure(name, doc string, member func(*CUDA) *Measure) Info {
	return top(name, "", Integer, doc, func(e *Event) Value { return member(e.cuda()).value() },
		func(e *Event, s string) error { return member(e.cudaMade()).set(s) })
}

func cudaFlag(name, doc string, member func(*CUDA) *bool) Info {
	return top(name, "", Boolean, doc,
		func(e *Event) Value {
			if !*member(e.cuda()) {
				return Value{}
			}
			return boolean(true)
		},
		flag(func(e *Event, b bool) { *member(e.cudaMade()) = b }))
}
