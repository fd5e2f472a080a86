// Package mails is signup as the core of customers sees it: who sends the platform's mails. Calls are made with the service's own
// token, and what signup refuses is an error of pkg/errors.
package mails

import (
	"context"
	stderrors "errors"
	"net/http"
	"strings"
	"time"

	"github.com/micro/micro/v3/service/client"
	microerrors "github.com/micro/micro/v3/service/errors"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/errors"
	pb "github.com/m3o/backend/signup/proto"
)

// Mails asks signup. It is safe for concurrent use.
type Mails struct{ signup pb.SignupService }

var _ service.Mails = (*Mails)(nil)

// New returns the mails that a signup service sends, or an error without a client of it.
func New(signup pb.SignupService) (*Mails, error) {
	if signup == nil {
		return nil, stderrors.New("mails: a client of Signup is missing")
	}
	return &Mails{signup}, nil
}

// SendEmailChange has the mails of a change of an address sent.
func (m *Mails) SendEmailChange(ctx context.Context, mail service.ChangeMail) error {
	_, err := m.signup.SendEmailChange(ctx, &pb.SendEmailChangeRequest{
		Email: mail.Email, OldEmail: mail.OldEmail, Token: mail.Token, GoodFor: int64(mail.GoodFor / time.Second),
	}, client.WithAuthToken())
	if err == nil {
		return nil
	}
	refused, _ := stderrors.AsType[*microerrors.Error](err)
	switch {
	case refused == nil || refused.Code >= 500 || refused.Code == 0 ||
		refused.Code == http.StatusRequestTimeout || refused.Code == http.StatusTooManyRequests:
		return errors.Unavailable("mail cannot be sent at the moment").WithCause(err)
	case refused.Code == http.StatusBadRequest && strings.HasPrefix(refused.Detail, "email: "):
		return errors.Invalid("email", "mail to this address is refused: check it").WithCause(err)
	}
	// Ours to repair: the policy, or the request.
	return stderrors.New("signup refuses the call: " + err.Error())
}
