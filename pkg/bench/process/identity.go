package process

import (
	"os"
	"time"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/auth/jwt"
	microauth "github.com/micro/micro/v3/util/auth"
	"github.com/micro/micro/v3/util/auth/namespace"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/token"
)

// CallerName is the name of the service that calls.
const CallerName = "trusted"

// CallerAccount is who calls.
func CallerAccount() *auth.Account { return token.ServiceAccount(CallerName+"-latest", CallerName) }

// Identities makes the keys of a platform in a directory, and returns the environment in which children know them and
// call as the service of that name, by a token as our auth service signs it.
func Identities(dir string) ([]string, error) {
	if err := token.Create(dir); err != nil {
		return nil, err
	}
	signer, err := token.OpenSigner(dir)
	if err != nil {
		return nil, err
	}
	text, _, err := signer.Sign(CallerAccount(), "", token.MaxAccess)
	return []string{keysEnv + "=" + dir, callerEnv + "=" + text}, err
}

// Token is the token that this child calls with.
func Token() string { return os.Getenv(callerEnv) }

// UseAuth makes this child know the platform's keys, and be who its token says.
func UseAuth() error {
	keys, err := token.OpenVerifier(os.Getenv(keysEnv))
	if err != nil {
		return err
	}
	inner := jwt.NewAuth(auth.Issuer(namespace.DefaultNamespace),
		auth.ClientToken(&auth.AccountToken{AccessToken: Token(), Expiry: time.Now().Add(time.Hour)}))
	auth.DefaultAuth = access.NewLocal(access.Config{Auth: inner, Inspect: keys.Inspect})
	return nil
}

// GrantAll lets everybody through who is let through by the proto, as the rules of a new platform do.
func GrantAll() error {
	for _, rule := range microauth.SystemRules {
		if err := auth.Grant(rule); err != nil {
			return err
		}
	}
	return nil
}
