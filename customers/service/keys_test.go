package service_test

import (
	"context"
	stderrors "errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/errors"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

// generate makes a key of a customer that is good for everything.
func (r *room) generate(t testing.TB, customer string) (service.Key, string) {
	t.Helper()
	key, text, err := r.keys.Generate(context.Background(), service.NewKey{CustomerID: customer})
	require.NoError(t, err)
	return key, text
}

func TestGenerateKey(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		expires := start.Add(time.Hour).Unix()
		var key service.Key
		var text string
		var err error
		events := r.told(t, func() {
			key, text, err = r.keys.Generate(as(t.Context(), jane.ID), service.NewKey{
				CustomerID: jane.ID, Scopes: []string{"weather/Now", "maps", "weather/Now"}, Description: "früh\n", Expires: expires,
			})
		})
		require.NoError(t, err)
		want := service.Key{
			ID: key.ID, CustomerID: jane.ID, Prefix: text[:11], Scopes: []string{"weather/Now", "maps"}, Description: "früh\n",
			Created: kept, Expires: time.Unix(expires, 0).UTC(),
		}
		assert.Equal(t, want, key)
		require.Len(t, events, 1)
		requireEvent(t, &customersevents.Event{
			Type: customersevents.EventType_EventTypeGenerateKey, Customer: inEvent(jane), CallerId: jane.ID,
			GenerateKey: &customersevents.GenerateKey{
				ApiKeyId: key.ID, Scopes: want.Scopes, ExpiresAt: timestamppb.New(want.Expires),
			},
		}, events[0])
		payload, err := protojson.Marshal(events[0])
		require.NoError(t, err)
		assert.NotContains(t, string(payload), key.Prefix[3:], "the event has nothing of the key itself")

		r.clock.Turn(time.Minute)
		other, otherText := r.generate(t, jane.ID)
		assert.Equal(t, []string{"*"}, other.Scopes)
		assert.True(t, other.Expires.IsZero())
		list, err := r.keys.List(t.Context(), strings.ToUpper(jane.ID))
		require.NoError(t, err)
		assert.Equal(t, []service.Key{other, want}, list, "the newest first")
		for _, secret := range []string{text, otherText} {
			r.requireNowhere(t, secret, secret[12:])
		}
	})
}

// requireNowhere requires that texts are in no column of the keys.
func (r *room) requireNowhere(t testing.TB, texts ...string) {
	t.Helper()
	rows, err := r.db.Read().Query(context.Background(), `SELECT id, customer_id, hash, prefix, scopes, description FROM customers_keys`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var columns [6]string
		require.NoError(t, rows.Scan(&columns[0], &columns[1], &columns[2], &columns[3], &columns[4], &columns[5]))
		for _, text := range texts {
			require.NotContains(t, fmt.Sprint(columns), text)
		}
	}
	require.NoError(t, rows.Err())
}

