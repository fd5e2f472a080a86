package service_test

import (
	"context"
	stderrors "errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/errors"
	customersevents "github.com/m3o/backend/pkg/events/proto/customers"
)

// rotate makes a key in the place of another.
func (r *room) rotate(t testing.TB, key service.Key, grace int64) (service.Key, string) {
	t.Helper()
	fresh, text, err := r.keys.Rotate(context.Background(), service.Rotation{CustomerID: key.CustomerID, KeyID: key.ID, Grace: grace})
	require.NoError(t, err)
	return fresh, text
}

func (r *room) requireGood(t testing.TB, text string) {
	t.Helper()
	_, err := r.keys.Verify(context.Background(), text)
	require.NoError(t, err)
}

func (r *room) requireEnded(t *testing.T, text string) {
	t.Helper()
	_, err := r.keys.Verify(context.Background(), text)
	requireError(t, err, errors.KindUnauthenticated, "the API key is not good, or not any more")
}

func TestRotateKey(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		expires := start.Add(24 * time.Hour)
		old, oldText, err := r.keys.Generate(t.Context(), service.NewKey{
			CustomerID: jane.ID, Scopes: []string{"maps", "weather/Now"}, Description: "früh", Expires: expires.Unix(),
		})
		require.NoError(t, err)
		r.clock.Turn(time.Minute)
		now := kept.Add(time.Minute)

		var fresh service.Key
		var text string
		events := r.told(t, func() {
			fresh, text, err = r.keys.Rotate(as(t.Context(), jane.ID), service.Rotation{CustomerID: jane.ID, KeyID: old.ID, Grace: 60})
			require.NoError(t, err)
		})
		want := old
		want.ID, want.Prefix, want.Created = fresh.ID, text[:11], now
		assert.Equal(t, want, fresh)
		require.NotEqual(t, old.ID, fresh.ID)
		until := now.Add(time.Minute).Truncate(time.Second).Add(time.Second)
		require.Len(t, events, 1)
		requireEvent(t, &customersevents.Event{
			Type: customersevents.EventType_EventTypeGenerateKey, Customer: inEvent(jane), CallerId: jane.ID,
			GenerateKey: &customersevents.GenerateKey{
				ApiKeyId: fresh.ID, Scopes: old.Scopes, ExpiresAt: timestamppb.New(old.Expires),
				Replaces: old.ID, ReplacedUntil: timestamppb.New(until),
			},
		}, events[0])

		old.RotatedTo, old.Expires = fresh.ID, until
		list, err := r.keys.List(t.Context(), jane.ID)
		require.NoError(t, err)
		assert.Equal(t, []service.Key{fresh, old}, list)
		got, err := r.keys.Verify(t.Context(), oldText)
		require.NoError(t, err)
		assert.Equal(t, until, got.Expires, "whoever remembers the answer knows when it ends")
		r.requireGood(t, text)

		r.clock.Turn(until.Sub(now) - time.Millisecond)
		r.requireGood(t, oldText)
		r.clock.Turn(time.Millisecond)
		r.requireEnded(t, oldText)
		r.requireGood(t, text)
		list, err = r.keys.List(t.Context(), jane.ID)
		require.NoError(t, err)
		assert.Equal(t, []service.Key{fresh}, list)

		// Forgotten as if it had been revoked when its grace was over.
		require.NoError(t, r.keys.Sweep(t.Context()))
		r.clock.Turn(90*24*time.Hour - time.Second)
		require.NoError(t, r.keys.Sweep(t.Context()))
		require.NoError(t, r.keys.Revoke(t.Context(), jane.ID, old.ID), "it is known")
		r.clock.Turn(2 * time.Second)
		require.NoError(t, r.keys.Sweep(t.Context()))
		requireError(t, r.keys.Revoke(t.Context(), jane.ID, old.ID), errors.KindNotFound, "id: the customer has no such key")
	})
}

// Without grace the old key stops at once; one that expires before its grace is over expires.
func TestGrace(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		old, oldText := r.generate(t, jane.ID)
		fresh, text := r.rotate(t, old, 0)
		r.requireEnded(t, oldText)
		r.requireGood(t, text)
		list, err := r.keys.List(t.Context(), jane.ID)
		require.NoError(t, err)
		assert.Equal(t, []service.Key{fresh}, list)

		expiring, expiringText, err := r.keys.Generate(t.Context(), service.NewKey{
			CustomerID: jane.ID, Expires: start.Add(time.Minute).Unix(),
		})
		require.NoError(t, err)
		next, _ := r.rotate(t, expiring, 604_800)
		assert.Equal(t, expiring.Expires, next.Expires)
		r.clock.Turn(time.Minute)
		r.requireEnded(t, expiringText)
	})
}

