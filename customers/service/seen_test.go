package service_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/customers/service"
)

// lastSeen is what the owner of a key is shown.
func (r *room) lastSeen(t testing.TB, key service.Key) time.Time {
	t.Helper()
	list, err := r.keys.List(t.Context(), key.CustomerID)
	require.NoError(t, err)
	for _, k := range list {
		if k.ID == key.ID {
			return k.LastSeen
		}
	}
	require.Fail(t, "there is no such key")
	return time.Time{}
}

func TestLastSeen(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		jane := r.customer(t, "jane@example.com", service.Active)
		key, text := r.generate(t, jane.ID)
		other, otherText := r.generate(t, jane.ID)
		// Another process on the same database, which has seen it a little earlier and writes later.
		late, err := service.NewKeys(service.KeysConfig{DB: r.db, Outbox: r.outbox, Clock: r.clock.Now})
		require.NoError(t, err)
		seen := func(text string, keys *service.Keys) {
			t.Helper()
			_, err := keys.Verify(t.Context(), text)
			require.NoError(t, err)
		}
		seen(text, r.keys)
		assert.Zero(t, r.lastSeen(t, key), "not yet")
		seen(text, late)
		r.clock.Turn(time.Second)
		seen(text, r.keys)
		require.NoError(t, r.keys.WriteSeen(t.Context()))
		require.NoError(t, late.WriteSeen(t.Context()))
		first := kept.Add(time.Second)
		assert.Equal(t, first, r.lastSeen(t, key), "the latest")
		assert.Zero(t, r.lastSeen(t, other))

		// At most once a minute, whoever has seen it.
		r.clock.Turn(59 * time.Second)
		seen(text, r.keys)
		seen(text, late)
		seen(otherText, late)
		require.NoError(t, r.keys.WriteSeen(t.Context()))
		require.NoError(t, late.WriteSeen(t.Context()))
		assert.Equal(t, first, r.lastSeen(t, key))
		assert.Equal(t, kept.Add(time.Minute), r.lastSeen(t, other))
		r.clock.Turn(time.Second)
		seen(text, late)
		require.NoError(t, late.WriteSeen(t.Context()))
		assert.Equal(t, first.Add(time.Minute), r.lastSeen(t, key))

		// What is refused is not seen.
		r.clock.Turn(time.Hour)
		require.NoError(t, r.keys.Block(t.Context(), jane.ID, key.ID, "Call us"))
		_, err = r.keys.Verify(t.Context(), text)
		require.NoError(t, err)
		_, err = r.customers.Ban(t.Context(), service.Ref{ID: jane.ID}, "")
		require.NoError(t, err)
		_, err = r.keys.Verify(t.Context(), otherText)
		require.Error(t, err)
		require.NoError(t, r.keys.WriteSeen(t.Context()))
		assert.Equal(t, first.Add(time.Minute), r.lastSeen(t, key))
		assert.Equal(t, kept.Add(time.Minute), r.lastSeen(t, other))
	})
}

// Whoever stops in good order forgets nothing.
func TestSeenBeforeTheEnd(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		require.NoError(t, r.keys.Start())
		jane := r.customer(t, "jane@example.com", service.Active)
		keys := make([]service.Key, 20) // more than one statement's
		for i := range keys {
			var text string
			keys[i], text = r.generate(t, jane.ID)
			_, err := r.keys.Verify(t.Context(), text)
			require.NoError(t, err)
		}
		require.NoError(t, r.keys.Stop())
		for _, key := range keys {
			assert.Equal(t, kept, r.lastSeen(t, key))
		}
	})
}

// What could not be written is written later.
func TestSeenWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	r := oneRoom(t)
	jane := r.customer(t, "jane@example.com", service.Active)
	key, text := r.generate(t, jane.ID)
	r.requireGood(t, text)
	rename := func(from, to string) {
		t.Helper()
		r.exec(t, `ALTER TABLE `+from+` RENAME TO `+to)
	}
	rename("customers_keys", "customers_away")
	require.Error(t, r.keys.WriteSeen(t.Context()))
	rename("customers_away", "customers_keys")
	require.NoError(t, r.keys.WriteSeen(t.Context()))
	assert.Equal(t, kept, r.lastSeen(t, key))
}
