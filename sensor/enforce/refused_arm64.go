package enforce

// changingHere are calls that other processors do not have.
var changingHere map[uint32]bpfChangingCall
