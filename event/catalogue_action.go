package event

// actionFields are those of what Picket itself did on a host.
var actionFields = []Info{
	act("action.id", "the act's id, the same for its begin and its end", func(a *Action) *string { return &a.ID }),
	act("action.kind", "what Picket did: freeze, kill, isolate, cut…", func(a *Action) *string { return &a.Kind }),
	act("action.state", "how it came out: done, undone, refused, gone, failed or unknown", func(a *Action) *string { return &a.State }),
	act("action.target", "what was acted on", func(a *Action) *string { return &a.Target }),
	top("action.pid", "", Integer, "process that was acted on, or the first of those",
		func(e *Event) Value {
			if e.Action == nil || e.Action.PID == 0 {
				return Value{}
			}
			return integer(int64(e.Action.PID))
		}, number(func(e *Event, n int64) { e.action().PID = uint32(n) })),
	act("action.by", "who asked for it: a user, or a playbook's policy", func(a *Action) *string { return &a.By }),
	act("action.incident", "incident that it belongs to", func(a *Action) *string { return &a.Incident }),
}

func (e *Event) action() *Action {
	if e.Action == nil {
		e.Action = new(Action)
	}
	return e.Action
}

func act(name, doc string, member func(*Action) *string) Info {
	return part(name, "", doc, func(e *Event) *Action { return e.Action }, (*Event).action, member)
}
