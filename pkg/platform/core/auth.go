package core

import (
	"errors"
	"fmt"
	"time"

	pb "github.com/micro/micro/v3/proto/auth"
	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/auth/handler"
	"github.com/micro/micro/v3/service/store"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/token"
	"github.com/m3o/backend/pkg/platform/identity"
	"github.com/m3o/backend/pkg/platform/state"
	"github.com/m3o/backend/pkg/service"
)

func serveAuth(srv *service.Service) error {
	if err := store.DefaultStore.Init(store.Table("auth")); err != nil {
		return fmt.Errorf("open the store of accounts: %w", err)
	}
	signer, err := token.OpenSigner(state.Keys())
	if err != nil {
		return err
	}
	root, err := token.LoadRoot(state.Keys())
	if err != nil {
		return err
	}
	verifier, err := token.OpenVerifier(state.Keys())
	if err != nil {
		return err
	}
	accounts, err := identity.New(identity.Config{Store: store.DefaultStore, Signer: signer, Verifier: verifier, Root: root})
	if err != nil {
		return err
	}
	password, err := state.AdminPassword()
	if err != nil {
		return err
	}
	if err := accounts.CreateAdmin(state.Admin, password); err != nil {
		return fmt.Errorf("make the admin's account: %w", err)
	}
	rules := new(handler.Rules)
	rules.Init(auth.Store(store.DefaultStore))
	return errors.Join(accounts.Register(srv.Server()), pb.RegisterRulesHandler(srv.Server(), rules))
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

// Auth returns the auth of a process that runs a core service.
func Auth(name string, client auth.Auth) (auth.Auth, error) {
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
