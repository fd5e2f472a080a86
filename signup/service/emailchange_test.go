package service_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/signup/service"
)

const changeToken = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// Both addresses get a mail, and only the new one the token.
func TestSendEmailChange(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setup(t, db)
		change := service.EmailChange{Email: "joan@example.com", OldEmail: jane, Token: changeToken, GoodFor: 3599}
		require.NoError(t, w.SendEmailChange(t.Context(), change))
		require.Len(t, w.mails, 2)
		require.Equal(t, jane, w.mails[0].To)
		require.NotContains(t, w.mails[0].Text+w.mails[0].HTML, changeToken)
		require.NotContains(t, w.mails[0].Text+w.mails[0].HTML, "joan")
		require.Equal(t, "joan@example.com", w.mails[1].To)
		require.Contains(t, w.mails[1].Text, changeToken)
		require.Contains(t, w.mails[1].Text, "59 minutes")

		change.Token = ""
		require.NoError(t, w.SendEmailChange(t.Context(), change))
		require.Contains(t, w.mails[3].Text, "another account")
		for range 5 { // five in an hour to the new address, and always one to the old
			require.NoError(t, w.SendEmailChange(t.Context(), change))
		}
		to := make(map[string]int)
		for _, m := range w.mails {
			to[m.To]++
		}
		require.Equal(t, map[string]int{jane: 7, "joan@example.com": 5}, to)
	})
}

func TestSendEmailChangeRefused(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		w := setup(t, db)
		good := service.EmailChange{Email: "joan@example.com", OldEmail: jane, Token: changeToken, GoodFor: 60}
		for field, spoil := range map[string]func(*service.EmailChange){
			"email": func(c *service.EmailChange) { c.Email = "joan" }, "old_email": func(c *service.EmailChange) { c.OldEmail = "" },
			"token": func(c *service.EmailChange) { c.Token = "17" }, "good_for": func(c *service.EmailChange) { c.GoodFor = 0 },
		} {
			bad := good
			spoil(&bad)
			err := w.SendEmailChange(t.Context(), bad)
			require.Equal(t, errors.KindInvalid, errors.KindOf(err))
			require.True(t, strings.HasPrefix(err.Error(), field+": "), "%v", err)
		}
		require.Empty(t, w.mails)
		for address, want := range map[string]errors.Kind{jane: 0, good.Email: errors.KindInvalid} {
			w.mailer.SendStub = func(_ context.Context, m service.Mail) error {
				if m.To == address {
					return errors.Invalid("to", "refused")
				}
				return nil
			}
			require.Equal(t, want, errors.KindOf(w.SendEmailChange(t.Context(), good)), address)
		}
		w.mailer.SendStub = func(context.Context, service.Mail) error { return errors.Unavailable("away") }
		require.Equal(t, errors.KindUnavailable, errors.KindOf(w.SendEmailChange(t.Context(), good)))
	})
}
