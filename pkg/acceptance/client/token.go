package client

import (
	"fmt"
	"path/filepath"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/util/auth/namespace"

	"github.com/m3o/backend/pkg/auth/token"
)

// Admin is the account of an operator.
var Admin = &auth.Account{ID: "admin", Issuer: namespace.DefaultNamespace, Type: "user", Scopes: []string{"admin"}}

// Customer is the account of the customer of an id.
func Customer(id string) *auth.Account {
	return &auth.Account{ID: id, Issuer: namespace.DefaultNamespace, Type: "customer"}
}

// Issue makes a token of any account, as whoever can read the state directory can.
func (c *Client) Issue(account *auth.Account) (string, error) {
	signer, err := token.OpenSigner(filepath.Join(c.State, "keys"))
	if err != nil {
		return "", fmt.Errorf("read the platform's key: %w", err)
	}
	issued, _, err := signer.Sign(account, "", token.MaxAccess)
	return issued, err
}
