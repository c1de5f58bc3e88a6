//go:build race

package detect

// raceEnabled tells that sync.Pool drops at random.
const raceEnabled = true
