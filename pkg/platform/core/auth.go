package core

import (
	"errors"
	"fmt"

	pb "github.com/micro/micro/v3/proto/auth"
	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/auth/handler"
	"github.com/micro/micro/v3/service/store"

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
