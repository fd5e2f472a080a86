package mails_test

import (
	stderrors "errors"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/client"
	microerrors "github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/customers/service/mails"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/signup/proto/fakes"
)

func TestSendEmailChange(t *testing.T) {
	t.Parallel()
	_, err := mails.New(nil)
	require.EqualError(t, err, "mails: a client of Signup is missing")
	signup := &fakes.FakeSignupService{}
	m, err := mails.New(signup)
	require.NoError(t, err)
	send := func() error {
		return m.SendEmailChange(t.Context(), service.ChangeMail{Email: "a@b.cd", OldEmail: "e@f.gh", Token: "T", GoodFor: time.Minute})
	}
	require.NoError(t, send())
	_, req, opts := signup.SendEmailChangeArgsForCall(0)
	require.Equal(t, "a@b.cd e@f.gh T", req.Email+" "+req.OldEmail+" "+req.Token)
	require.EqualValues(t, 60, req.GoodFor)
	var options client.CallOptions
	for _, o := range opts {
		o(&options)
	}
	require.True(t, options.AuthToken, "the service's own")
	for _, tc := range []struct {
		err  error
		want errors.Kind
	}{
		{&microerrors.Error{Code: 400, Detail: "email: refused"}, errors.KindInvalid},
		{&microerrors.Error{Code: 400, Detail: "token: wrong"}, errors.KindInternal},
		{&microerrors.Error{Code: 403, Detail: "not you"}, errors.KindInternal},
		{&microerrors.Error{Code: 503, Detail: "later"}, errors.KindUnavailable},
		{&microerrors.Error{Code: 408, Detail: "late"}, errors.KindUnavailable},
		{stderrors.New("connection refused"), errors.KindUnavailable},
	} {
		signup.SendEmailChangeReturns(nil, tc.err)
		require.Equal(t, tc.want, errors.KindOf(send()), "%v", tc.err)
	}
}