func TestGenerateKeyRefused(t *testing.T) {
	t.Parallel()
	r := oneRoom(t)
	jane := r.customer(t, "jane@example.com", service.Active)
	many := make([]string, 51)
	for i := range many {
		many[i] = fmt.Sprint("service-", i)
	}
	events := r.told(t, func() {
		for name, tc := range map[string]struct {
			n    service.NewKey
			kind errors.Kind
			text string
		}{
			"nobody":            {service.NewKey{}, 400, "customer_id: must be the id of a customer"},
			"unknown":           {service.NewKey{CustomerID: uuid.NewString()}, 404, "customer_id: there is no such customer"},
			"many scopes":       {service.NewKey{CustomerID: jane.ID, Scopes: many}, 400, "scopes: must be at most 50"},
			"empty scope":       {service.NewKey{CustomerID: jane.ID, Scopes: []string{"*", ""}}, 400, `scopes: each must be "*"`},
			"scope of a path":   {service.NewKey{CustomerID: jane.ID, Scopes: []string{"weather/../Now"}}, 400, `scopes: each must be "*"`},
			"two slashes":       {service.NewKey{CustomerID: jane.ID, Scopes: []string{"weather/Now/x"}}, 400, `scopes: each must be "*"`},
			"star of a service": {service.NewKey{CustomerID: jane.ID, Scopes: []string{"weather/*"}}, 400, `scopes: each must be "*"`},
			"space":             {service.NewKey{CustomerID: jane.ID, Scopes: []string{"weather maps"}}, 400, `scopes: each must be "*"`},
			"newline":           {service.NewKey{CustomerID: jane.ID, Scopes: []string{"weather\n"}}, 400, `scopes: each must be "*"`},
			"long scope":        {service.NewKey{CustomerID: jane.ID, Scopes: []string{strings.Repeat("x", 64)}}, 400, `scopes: each must be "*"`},
			"long description":  {service.NewKey{CustomerID: jane.ID, Description: strings.Repeat("ü", 257)}, 400, "description: must have at most 256"},
			"control":           {service.NewKey{CustomerID: jane.ID, Description: "a\x00"}, 400, "description: must have no control characters"},
			"expired":           {service.NewKey{CustomerID: jane.ID, Expires: start.Unix()}, 400, "expires_at: must be in the future"},
			"negative":          {service.NewKey{CustomerID: jane.ID, Expires: -1}, 400, "expires_at: must be in the future"},
			"after all time":    {service.NewKey{CustomerID: jane.ID, Expires: 1 << 62}, 400, "expires_at: must be in the future"},
		} {
			t.Run(name, func(t *testing.T) {
				_, text, err := r.keys.Generate(t.Context(), tc.n)
				requireError(t, err, tc.kind, tc.text)
				require.Empty(t, text)
			})
		}
	})
	require.Empty(t, events)
	for _, status := range statuses {
		if status == service.Active {
			continue
		}
		c := r.customer(t, string(status)+"@example.com", status)
		_, _, err := r.keys.Generate(t.Context(), service.NewKey{CustomerID: c.ID})
		requireError(t, err, errors.KindConflict, "customer_id: the customer is "+string(status))
	}
	failure := stderrors.New("no outbox")
	r.outbox.AddReturns(failure)
	_, _, err := r.keys.Generate(t.Context(), service.NewKey{CustomerID: jane.ID})
	require.ErrorIs(t, err, failure)
	list, err := r.keys.List(t.Context(), jane.ID)
	require.NoError(t, err)
	require.Empty(t, list)
}

// Of many who make a key at once, as many get one as there is room for.
func TestLimitOfKeys(t *testing.T) {
	const callers, free = 100, 7
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		var first service.Key
		for range 100 - free {
			first, _ = r.generate(t, jane.ID)
		}
		var wg sync.WaitGroup
		var made, refused atomic.Int64
		for range callers {
			wg.Go(func() {
				switch _, _, err := r.keys.Generate(context.Background(), service.NewKey{CustomerID: jane.ID}); {
				case err == nil:
					made.Add(1)
				case errors.KindOf(err) == errors.KindConflict:
					refused.Add(1)
				default:
					assert.NoError(t, err)
				}
			})
		}
		wg.Wait()
		assert.EqualValues(t, free, made.Load())
		assert.EqualValues(t, callers-free, refused.Load())
		list, err := r.keys.List(t.Context(), jane.ID)
		require.NoError(t, err)
		require.Len(t, list, 100)
		assert.True(t, slices.IsSortedFunc(list, func(a, b service.Key) int { return strings.Compare(b.ID, a.ID) }))

		require.NoError(t, r.keys.Revoke(t.Context(), jane.ID, first.ID))
		r.generate(t, jane.ID)
		john := r.customer(t, "john@example.com", service.Active)
		r.generate(t, john.ID)
	})
}

