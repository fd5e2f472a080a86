package server

import (
	"context"
	"fmt"
	"net/http"

	pb "github.com/micro/micro/v3/proto/auth"
	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/util/auth/namespace"

	"github.com/m3o/backend/pkg/platform/state"
)

// createAdmin makes the operator's account, with a password that nobody knows who cannot read the state directory. Micro's
// own would have a well-known one. An account that is there is left as it is: its password may have been changed.
func createAdmin(ctx context.Context) error {
	password, err := state.AdminPassword()
	if err != nil {
		return err
	}
	_, err = pb.NewAuthService("auth", client.DefaultClient).Generate(ctx, &pb.GenerateRequest{
		Id: state.Admin, Type: "user", Scopes: []string{"admin"}, Secret: password,
		Options: &pb.Options{Namespace: namespace.DefaultNamespace},
	}, client.WithAuthToken())
	// Micro answers 400 for an account that exists; nothing else about this request can be wrong.
	if err != nil && errors.FromError(err).Code != http.StatusBadRequest {
		return fmt.Errorf("make the admin's account: %w", err)
	}
	return nil
}
