// Package sign signs model directories and checks such signatures, as OpenSSF Model Signing v1.0 says:
// the digests of all files in an in-toto statement, in a DSSE envelope, in a sigstore bundle.
//
// The format is that of https://github.com/sigstore/model-transparency. Keys are on the curves P-256,
// P-384 and P-521. Nothing here reaches the network.
package sign

import "fmt"

// RefusedError is why a signature does not count.
type RefusedError struct{ Reason string }

// Error implements error.
func (r *RefusedError) Error() string { return "the signature does not count: " + r.Reason }

func refuse(format string, args ...any) error { return &RefusedError{fmt.Sprintf(format, args...)} }

// Limits of what is read: a bundle and its lists are somebody else's.
const (
	MaxBundle    = 256 << 20
	MaxResources = 1 << 20
)
