package event

// Action is the object of an ActionDone: what Picket did, or ended, on whose word.
type Action struct {
	ID       string // of the request
	Kind     string // freeze, kill, isolate…
	State    string // done, undone, refused, gone, failed or unknown
	Target   string // what was acted on, in words
	PID      uint32 // of the process that was, where it was one
	By       string // user or "policy:NAME"
	Incident string // that it belongs to
}

// describe says what was done, and how it came out.
func (a *Action) describe() string {
	if a == nil {
		a = &Action{}
	}
	return a.Kind + " of " + a.Target + " for " + a.By + " is " + a.State
}
