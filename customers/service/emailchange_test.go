package service_test

import (
	stderrors "errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/errors"
)

// token is that of the last mail.
func (r *room) token(t *testing.T) string {
	t.Helper()
	_, m := r.mails.SendEmailChangeArgsForCall(r.mails.SendEmailChangeCallCount() - 1)
	return m.Token
}

func TestEmailChange(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		events := r.told(t, func() {
			require.NoError(t, r.customers.RequestEmailChange(t.Context(), jane.ID, "Joan@example.com"))
		})
		require.Empty(t, events)
		_, mail := r.mails.SendEmailChangeArgsForCall(0)
		require.Equal(t, service.ChangeMail{Email: "Joan@example.com", OldEmail: jane.Email, Token: mail.Token, GoodFor: time.Hour}, mail)
		require.Equal(t, jane, r.read(t, jane.ID), "only asked for")
		require.NoError(t, r.customers.SendMails(t.Context()))
		r.clock.Turn(time.Minute)
		require.NoError(t, r.customers.SendMails(t.Context()))
		require.Equal(t, 1, r.mails.SendEmailChangeCallCount(), "they were sent")

		_, err := r.customers.ConfirmEmailChange(t.Context(), jane.ID, "WRONG")
		requireError(t, err, errors.KindInvalid, "token: is not good")
		failure := stderrors.New("no outbox")
		r.outbox.AddReturns(failure)
		_, err = r.customers.ConfirmEmailChange(t.Context(), jane.ID, mail.Token)
		require.ErrorIs(t, err, failure)
		require.Equal(t, jane, r.read(t, jane.ID), "wholly or not at all")
		r.outbox.AddReturns(nil)
		for i := range 2 {
			events = r.told(t, func() {
				got, err := r.customers.ConfirmEmailChange(t.Context(), jane.ID, mail.Token)
				require.NoError(t, err)
				require.Equal(t, "Joan@example.com", got.Email)
				require.Equal(t, jane.Version+1, got.Version)
			})
			require.Len(t, events, 1-i, "once")
		}
		_, err = r.customers.Read(t.Context(), service.Ref{Email: jane.Email})
		requireError(t, err, errors.KindNotFound, "email: ")
		// What was changed back is not changed again by the same token.
		_, err = r.customers.Update(t.Context(), service.Change{ID: jane.ID, Email: &jane.Email})
		require.NoError(t, err)
		_, err = r.customers.ConfirmEmailChange(t.Context(), jane.ID, mail.Token)
		requireError(t, err, errors.KindInvalid, "token: is not good")
	})
}

// An attempt that has failed, before or after its mail went out, is made again, with a token of its own.
func TestEmailChangeIsBrokenOff(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		r.mails.SendEmailChangeReturns(errAway)
		require.NoError(t, r.customers.RequestEmailChange(t.Context(), jane.ID, "joan@example.com"))
		lost := r.token(t)
		require.NoError(t, r.customers.SendMails(t.Context()), "not yet")
		r.clock.Turn(30 * time.Second)
		requireError(t, r.customers.SendMails(t.Context()), errors.KindUnavailable, "")
		r.mails.SendEmailChangeReturns(nil)
		r.clock.Turn(30 * time.Second)
		require.NoError(t, r.customers.SendMails(t.Context()))
		require.Equal(t, 3, r.mails.SendEmailChangeCallCount())
		_, err := r.customers.ConfirmEmailChange(t.Context(), jane.ID, lost)
		requireError(t, err, errors.KindInvalid, "token: is not good")
		_, err = r.customers.ConfirmEmailChange(t.Context(), jane.ID, r.token(t))
		require.NoError(t, err)
	})
}

func TestEmailChangeRefused(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane, joe := r.customer(t, "jane@example.com", service.Active), r.customer(t, "joe@example.com", service.Active)
		ask := func(email string) error { return r.customers.RequestEmailChange(t.Context(), jane.ID, email) }
		confirm := func(token string) error {
			_, err := r.customers.ConfirmEmailChange(t.Context(), jane.ID, token)
			return err
		}
		notGood := func(token, why string) { requireError(t, confirm(token), errors.KindInvalid, "token: is not good") }
		requireError(t, ask("joan"), errors.KindInvalid, "email: ")
		requireError(t, confirm(""), errors.KindInvalid, "token: required")
		notGood("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "none was sent")

		require.NoError(t, ask("JOE@example.com"), "the answer does not tell whose it is")
		require.Empty(t, r.token(t))
		require.NoError(t, ask("joan@example.com"))
		first := r.token(t)
		require.NoError(t, ask("jill@example.com"))
		notGood(first, "replaced")
		second := r.token(t)
		require.NoError(t, ask(jane.Email))
		notGood(second, "withdrawn")
		require.NoError(t, ask("jill@example.com"))
		third := r.token(t)
		_, err := r.customers.ConfirmEmailChange(t.Context(), joe.ID, third)
		requireError(t, err, errors.KindInvalid, "token: is not good")
		create(t, r.customers, "jill@example.com", "")
		requireError(t, confirm(third), errors.KindConflict, "email: another customer has this address")
		for range 5 {
			notGood("WRONG", "tried")
		}
		notGood(third, "too many were tried")
		require.NoError(t, ask("joan@example.com"))
		requireError(t, ask("joan@example.com"), errors.KindTooMany, "too many changes of the address were asked for: try again in 3600 seconds")
		r.clock.Turn(time.Hour)
		notGood(r.token(t), "expired")
		require.Equal(t, jane, r.read(t, jane.ID))
		require.NoError(t, ask("joan@example.com"), "another hour")
		r.clock.Turn(2 * time.Hour)
		require.NoError(t, r.customers.SweepChanges(t.Context()))
		require.NoError(t, calls["Ban"](r.customers, t.Context(), jane.ID))
		requireError(t, ask("joan@example.com"), errors.KindConflict, "status: is banned")
	})
}
