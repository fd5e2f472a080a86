package service

import (
	"strings"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/errors"
)

// parseID checks a customer's id in a field of a request and returns it as it is kept.
func parseID(field, s string) (string, error) {
	if s == "" {
		return "", errors.Invalid(field, "required")
	}
	// Other ways to write a UUID are not ours.
	if len(s) != len(uuid.Nil.String()) || uuid.Validate(s) != nil {
		return "", errors.Invalid(field, "must be the id of a customer, a UUID such as %s", uuid.Nil)
	}
	return strings.ToLower(s), nil
}
