package client

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/util/auth/namespace"
	"github.com/micro/micro/v3/util/auth/token"
	"github.com/micro/micro/v3/util/auth/token/jwt"
)

// Admin is the account of an operator.
var Admin = &auth.Account{ID: "admin", Issuer: namespace.DefaultNamespace, Type: "user", Scopes: []string{"admin"}}

// Customer is the account of the customer of an id.
func Customer(id string) *auth.Account {
	return &auth.Account{ID: id, Issuer: namespace.DefaultNamespace, Type: "customer"}
}

// Issue makes a token of any account, as whoever can read the state directory can: no RPC lets a customer log in yet.
func (c *Client) Issue(account *auth.Account, expiry time.Duration) (string, error) {
	key, err := os.ReadFile(filepath.Join(c.State, "id_rsa"))
	if err != nil {
		return "", fmt.Errorf("read the platform's key: %w", err)
	}
	issued, err := jwt.NewTokenProvider(token.WithPrivateKey(strings.TrimSpace(string(key)))).
		Generate(account, token.WithExpiry(expiry))
	if err != nil {
		return "", fmt.Errorf("issue a token: %w", err)
	}
	return issued.Token, nil
}
