package lab

import (
	"fmt"
	"io"
	"os"
)

// RoleEnv is the environment variable by which a lab starts the picket executable in one of the
// parts it plays in an attack.
const RoleEnv = "PICKET_LAB_ROLE"

const (
	roleServer   = "inference-server"
	roleInternet = "internet"
)

// minerMark stands at the end of the executable that the internet hands out as a miner: it tells
// the same program, whatever name the attacker gives it, that it is the miner.
const minerMark = "\n#picket-lab-miner\n"

// Role plays the part named by RoleEnv and returns the process's exit status. The program calls it
// first thing in main when the variable is set, with os.Args.
func Role(name string, args []string) int {
	var err error
	switch {
	case isMiner():
		err = mine(args)
	case isTunnel(args):
		err = tunnel(args)
	case isCurl(args):
		err = curl(args)
	case name == roleServer:
		err = serve(args)
	case name == roleInternet:
		err = internet(os.Stdout)
	default:
		err = fmt.Errorf("%s=%q: want %s or %s; it is set by picket lab, not by hand", RoleEnv, name, roleServer, roleInternet)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, args[0]+":", err)
		return 1
	}
	return 0
}

// isMiner reports whether the running executable carries the miner's mark.
func isMiner() bool {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // it was only read
	if _, err := f.Seek(-int64(len(minerMark)), io.SeekEnd); err != nil {
		return false
	}
	mark, err := io.ReadAll(f)
	return err == nil && string(mark) == minerMark
}

// inSandbox refuses to play a dangerous part outside a lab's container.
func inSandbox() error {
	if _, err := os.Stat(markerPath); err != nil {
		return fmt.Errorf("this part runs in a Picket lab sandbox only: %w", err)
	}
	return nil
}
