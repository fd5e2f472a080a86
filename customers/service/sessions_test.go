package service_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/errors"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

func TestSessions(t *testing.T) {
	t.Parallel()
	r := oneRoom(t)
	jane := r.customer(t, "jane@example.com", service.Active)
	want := []service.LogIn{{ID: "b", Created: start, Used: start, Expires: start}, {ID: "a"}}
	r.accounts.SessionsReturns(want, nil)
	got, err := r.customers.Sessions(t.Context(), strings.ToUpper(jane.ID))
	require.NoError(t, err)
	assert.Equal(t, want, got)
	_, account := r.accounts.SessionsArgsForCall(0)
	assert.Equal(t, jane.ID, account)

	_, err = r.customers.Sessions(t.Context(), "")
	requireError(t, err, errors.KindInvalid, "customer_id: must be the id of a customer")
	_, err = r.customers.Sessions(t.Context(), "0190f8b0-0000-7000-8000-000000000000")
	requireError(t, err, errors.KindNotFound, "customer_id: there is no such customer")
	require.Equal(t, 1, r.accounts.SessionsCallCount())
	r.accounts.SessionsReturns(nil, errAway)
	_, err = r.customers.Sessions(t.Context(), jane.ID)
	require.Equal(t, errAway, err)
}

func TestRevokeSession(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		events := r.told(t, func() { require.NoError(t, r.customers.RevokeSession(as(t.Context(), "admin"), jane.ID, "session")) })
		require.Len(t, events, 1)
		requireEvent(t, &customersevents.Event{
			Type: customersevents.EventType_EventTypeLogout, Customer: inEvent(jane), CallerId: "admin", Logout: &customersevents.Logout{},
		}, events[0])
		_, account, session := r.accounts.EndArgsForCall(0)
		assert.Equal(t, []string{jane.ID, "session"}, []string{account, session})

		r.accounts.EndReturns(errAway)
		events = r.told(t, func() {
			require.Equal(t, errAway, r.customers.RevokeSession(t.Context(), jane.ID, "session"))
			requireError(t, r.customers.RevokeSession(t.Context(), jane.ID, ""), errors.KindInvalid, "id: required")
			for _, id := range []string{strings.Repeat("a", 65), "a\x00"} {
				requireError(t, r.customers.RevokeSession(t.Context(), jane.ID, id), errors.KindInvalid, "id: must be the id of a session")
			}
			requireError(t, r.customers.RevokeSession(t.Context(), "", "a"), errors.KindInvalid, "customer_id: must be the id of a customer")
		})
		require.Empty(t, events)
		require.Equal(t, 2, r.accounts.EndCallCount())
	})
}
