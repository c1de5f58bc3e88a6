package python

// events are the audit events that are told of, in the order of their numbers, with the arguments that
// are read; a second of 0 is none. The names and arguments are those of
// https://docs.python.org/3/library/audit_events.html.
var events = []struct {
	name          string
	first, second uint32
	limit         uint32 // with different texts, of a process in a second
}{
	{"exec", 0, 0, 32}, // of a code object, which has no text
	{"os.system", 0, 0, 64},
	{"os.exec", 0, 0, 64},
	{"os.posix_spawn", 0, 0, 64},
	{"subprocess.Popen", 0, 0, 64},
	{"socket.connect", 1, 0, 64},
	{"pickle.find_class", 0, 1, 256},
	{"import", 0, 0, 64},
	{"ctypes.dlopen", 0, 0, 64},
}
