package identity

import (
	"strings"
	"unicode"
	"unicode/utf8"

	pb "github.com/micro/micro/v3/proto/auth"
	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/util/auth/namespace"

	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/errors"
)

// What an account may have. Secrets are limited by bcrypt, which looks at no more than 72 bytes.
const (
	maxLogin         = 254
	minSecret        = 8
	maxSecret        = 72
	maxScopes        = 20
	maxScope         = 100
	maxMetadata      = 50
	maxMetadataKey   = 40
	maxMetadataValue = 500
)

// createdKey is where an account has when it was made, in seconds since 1970-01-01 UTC, in the metadata.
const createdKey = "created"

// validAccount returns what is wrong with an account to be made, which has its secret in clear.
func validAccount(a *auth.Account) error {
	if err := validLogin("id", a.ID); err != nil {
		return err
	}
	if err := validLogin("name", a.Name); err != nil {
		return err
	}
	if err := validSecret("secret", a.Secret); err != nil {
		return err
	}
	if a.Type != typeUser && a.Type != typeCustomer {
		return errors.Invalid("type", "must be %s or %s", typeUser, typeCustomer)
	}
	if len(a.Scopes) > maxScopes {
		return errors.Invalid("scopes", "at most %d", maxScopes)
	}
	for _, scope := range a.Scopes {
		if scope == "" || len(scope) > maxScope || !plain(scope) {
			return errors.Invalid("scopes", "each must have 1 to %d bytes and no control characters", maxScope)
		}
	}
	return validMetadata(a.Metadata)
}

// validLogin returns what is wrong with an id or a name. A slash is for the ids of what is derived.
func validLogin(field, login string) error {
	if !isLogin(login) {
		return errors.Invalid(field, "must have 1 to %d bytes, no slash and no control characters", maxLogin)
	}
	return nil
}

func isLogin(login string) bool {
	return login != "" && len(login) <= maxLogin && plain(login) && !strings.Contains(login, "/")
}

// validSecret returns what is wrong with a secret to be set.
func validSecret(field, secret string) error {
	if len(secret) < minSecret || !isSecret(secret) {
		return errors.Invalid(field, "must have %d to %d bytes, and no zero bytes", minSecret, maxSecret)
	}
	return nil
}

// isSecret tells whether a secret can be right at all. Of one that is longer bcrypt would look at the beginning only, and
// a zero byte is where it takes a secret to begin again.
func isSecret(secret string) bool {
	return len(secret) <= maxSecret && !strings.ContainsRune(secret, 0)
}

func validMetadata(metadata map[string]string) error {
	if len(metadata) > maxMetadata {
		return errors.Invalid("metadata", "at most %d keys", maxMetadata)
	}
	for key, value := range metadata {
		if n := utf8.RuneCountInString(key); n < 1 || n > maxMetadataKey || utf8.RuneCountInString(value) > maxMetadataValue {
			return errors.Invalid("metadata", "keys must have 1 to %d characters, values at most %d", maxMetadataKey, maxMetadataValue)
		}
		switch key {
		case token.ServiceKey, token.SoldKey, token.GatewayKey, token.SessionKey:
			return errors.Invalid("metadata", "the keys %s, %s, %s and %s are the platform's",
				token.ServiceKey, token.SoldKey, token.GatewayKey, token.SessionKey)
		}
	}
	return nil
}

// plain tells whether a text is UTF-8 without control characters.
func plain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// validNamespace returns an error unless the options are about the platform's own namespace, which is the only one.
func validNamespace(o *pb.Options) error {
	if ns := o.GetNamespace(); ns != "" && ns != namespace.DefaultNamespace {
		return errors.Invalid("options.namespace", "must be %s, or empty", namespace.DefaultNamespace)
	}
	return nil
}
