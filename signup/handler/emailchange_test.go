package handler_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/service/servicetest"
	"github.com/m3o/backend/signup/service"
)

// Only customers has such mails sent, and an admin.
func TestSendEmailChange(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	const body = `{"email": "a@b.cd", "old_email": "e@f.gh", "token": "TOKEN", "good_for": "60"}`
	reply, err := c.As(servicetest.Service("customers")).JSON(t.Context(), "Signup.SendEmailChange", body)
	require.NoError(t, err)
	require.JSONEq(t, `{}`, reply)
	_, got := core.SendEmailChangeArgsForCall(0)
	require.Equal(t, service.EmailChange{Email: "a@b.cd", OldEmail: "e@f.gh", Token: "TOKEN", GoodFor: 60}, got)
	_, err = c.As(servicetest.Service("billing")).JSON(t.Context(), "Signup.SendEmailChange", body)
	servicetest.RequireError(t, err, 403, "signup.Signup.SendEmailChange", "")
	require.Equal(t, 1, core.SendEmailChangeCallCount())
	core.SendEmailChangeReturns(errors.Invalid("email", "refused"))
	_, err = c.As(servicetest.Admin).JSON(t.Context(), "Signup.SendEmailChange", body)
	servicetest.RequireError(t, err, 400, "signup.Signup.SendEmailChange", "email: refused$")
}
