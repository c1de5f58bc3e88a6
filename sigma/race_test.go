//go:build race

package sigma_test

// raceEnabled tells that sync.Pool drops at random and everything is slow.
const raceEnabled = true
