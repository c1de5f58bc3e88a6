package node

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
)

// recall restores what was learned before. It reports false where that is there and cannot be read:
// it is learned anew.
func recall(log *slog.Logger, file, what string, restore func([]byte) error) bool {
	b, err := os.ReadFile(file)
	if err == nil {
		err = restore(b)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return true
	}
	log.Error("what was learned cannot be read and is learned anew", "what", what, "file", file, "error", err)
	return false
}

// remember writes down what was learned and returns its size, where it can.
func remember(log *slog.Logger, file, what string, snapshot func() ([]byte, error)) (size int) {
	b, err := snapshot()
	if err == nil {
		err = replaceFile(file, b, 0o600)
	}
	if err != nil {
		log.Warn("what was learned could not be kept", "what", what, "error", err)
	}
	return len(b)
}
