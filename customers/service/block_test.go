package service_test

import (
	stderrors "errors"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/errors"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

func TestBlockKey(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		key, text := r.generate(t, jane.ID)
		_, otherText := r.generate(t, jane.ID)
		ctx := as(t.Context(), "admin")
		// told does something twice, of which once has an effect.
		told := func(f func() error) *customersevents.Event {
			t.Helper()
			events := r.told(t, func() {
				require.NoError(t, f())
				require.NoError(t, f())
			})
			require.Len(t, events, 1)
			return events[0]
		}
		want := &customersevents.Event{
			Type: customersevents.EventType_EventTypeBlockKey, Customer: inEvent(jane), CallerId: "admin",
		}
		for _, message := range []string{"Top up your balance", "Melde dich: früh 😀"} {
			want.BlockKey = &customersevents.BlockKey{ApiKeyId: key.ID, Message: message}
			requireEvent(t, want, told(func() error { return r.keys.Block(ctx, jane.ID, key.ID, " "+message+"\n") }))
			got, err := r.keys.Verify(t.Context(), text)
			require.NoError(t, err)
			assert.Equal(t, message, got.Blocked)
			list, err := r.keys.List(t.Context(), jane.ID)
			require.NoError(t, err)
			assert.Equal(t, message, list[1].Blocked)
			assert.Empty(t, list[0].Blocked)
		}
		other, err := r.keys.Verify(t.Context(), otherText)
		require.NoError(t, err)
		assert.Empty(t, other.Blocked)
		_, _, err = r.keys.Rotate(t.Context(), service.Rotation{CustomerID: jane.ID, KeyID: key.ID})
		requireError(t, err, errors.KindConflict, "id: the key is blocked")

		requireEvent(t, &customersevents.Event{
			Type: customersevents.EventType_EventTypeUnblockKey, Customer: inEvent(jane), CallerId: "admin",
			UnblockKey: &customersevents.UnblockKey{ApiKeyId: key.ID},
		}, told(func() error { return r.keys.Unblock(ctx, jane.ID, key.ID) }))
		got, err := r.keys.Verify(t.Context(), text)
		require.NoError(t, err)
		assert.Empty(t, got.Blocked)
	})
}

func TestBlockKeyRefused(t *testing.T) {
	t.Parallel()
	r := oneRoom(t)
	jane, john := r.customer(t, "jane@example.com", service.Active), r.customer(t, "john@example.com", service.Active)
	key, text := r.generate(t, jane.ID)
	revoked, _ := r.generate(t, jane.ID)
	require.NoError(t, r.keys.Revoke(t.Context(), jane.ID, revoked.ID))
	const message = "Call us"
	events := r.told(t, func() {
		for name, tc := range map[string]struct {
			customer, key, message string
			kind                   errors.Kind
			text                   string
		}{
			"nobody":           {"", key.ID, message, 400, "customer_id: must be the id of a customer"},
			"no key":           {jane.ID, "", message, 400, "key_id: must be the id of a key"},
			"the key itself":   {jane.ID, text, message, 400, "key_id: must be the id of a key"},
			"no message":       {jane.ID, key.ID, "", 400, "message: must have 1 to 200 characters"},
			"space":            {jane.ID, key.ID, " \n\t", 400, "message: must have 1 to 200 characters"},
			"long":             {jane.ID, key.ID, strings.Repeat("ü", 201), 400, "message: must have 1 to 200 characters"},
			"two lines":        {jane.ID, key.ID, "a\nb", 400, "message: must be one line without control characters"},
			"a header":         {jane.ID, key.ID, "a\r\nSet-Cookie: b", 400, "message: must be one line"},
			"a zero":           {jane.ID, key.ID, "a\x00b", 400, "message: must be one line"},
			"an escape":        {jane.ID, key.ID, "a\x1b[31m", 400, "message: must be one line"},
			"a line separator": {jane.ID, key.ID, "a\u2028b", 400, "message: must be one line"},
			"backwards":        {jane.ID, key.ID, "a\u202eb", 400, "message: must be one line"},
			"unknown customer": {uuid.NewString(), key.ID, message, 404, "customer_id: there is no such customer"},
			"unknown key":      {jane.ID, uuid.NewString(), message, 404, "key_id: the customer has no such key"},
			"somebody else's":  {john.ID, key.ID, message, 404, "key_id: the customer has no such key"},
			"revoked":          {jane.ID, revoked.ID, message, 409, "key_id: the key was revoked"},
		} {
			t.Run(name, func(t *testing.T) {
				requireError(t, r.keys.Block(t.Context(), tc.customer, tc.key, tc.message), tc.kind, tc.text)
				if tc.message == message && tc.key != revoked.ID {
					requireError(t, r.keys.Unblock(t.Context(), tc.customer, tc.key), tc.kind, tc.text)
				}
			})
		}
		require.NoError(t, r.keys.Block(t.Context(), jane.ID, key.ID, strings.Repeat("ü", 200)))
		require.NoError(t, r.keys.Unblock(t.Context(), jane.ID, key.ID))
	})
	require.Len(t, events, 2)
	failure := stderrors.New("no outbox")
	r.outbox.AddReturns(failure)
	require.ErrorIs(t, r.keys.Block(t.Context(), jane.ID, key.ID, message), failure)
	got, err := r.keys.Verify(t.Context(), text)
	require.NoError(t, err)
	require.Empty(t, got.Blocked)
}