func TestRevokeKey(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane, john := r.customer(t, "jane@example.com", service.Active), r.customer(t, "john@example.com", service.Active)
		key, text := r.generate(t, jane.ID)
		other, otherText := r.generate(t, jane.ID)
		var events []*customersevents.Event
		for range 3 {
			events = append(events, r.told(t, func() { require.NoError(t, r.keys.Revoke(as(t.Context(), "admin"), jane.ID, key.ID)) })...)
		}
		require.Len(t, events, 1)
		requireEvent(t, &customersevents.Event{
			Type: customersevents.EventType_EventTypeDeleteKey, Customer: inEvent(jane), CallerId: "admin",
			DeleteKey: &customersevents.DeleteKey{ApiKeyId: key.ID},
		}, events[0])
		_, err := r.keys.Verify(t.Context(), text)
		requireError(t, err, errors.KindUnauthenticated, "the API key is not good, or not any more")

		for _, tc := range []struct {
			customer, key string
			kind          errors.Kind
			text          string
		}{
			{john.ID, other.ID, 404, "id: the customer has no such key"},
			{jane.ID, uuid.NewString(), 404, "id: the customer has no such key"},
			{jane.ID, "17", 400, "id: must be the id of a key"},
			{"", other.ID, 400, "customer_id: must be the id of a customer"},
			{uuid.NewString(), other.ID, 404, "customer_id: there is no such customer"},
		} {
			requireError(t, r.keys.Revoke(t.Context(), tc.customer, tc.key), tc.kind, tc.text)
		}
		list, err := r.keys.List(t.Context(), jane.ID)
		require.NoError(t, err)
		assert.Equal(t, []service.Key{other}, list)
		_, err = r.keys.Verify(t.Context(), otherText)
		require.NoError(t, err)

		// What was revoked is forgotten in the end; nothing else is.
		r.clock.Turn(89 * 24 * time.Hour)
		require.NoError(t, r.keys.Sweep(t.Context()))
		require.NoError(t, r.keys.Revoke(t.Context(), jane.ID, key.ID))
		r.clock.Turn(25 * time.Hour)
		require.NoError(t, r.keys.Sweep(t.Context()))
		requireError(t, r.keys.Revoke(t.Context(), jane.ID, key.ID), errors.KindNotFound, "id: the customer has no such key")
		_, err = r.keys.Verify(t.Context(), otherText)
		require.NoError(t, err)

		list, err = r.keys.List(t.Context(), john.ID)
		require.NoError(t, err)
		assert.Empty(t, list)
		_, err = r.keys.List(t.Context(), uuid.NewString())
		requireError(t, err, errors.KindNotFound, "customer_id: there is no such customer")
		_, err = r.keys.List(t.Context(), "")
		requireError(t, err, errors.KindInvalid, "customer_id: must be the id of a customer")
	})
}

func TestVerifyKey(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		expires := start.Add(time.Hour)
		key, text, err := r.keys.Generate(t.Context(), service.NewKey{
			CustomerID: jane.ID, Scopes: []string{"maps", "weather/Now"}, Expires: expires.Unix(),
		})
		require.NoError(t, err)
		got, err := r.keys.Verify(t.Context(), text)
		require.NoError(t, err)
		want := service.Key{ID: key.ID, CustomerID: jane.ID, Scopes: []string{"maps", "weather/Now"}, Expires: time.Unix(expires.Unix(), 0).UTC()}
		assert.Equal(t, want, got)

		for _, status := range []service.Status{service.Banned, service.Verified, service.AwaitingVerification} {
			_, err := r.customers.Update(t.Context(), service.Change{ID: jane.ID, Status: &status})
			require.NoError(t, err)
			_, err = r.keys.Verify(t.Context(), text)
			requireError(t, err, errors.KindForbidden, "the customer whose key it is is")
			require.Equal(t, status == service.Banned, strings.Contains(err.Error(), "banned"))
		}
		require.NoError(t, r.customers.Delete(t.Context(), service.Ref{ID: jane.ID}))
		_, err = r.keys.Verify(t.Context(), text)
		requireError(t, err, errors.KindForbidden, "the customer whose key it is is not active")
		_, err = r.customers.Update(t.Context(), service.Change{ID: jane.ID, Status: new(service.Active)})
		require.NoError(t, err)
		_, err = r.keys.Verify(t.Context(), text)
		require.NoError(t, err, "it is as good as before")

		unknown := r.foreign(t)
		wrong := []string{"x", "mk_", text[:len(text)-1], text + "x", " " + text, strings.ToLower(text), unknown, strings.Repeat("x", 256), "\xff"}
		r.clock.Turn(expires.Sub(start).Truncate(time.Second) - time.Second)
		_, err = r.keys.Verify(t.Context(), text)
		require.NoError(t, err, "until it expires")
		r.clock.Turn(time.Second)
		for _, w := range append(wrong, text) {
			_, err := r.keys.Verify(t.Context(), w)
			requireError(t, err, errors.KindUnauthenticated, "the API key is not good, or not any more: make another one")
		}
		_, err = r.keys.Verify(t.Context(), "")
		requireError(t, err, errors.KindInvalid, "api_key: required")
		_, err = r.keys.Verify(t.Context(), strings.Repeat("x", 257))
		requireError(t, err, errors.KindInvalid, "api_key: must have at most 256 bytes")
	})
}

// foreign is a key of another platform.
func (r *room) foreign(t *testing.T) string {
	t.Helper()
	other := oneRoom(t)
	_, text := other.generate(t, other.customer(t, "jane@example.com", service.Active).ID)
	return text
}
