package service

import (
	"context"
	stderrors "errors"
	"fmt"
	"net/http"

	authpb "github.com/micro/micro/v3/proto/auth"
	"github.com/micro/micro/v3/service/client"
	microerrors "github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/util/auth/namespace"

	customerspb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/pkg/errors"
)

// statusActive is the status of a customer who may log in, and statusBanned of one whom an operator has banned.
const (
	statusActive = "active"
	statusBanned = "banned"
	// statusInactive is the status of a customer who is deleted.
	statusInactive = "inactive"
)

// accountType is the type of customers' accounts.
const accountType = "customer"

// remote are the services that signup needs, called as signup itself and not as whoever calls signup.
type remote struct {
	customers customerspb.CustomersService
	auth      authpb.AuthService
	accounts  authpb.AccountsService
}

// customer is what signup has to know of one.
type customer struct{ id, status, email string }

func of(c *customerspb.Customer) customer {
	return customer{id: c.GetId(), status: c.GetStatus(), email: c.GetEmail()}
}

// create returns the customer of an address, who is a new one if there was none.
func (r remote) create(ctx context.Context, email string) (customer, error) {
	rsp, err := r.customers.Create(ctx, &customerspb.CreateRequest{Email: email}, client.WithAuthToken())
	switch code(err) {
	case 0:
		return of(rsp.GetCustomer()), nil
	case http.StatusConflict:
		return customer{status: statusInactive}, nil
	default:
		return customer{}, failed("create a customer", err)
	}
}

// read returns the customer of an address; none, without a status, if there is none.
func (r remote) read(ctx context.Context, email string) (customer, error) {
	rsp, err := r.customers.Read(ctx, &customerspb.ReadRequest{Email: email}, client.WithAuthToken())
	switch code(err) {
	case 0:
		return of(rsp.GetCustomer()), nil
	case http.StatusNotFound:
		return customer{}, nil
	default:
		return customer{}, failed("read a customer", err)
	}
}

// markVerified says that an address is proven, and returns its customer.
func (r remote) markVerified(ctx context.Context, email string) (customer, error) {
	rsp, err := r.customers.MarkVerified(ctx, &customerspb.MarkVerifiedRequest{Email: email}, client.WithAuthToken())
	switch code(err) {
	case 0:
		return of(rsp.GetCustomer()), nil
	case http.StatusNotFound:
		return customer{}, errToken // the address is somebody's no longer
	case http.StatusConflict:
		return customer{}, errUnusable
	default:
		return customer{}, failed("mark a customer verified", err)
	}
}

// activate completes a signup.
func (r remote) activate(ctx context.Context, id string) error {
	_, err := r.customers.Activate(ctx, &customerspb.ActivateRequest{Id: id}, client.WithAuthToken())
	switch code(err) {
	case 0:
		return nil
	case http.StatusNotFound, http.StatusConflict:
		return errUnusable
	default:
		return failed("activate a customer", err)
	}
}

var errCredentials = errors.Unauthenticated("the password is another one")

// logIn returns an access token; errCredentials when the password is not the account's.
func (r remote) logIn(ctx context.Context, email, secret string) (string, error) {
	rsp, err := r.customers.Login(ctx, &customerspb.LoginRequest{Email: email, Password: secret}, client.WithAuthToken())
	switch code(err) {
	case 0:
		return rsp.GetToken().GetAccessToken(), nil
	case http.StatusUnauthorized:
		return "", errCredentials
	default:
		return "", failed("log in", err)
	}
}

var house = &authpb.Options{Namespace: namespace.DefaultNamespace}

// makeAccount makes a customer's account, and tells whether it did: there may be one, of an attempt that was broken off.
func (r remote) makeAccount(ctx context.Context, id, secret string) (bool, error) {
	_, err := r.auth.Generate(ctx, &authpb.GenerateRequest{
		Id: id, Name: id, Type: accountType, Secret: secret, Options: house,
	}, client.WithAuthToken())
	switch code(err) {
	case 0:
		return true, nil
	case http.StatusConflict:
		return false, nil
	default:
		return false, failed("make an account", err)
	}
}

// changeSecret gives an account another password, which ends its sessions, and tells whether there is one.
func (r remote) changeSecret(ctx context.Context, id, secret string) (bool, error) {
	_, err := r.accounts.ChangeSecret(ctx, &authpb.ChangeSecretRequest{Id: id, NewSecret: secret, Options: house}, client.WithAuthToken())
	switch code(err) {
	case 0:
		return true, nil
	case http.StatusNotFound:
		return false, nil
	default:
		return false, failed("change a secret", err)
	}
}

// code is that of a call's error; 0 when there is none.
func code(err error) int32 {
	if err == nil {
		return 0
	}
	if e, ok := stderrors.AsType[*microerrors.Error](err); ok {
		return e.Code
	}
	return http.StatusInternalServerError
}

// failed translates the error of another service for our caller, to whom it would be about a call that they have not made.
func failed(what string, err error) error {
	// Never wrapped: a refusal of ours by another service is no refusal of our caller.
	switch code(err) {
	case http.StatusTooManyRequests:
		return errors.TooMany("too many are signing up or logging in: try again in a few seconds")
	case http.StatusRequestTimeout, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return errors.Unavailable("something that this needs is away: try again in a moment").WithCause(fmt.Errorf("%s: %s", what, err.Error()))
	default:
		return fmt.Errorf("%s: %s", what, err.Error())
	}
}
