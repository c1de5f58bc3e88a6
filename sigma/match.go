package sigma

// Match calls hit with each rule that ev fires, each once, in the order of Rules. It does not
// allocate unless a rule fires.
func (e *Engine) Match(ev Event, hit func(*Rule)) {}
