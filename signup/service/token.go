package service

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"

	"github.com/m3o/backend/pkg/address"
	"github.com/m3o/backend/pkg/errors"
)

// purpose is what a token is good for.
type purpose string

const (
	forVerification purpose = "verify"
	forReset        purpose = "reset"
)

const (
	minSecret = 8  // bytes; the auth service's own limits
	maxSecret = 72 // bytes; bcrypt looks at no more
)

var (
	// errToken does not say what is wrong with a token: whether there is one, whether it was good once, and whose.
	errToken = errors.Invalid("token", "is not good, or not any more: ask for another one")
	// errClaimed is for whoever comes second.
	errClaimed = errors.Conflict("token", "is being used by another call: try again in a few seconds")
	// errUnusable is for somebody who has proven the address.
	errUnusable = errors.Forbidden("this address cannot be used: ask the operator of the platform")
)

// newToken returns a token that nobody can guess: 26 letters and digits, which are 130 bits.
func newToken() string { return rand.Text() }

var validToken = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// parseToken returns a token as it was made: mail programs and people add spaces, and change the case.
func parseToken(s string) (string, error) {
	const generous = 100
	if len(s) > generous {
		return "", errToken
	}
	s = strings.ToUpper(strings.TrimSpace(s))
	if !validToken.MatchString(s) {
		return "", errToken
	}
	return s, nil
}

// hash is what is kept of a token. It is another one for another address and another purpose.
func (p purpose) hash(addressKey, token string) string {
	return digest(string(p) + "\x00" + addressKey + "\x00" + token)
}

// keyOf is what is kept of an address.
func keyOf(a address.Address) string { return digest(a.Key) }

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// checkSecret says what is wrong with a password to be set, in the field of a request. The auth service would refuse the same,
// but after the token was looked at.
func checkSecret(field, s string) error {
	if len(s) < minSecret || len(s) > maxSecret || strings.ContainsRune(s, 0) {
		return errors.Invalid(field, "must have %d to %d bytes, and no zero bytes", minSecret, maxSecret)
	}
	return nil
}
