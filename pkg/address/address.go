// Package address knows what an address is that mail can be sent to. Whoever takes addresses takes the same ones, and tells
// them apart in the same way.
package address

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/m3o/backend/pkg/errors"
)

const (
	maxAddress = 254 // RFC 5321, 4.5.3.1.3, less the angle brackets
	maxLocal   = 64  // RFC 5321, 4.5.3.1.1
)

// Address is an address that mail can be sent to.
type Address struct {
	// Text is the address with its domain in lower case and in ASCII. The part before the @ is as it was given: whether
	// its case matters is up to whoever receives the mail.
	Text string
	// Key is the same for addresses that differ in nothing but case.
	Key string
}

// Domain is what follows the @, in lower case and in ASCII.
func (a Address) Domain() string { return a.Key[strings.LastIndexByte(a.Key, '@')+1:] }

// domains is how a domain name is made ASCII: as a browser would, and then as strictly as a registry.
var domains = idna.New(
	idna.MapForLookup(),
	idna.BidiRule(),
	idna.CheckJoiners(true),
	idna.StrictDomainName(true),
	idna.ValidateLabels(true),
	idna.VerifyDNSLength(true),
)

// atext are the characters, besides letters and digits, of which a local part consists (RFC 5321, 4.1.2). Quoted local
// parts are legal and not supported: nobody has one who does not want to break something.
const atext = "!#$%&'*+-/=?^_`{|}~"

// Parse checks the address in a field of a request. Its error (400) is for the caller.
func Parse(field, s string) (Address, error) {
	if s == "" {
		return Address{}, errors.Invalid(field, "required")
	}
	if len(s) > maxAddress {
		return Address{}, errors.Invalid(field, "must have at most %d bytes", maxAddress)
	}
	local, domain, ok := strings.Cut(s, "@")
	if !ok || strings.Contains(domain, "@") {
		return Address{}, errors.Invalid(field, "must be an address with exactly one @")
	}
	if len(local) > maxLocal {
		return Address{}, errors.Invalid(field, "must have at most %d bytes before the @", maxLocal)
	}
	if !validLocal(local) {
		return Address{}, errors.Invalid(field, "must have letters, digits, single dots and any of %s before the @", atext)
	}
	ascii, ok := Domain(domain)
	if !ok {
		return Address{}, errors.Invalid(field, "must have a domain name such as example.com after the @")
	}
	a := Address{Text: local + "@" + ascii}
	if len(a.Text) > maxAddress {
		return Address{}, errors.Invalid(field, "must have at most %d bytes with its domain in ASCII", maxAddress)
	}
	a.Key = strings.ToLower(a.Text)
	return a, nil
}

// Domain returns a domain name in lower case and in ASCII; false if no mail can be sent to it from afar.
func Domain(s string) (string, bool) {
	ascii, err := domains.ToASCII(s)
	// ToASCII makes something of bytes that are no text, and not an address that it would take itself.
	return ascii, err == nil && utf8.ValidString(s) && validDomain(ascii)
}

func validLocal(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			if !isAlphanumeric(atom[i]) && strings.IndexByte(atext, atom[i]) < 0 {
				return false
			}
		}
	}
	return true
}

// validDomain checks what a domain name in ASCII has to be besides well-formed, to be sent mail to from afar: one with a
// top-level domain, which is never a number, as the last part of an IP address would be.
func validDomain(s string) bool {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return false
	}
	return strings.Trim(s[i+1:], "0123456789") != ""
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
