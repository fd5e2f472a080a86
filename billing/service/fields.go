package service

import (
	stderrors "errors"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/errors"
)

const (
	maxKey     = 64      // bytes of an idempotency key
	maxWebhook = 1 << 20 // bytes of a webhook's body; Stripe's are some kilobytes
)

var (
	validCardID   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)
	validKey      = regexp.MustCompile(`^[ -~]{1,64}$`)
	validAPI      = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	validEndpoint = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{0,63}$`)
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

func checkTierID(field, s string) error {
	if s == "" {
		return errors.Invalid(field, "required")
	}
	if !validTierID.MatchString(s) {
		return errors.Invalid(field, "must be the id of a tier: 1 to 32 small letters, digits and hyphens, the first a letter")
	}
	return nil
}

func checkCardID(field, s string) error {
	if s == "" {
		return errors.Invalid(field, "required")
	}
	if !validCardID.MatchString(s) {
		return errors.Invalid(field, "must be the id of a card: at most 255 letters, digits, underscores and hyphens")
	}
	return nil
}

func checkKey(field, s string) error {
	if s == "" {
		return errors.Invalid(field, "required")
	}
	if !validKey.MatchString(s) {
		return errors.Invalid(field, "must have 1 to %d printable ASCII characters", maxKey)
	}
	return nil
}

func asError(err error) (*errors.Error, bool) { return stderrors.AsType[*errors.Error](err) }

func noSuchCard(field string) error { return errors.NotFound(field, "there is no such card") }
