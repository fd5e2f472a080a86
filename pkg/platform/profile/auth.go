package profile

import (
	"time"

	"github.com/micro/micro/v3/service/auth"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/platform/state"
)

// authOf returns the auth of a process that runs a core service.
func authOf(name string, client auth.Auth) (auth.Auth, error) {
	keys, err := token.OpenVerifier(state.Keys())
	if err != nil {
		return nil, err
	}
	config := access.Config{Auth: client, Inspect: keys.Inspect, Unruled: true, Eager: name == "registry"}
	if name == "auth" {
		config.Login = selfLogin
	}
	return access.NewLocal(config), nil
}

// selfLogin logs the auth service itself in: it is the one that would be asked.
func selfLogin(id, secret string) (*auth.AccountToken, error) {
	root, err := token.LoadRoot(state.Keys())
	if err != nil {
		return nil, err
	}
	account, err := root.Account(id, secret)
	if err != nil {
		return nil, err
	}
	signer, err := token.OpenSigner(state.Keys())
	if err != nil {
		return nil, err
	}
	text, expiry, err := signer.Sign(account, "", token.MaxAccess)
	if err != nil {
		return nil, err
	}
	return &auth.AccountToken{AccessToken: text, Created: time.Now(), Expiry: expiry}, nil
}
