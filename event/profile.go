package event

import (
	"strconv"
	"time"
)

// Deviation is the object of a ProfileDeviation: what of a workload, or of who reads its model, is not
// as it is wont to be. What it is about stands in File (programs, libraries, devices, models) or Net
// (destinations).
type Deviation struct {
	Profile    string        // id of the profile; "" where none is needed to judge
	What       string        // one of the Deviant constants
	Value      string        // what was seen
	Usual      string        // what is seen otherwise, in words
	Score      Measure       // of a statistic: how many usual deviations away
	Confidence int64         // percent, of the profile
	Age        time.Duration // for how long the profile has been learned
	Read, Sent Measure       // bytes, of models that left or were copied
}

// What a ProfileDeviation can be about.
const (
	DeviantProgram     = "program"
	DeviantDestination = "destination"
	DeviantModel       = "model"
	DeviantLibrary     = "library"
	DeviantDevice      = "device"
	DeviantGPU         = "gpu"
	DeviantStart       = "start"   // the order of programs as the workload starts
	DeviantVersion     = "version" // another image or model: the profile goes on from the last one
	DeviantRate        = "rate"    // a measure is far from its usual range
	DeviantShift       = "shift"   // a measure has moved by little, for long
	DeviantLeft        = "weights-left"
	DeviantDrip        = "weights-drip" // as weights-left, over a day
	DeviantStaged      = "weights-staged"
	DeviantTunnel      = "dns-tunnel"     // names that are asked for carry data to who registered their domain
	DeviantInstall     = "install-egress" // what a package runs as it is installed connects elsewhere than the installer
	DeviantSetting     = "gpu-setting"    // of a GPU, that was changed
	DeviantOrphan      = "gpu-orphan"     // memory of a GPU that is in use and nobody's
	DeviantErrors      = "gpu-errors"     // corrected errors of a GPU's memory that grow more
	DeviantHours       = "gpu-hours"      // work of a GPU at an hour of the week at which it never works
)

// describe says what deviates, after the name of who did it.
func (d *Deviation) describe(e *Event) string {
	if d == nil {
		d = &Deviation{}
	}
	model := "a model"
	if m := e.File.Model; m != nil {
		model = m.Name
	}
	amounts := strconv.FormatInt(d.Read.N, 10) + " bytes of " + model + " were read"
	switch d.What {
	case DeviantSetting, DeviantOrphan, DeviantErrors, DeviantHours:
		return ": " + d.Value + "; before: " + d.Usual
	case DeviantLeft, DeviantDrip:
		return " sent " + strconv.FormatInt(d.Sent.N, 10) + " bytes to " + d.Value + " after " + amounts
	case DeviantStaged:
		return " wrote " + strconv.FormatInt(d.Sent.N, 10) + " bytes to " + d.Value + " after " + amounts
	case DeviantTunnel:
		return " asked for names below " + d.Value + " that carry " + strconv.FormatInt(d.Sent.N, 10) + " letters of data; usual: " + d.Usual
	case DeviantInstall:
		return " connected to " + d.Value + " as packages were installed; " + d.Usual
	case DeviantVersion:
		return " is another version of its workload: " + d.Value
	}
	s := ": unusual " + d.What + " " + d.Value
	if d.Usual != "" {
		s += "; usual: " + d.Usual
	}
	return s + " (" + strconv.FormatInt(d.Confidence, 10) + " % sure)"
}

// text tells deviations apart.
func (d *Deviation) text() string {
	return d.Profile + "\x00" + d.What + "\x00" + d.Value + "\x00" + strconv.FormatInt(d.Sent.N, 10)
}
