package event

// workloadRows says what the process works for, and which model a file is of.
var workloadRows = []Info{
	cont("container.id", "ContainerId", "container id", func(c *Container) *string { return &c.ID }),
	cont("container.runtime", "", "container runtime", func(c *Container) *string { return &c.Runtime }),
	cont("k8s.pod.uid", "PodUid", "Kubernetes pod", func(c *Container) *string { return &c.PodUID }),

	work("ai.workload.id", "identity of the AI workload", func(w *Workload) *string { return &w.ID }),
	work("ai.workload.kind", "inference, training, notebook or agent", func(w *Workload) *string { return (*string)(&w.Kind) }),
	work("ai.workload.engine", "vllm, triton, ollama, torchrun…", func(w *Workload) *string { return &w.Engine }),
	work("ai.workload.name", "what people call the workload", func(w *Workload) *string { return &w.Name }),
	top("ai.workload.root", "", Boolean, "true where the process is the recognised server or job itself",
		func(e *Event) Value {
			if e.Process == nil || e.Process.Workload == nil {
				return Value{}
			}
			return boolean(e.root == yes || e.root == unsaid && e.Process.Workload.Root == e.Process.Key())
		},
		flag(func(e *Event, b bool) { e.process().workload(); e.root = said(b) })),
	top("ai.workload.member", "", Boolean, "true where the process is the recognised server or job itself or one of its own workers",
		func(e *Event) Value {
			if e.Process == nil || e.Process.Workload == nil {
				return Value{}
			}
			return boolean(e.member == yes || e.member == unsaid && e.Process.Member())
		},
		flag(func(e *Event, b bool) { e.process().workload(); e.member = said(b) })),
	top("ai.workload.child", "", Boolean, "true where the server or job, or one of its workers, started the process as another program",
		func(e *Event) Value {
			if e.Process == nil || e.Process.Workload == nil {
				return Value{}
			}
			p := e.Process
			return boolean(e.child == yes || e.child == unsaid && p.Parent != nil && p.Parent.Member() && !p.Member())
		},
		flag(func(e *Event, b bool) { e.process().workload(); e.child = said(b) })),
	mod("ai.model.path", "model directory that the file belongs to", func(m *Model) *string { return &m.Path }),
	mod("ai.model.name", "model name", func(m *Model) *string { return &m.Name }),
	mod("ai.model.format", "format of the file: safetensors, gguf, pickle…", func(m *Model) *string { return &m.Format }),
	top("ai.model.dataset", "", Boolean, "true where the directory holds data, and not a model",
		func(e *Event) Value {
			if e.File.Model == nil {
				return Value{}
			}
			return boolean(e.File.Model.Dataset)
		}, flag(func(e *Event, b bool) { e.model().Dataset = b })),
	mod("ai.model.workload", "id of the workload that serves or trains it", func(m *Model) *string { return &m.Workload }),
	top("ai.model.stranger", "", Boolean, "true where the process is neither the model's own server or job nor one of its workers",
		func(e *Event) Value {
			if e.File.Model == nil {
				return Value{}
			}
			return boolean(e.Stranger())
		},
		flag(func(e *Event, b bool) { e.model(); e.stranger = said(b) })),
}

// Stranger reports whether the event's file belongs to a model and its process does not: it is
// outside the workload that owns the model, or below its root but started as another program
// than the root (a shell that a server spawned is a stranger to the server's weights).
func (e *Event) Stranger() bool {
	m, p := e.File.Model, e.Process
	if e.stranger != unsaid || m == nil || p == nil {
		return e.stranger == yes
	}
	if m.Workload == "" || p.Workload == nil || p.Workload.ID != m.Workload {
		return true
	}
	return !p.Member()
}

// answer is what a recorded event says of a field that a live one derives.
type answer int8

const (
	unsaid answer = iota
	yes
	no
)

func said(b bool) answer {
	if b {
		return yes
	}
	return no
}

func (e *Event) model() *Model {
	if e.File.Model == nil {
		e.File.Model = new(Model)
	}
	return e.File.Model
}

func (p *Process) workload() *Workload {
	if p.Workload == nil {
		p.Workload = &Workload{ID: "workload"}
	}
	return p.Workload
}

func (p *Process) container() *Container {
	if p.Container == nil {
		p.Container = new(Container)
	}
	return p.Container
}

func cont(name, sigma, doc string, member func(*Container) *string) Info {
	of := func(e *Event) *Container {
		if e.Process == nil {
			return nil
		}
		return e.Process.Container
	}
	return part(name, sigma, doc, of, func(e *Event) *Container { return e.process().container() }, member)
}

func work(name, doc string, member func(*Workload) *string) Info {
	of := func(e *Event) *Workload {
		if e.Process == nil {
			return nil
		}
		return e.Process.Workload
	}
	return part(name, "", doc, of, func(e *Event) *Workload { return e.process().workload() }, member)
}

func mod(name, doc string, member func(*Model) *string) Info {
	return part(name, "", doc, func(e *Event) *Model { return e.File.Model }, (*Event).model, member)
}
