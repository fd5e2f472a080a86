package process

import (
	"os"
	"time"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/auth/jwt"
	"github.com/micro/micro/v3/util/auth/namespace"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/token"
)

// Account is who calls: a service of the platform.
var Account = token.ServiceAccount("trusted-latest", "trusted")

// CreateKeys makes the platform's keys in a directory and returns a token of Account, as our auth service signs it.
func CreateKeys(dir string) (string, error) {
	if err := token.Create(dir); err != nil {
		return "", err
	}
	signer, err := token.OpenSigner(dir)
	if err != nil {
		return "", err
	}
	text, _, err := signer.Sign(Account, "", token.MaxAccess)
	return text, err
}

// UseAuth makes a child know the platform's keys, and be who the token says.
func UseAuth() error {
	keys, err := token.OpenVerifier(os.Getenv(KeysEnv))
	if err != nil {
		return err
	}
	inner := jwt.NewAuth(auth.Issuer(namespace.DefaultNamespace),
		auth.ClientToken(&auth.AccountToken{AccessToken: os.Getenv(TokenEnv), Expiry: time.Now().Add(time.Hour)}))
	auth.DefaultAuth = access.NewLocal(access.Config{Auth: inner, Inspect: keys.Inspect})
	return nil
}
