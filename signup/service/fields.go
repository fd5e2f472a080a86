package service

import (
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/m3o/backend/pkg/errors"
)

const (
	maxEmail    = 254  // bytes; RFC 5321, 4.5.3.1.3, less the angle brackets
	maxReferrer = 2048 // bytes
)

var validID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

var (
	// epoch is no time that can be given: where times are numbers it is 0, which says nothing.
	epoch = time.Unix(0, 0)
	// maxTime is the last second that can be given. Whoever gives a later one has most likely sent milliseconds.
	maxTime = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// check says what is wrong with what a call says.
func (t Track) check() error {
	if err := checkID("id", t.ID); err != nil {
		return err
	}
	if err := checkEmail("email", t.Email); err != nil {
		return err
	}
	if err := checkTime("first_visit", t.FirstVisit); err != nil {
		return err
	}
	if err := checkTime("first_verification", t.FirstVerification); err != nil {
		return err
	}
	if err := checkTime("registration", t.Registration); err != nil {
		return err
	}
	return checkReferrer("referrer", t.Referrer)
}

func checkID(field, s string) error {
	if s == "" {
		return errors.Invalid(field, "required")
	}
	if !validID.MatchString(s) {
		return errors.Invalid(field, "must have 1 to 64 letters, digits, hyphens and underscores")
	}
	return nil
}

// checkEmail checks an address that is only remembered. Whether mail can be sent to it is a question for whoever does.
func checkEmail(field, s string) error {
	if s == "" {
		return nil
	}
	if len(s) > maxEmail {
		return errors.Invalid(field, "must have at most %d bytes", maxEmail)
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return errors.Invalid(field, "must not contain control characters")
	}
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || domain == "" || strings.Contains(domain, "@") {
		return errors.Invalid(field, "must be an address with exactly one @ and something on both sides of it")
	}
	return nil
}

func checkTime(field string, t time.Time) error {
	if t.IsZero() {
		return nil
	}
	if !t.After(epoch) || t.After(maxTime) {
		return errors.Invalid(field, "must be in seconds since 1970, from 1 to %d, or 0 when it is not known", maxTime.Unix())
	}
	return nil
}

func checkReferrer(field, s string) error {
	if len(s) > maxReferrer {
		return errors.Invalid(field, "must have at most %d bytes", maxReferrer)
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return errors.Invalid(field, "must not contain control characters")
	}
	return nil
}