func TestRotateKeyRefused(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane, john := r.customer(t, "jane@example.com", service.Active), r.customer(t, "john@example.com", service.Active)
		key, text := r.generate(t, jane.ID)
		revoked, _ := r.generate(t, jane.ID)
		require.NoError(t, r.keys.Revoke(t.Context(), jane.ID, revoked.ID))
		rotated, _ := r.generate(t, jane.ID)
		heir, _ := r.rotate(t, rotated, 60)
		expired, _, err := r.keys.Generate(t.Context(), service.NewKey{CustomerID: jane.ID, Expires: start.Unix() + 1})
		require.NoError(t, err)
		r.clock.Turn(time.Second)
		before, err := r.keys.List(t.Context(), jane.ID)
		require.NoError(t, err)

		events := r.told(t, func() {
			for name, tc := range map[string]struct {
				rotation service.Rotation
				kind     errors.Kind
				text     string
			}{
				"nobody":           {service.Rotation{KeyID: key.ID}, 400, "customer_id: must be the id of a customer"},
				"no key":           {service.Rotation{CustomerID: jane.ID}, 400, "id: must be the id of a key"},
				"negative":         {service.Rotation{CustomerID: jane.ID, KeyID: key.ID, Grace: -1}, 400, "grace_seconds: must be from 0 to 604800"},
				"long":             {service.Rotation{CustomerID: jane.ID, KeyID: key.ID, Grace: 604_801}, 400, "grace_seconds: must be from 0"},
				"overflow":         {service.Rotation{CustomerID: jane.ID, KeyID: key.ID, Grace: 1 << 62}, 400, "grace_seconds: must be from 0"},
				"unknown customer": {service.Rotation{CustomerID: uuid.NewString(), KeyID: key.ID}, 404, "customer_id: there is no such customer"},
				"unknown key":      {service.Rotation{CustomerID: jane.ID, KeyID: uuid.NewString()}, 404, "id: the customer has no such key"},
				"somebody else's":  {service.Rotation{CustomerID: john.ID, KeyID: key.ID}, 404, "id: the customer has no such key"},
				"revoked":          {service.Rotation{CustomerID: jane.ID, KeyID: revoked.ID}, 409, "id: the key was revoked"},
				"expired":          {service.Rotation{CustomerID: jane.ID, KeyID: expired.ID}, 409, "id: the key has expired"},
				"rotated": {
					service.Rotation{CustomerID: jane.ID, KeyID: rotated.ID}, 409,
					"id: the key was rotated before, and " + heir.ID + " has its place",
				},
			} {
				t.Run(name, func(t *testing.T) {
					_, text, err := r.keys.Rotate(t.Context(), tc.rotation)
					requireError(t, err, tc.kind, tc.text)
					require.Empty(t, text)
				})
			}
		})
		require.Empty(t, events)
		_, err = r.customers.Ban(t.Context(), service.Ref{ID: jane.ID}, "")
		require.NoError(t, err)
		_, _, err = r.keys.Rotate(t.Context(), service.Rotation{CustomerID: jane.ID, KeyID: key.ID})
		requireError(t, err, errors.KindConflict, "customer_id: the customer is banned")
		_, err = r.customers.Unban(t.Context(), service.Ref{ID: jane.ID})
		require.NoError(t, err)

		// Wholly done or wholly not: without its event it is not done.
		failure := stderrors.New("no outbox")
		r.outbox.AddReturns(failure)
		_, _, err = r.keys.Rotate(t.Context(), service.Rotation{CustomerID: jane.ID, KeyID: key.ID})
		require.ErrorIs(t, err, failure)
		after, err := r.keys.List(t.Context(), jane.ID)
		require.NoError(t, err)
		assert.Equal(t, before, after)
		r.requireGood(t, text)
	})
}

// Of many who rotate a key at once one does, and the others are told what has its place.
func TestRotationIsOnce(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		old, _ := r.generate(t, jane.ID)
		var wg sync.WaitGroup
		var made atomic.Pointer[service.Key]
		refusals := make(chan string, 20)
		for range 20 {
			wg.Go(func() {
				key, _, err := r.keys.Rotate(context.Background(), service.Rotation{CustomerID: jane.ID, KeyID: old.ID, Grace: 60})
				if err == nil {
					assert.True(t, made.CompareAndSwap(nil, &key), "rotated twice")
					return
				}
				assert.Equal(t, errors.KindConflict, errors.KindOf(err), err)
				refusals <- err.Error()
			})
		}
		wg.Wait()
		close(refusals)
		require.NotNil(t, made.Load())
		for refusal := range refusals {
			assert.Contains(t, refusal, made.Load().ID)
		}
		list, err := r.keys.List(t.Context(), jane.ID)
		require.NoError(t, err)
		require.Len(t, list, 2)
	})
}

// A customer has a hundred keys, those in their grace among them.
func TestRotationAtTheLimit(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		keys := make([]service.Key, 100)
		for i := range keys {
			keys[i], _ = r.generate(t, jane.ID)
		}
		_, _, err := r.keys.Rotate(t.Context(), service.Rotation{CustomerID: jane.ID, KeyID: keys[0].ID, Grace: 1})
		requireError(t, err, errors.KindConflict, "customer_id: there are 100 keys already")
		r.rotate(t, keys[0], 0)
		require.NoError(t, r.keys.Revoke(t.Context(), jane.ID, keys[1].ID))
		r.rotate(t, keys[2], 60)
		_, _, err = r.keys.Generate(t.Context(), service.NewKey{CustomerID: jane.ID})
		requireError(t, err, errors.KindConflict, "customer_id: there are 100 keys already")
		r.clock.Turn(61 * time.Second)
		r.generate(t, jane.ID)
		list, err := r.keys.List(t.Context(), jane.ID)
		require.NoError(t, err)
		require.Len(t, list, 100)
	})
}
