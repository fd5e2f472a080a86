package service

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/errors"
)

const (
	maxName      = 256 // characters
	maxMeta      = 50  // keys
	maxMetaKey   = 40  // characters
	maxMetaValue = 500 // characters
	maxReason    = 500 // characters
)

// key returns the column that a reference is looked up in, and the value to look for.
func (r Ref) key() (column, value string, err error) {
	switch {
	case (r.ID == "") == (r.Email == ""):
		return "", "", errors.Invalid("id", "give either id or email")
	case r.ID != "":
		id, err := parseID("id", r.ID)
		return "id", id, err
	default:
		a, err := parseAddress("email", r.Email)
		return "email_key", a.key, err
	}
}

// parseID checks a customer's id in a field of a request and returns it as it is kept.
func parseID(field, s string) (string, error) { return parseUUID(field, "a customer", s) }

// parseKeyID is parseID for a key's id.
func parseKeyID(field, s string) (string, error) { return parseUUID(field, "a key", s) }

func parseUUID(field, what, s string) (string, error) {
	// Other ways to write a UUID are not ours.
	if len(s) != len(uuid.Nil.String()) || uuid.Validate(s) != nil {
		return "", errors.Invalid(field, "must be the id of %s, a UUID such as %s", what, uuid.Nil)
	}
	return strings.ToLower(s), nil
}

// checkName checks a name and returns it without the space around it.
func checkName(field, s string) (string, error) {
	s = strings.TrimSpace(s)
	if utf8.RuneCountInString(s) > maxName {
		return "", errors.Invalid(field, "must have at most %d characters", maxName)
	}
	// The last code point is no character, and List relies on that nobody uses it.
	if strings.ContainsFunc(s, unicode.IsControl) || strings.Contains(s, afterAll) {
		return "", errors.Invalid(field, "must not contain control characters")
	}
	return s, nil
}

// checkMeta checks what an operator wants to remember and returns it as it is kept: nil when it is empty.
func checkMeta(field string, meta map[string]string) (map[string]string, error) {
	if len(meta) == 0 {
		return nil, nil
	}
	if len(meta) > maxMeta {
		return nil, errors.Invalid(field, "must have at most %d keys", maxMeta)
	}
	for k, v := range meta {
		if n := utf8.RuneCountInString(k); n == 0 || n > maxMetaKey || strings.ContainsFunc(k, unicode.IsControl) {
			return nil, errors.Invalid(field, "each key must have 1 to %d characters, no control characters", maxMetaKey)
		}
		if utf8.RuneCountInString(v) > maxMetaValue {
			return nil, errors.Invalid(field, "each value must have at most %d characters", maxMetaValue)
		}
		if strings.ContainsFunc(v, unprintable) {
			return nil, errors.Invalid(field, "each value must have no control characters but newlines and tabs")
		}
	}
	return meta, nil
}

// checkText checks a text of several lines.
func checkText(field, s string, most int) error {
	if utf8.RuneCountInString(s) > most {
		return errors.Invalid(field, "must have at most %d characters", most)
	}
	if strings.ContainsFunc(s, unprintable) {
		return errors.Invalid(field, "must have no control characters but newlines and tabs")
	}
	return nil
}

func unprintable(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }

// checkStatus checks a status that is given by name.
func checkStatus(field string, s Status) error {
	switch s {
	case AwaitingVerification, Verified, Active, Inactive, Banned:
		return nil
	}
	return errors.Invalid(field, "must be one of %s, %s, %s, %s, %s",
		AwaitingVerification, Verified, Active, Inactive, Banned)
}

func conflictDeleted(field string) error {
	return errors.Conflict(field, "belongs to a customer that is deleted: give that customer another status by Update first")
}
