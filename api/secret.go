package api

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// newSecret returns 256 random bits as text.
func newSecret(prefix string) string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return prefix + base64.RawURLEncoding.EncodeToString(b)
}

// hashSecret is what is kept of a secret that newSecret made. It has 256 bits of its own, so a fast
// hash does.
func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// The cost of a password hash: OWASP's second choice, about 20 ms.
const (
	argonTime, argonMemory, argonLanes = 2, 19 * 1024, 1
	minPassword, maxPassword           = 10, 1024
)

// HashPassword returns what to keep of a password: argon2id in PHC form.
func HashPassword(password string) (string, error) {
	if n := len(password); n < minPassword || n > maxPassword {
		return "", fmt.Errorf("%w: a password has %d to %d characters", ErrInvalid, minPassword, maxPassword)
	}
	salt := make([]byte, 16)
	_, _ = rand.Read(salt)
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonLanes, 32)
	enc := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonLanes, enc(salt), enc(key)), nil
}

var errHash = errors.New("not an argon2id hash")

// checkPassword reports whether password is the one that was hashed.
func checkPassword(hash, password string) (bool, error) {
	part := strings.Split(hash, "$")
	if len(part) != 6 || part[1] != "argon2id" {
		return false, errHash
	}
	var memory, passes uint32
	var lanes uint8
	if _, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &memory, &passes, &lanes); err != nil ||
		memory > 1<<20 || passes < 1 || passes > 64 || lanes < 1 {
		return false, errHash
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(part[4])
	want, err2 := base64.RawStdEncoding.DecodeString(part[5])
	if err1 != nil || err2 != nil || len(want) < 16 {
		return false, errHash
	}
	if len(password) > maxPassword {
		return false, nil
	}
	got := argon2.IDKey([]byte(password), salt, passes, memory, lanes, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}
