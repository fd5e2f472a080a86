package events_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events"
)

func TestForget(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		tr := newTrouble(func(int64, int) error { return kinds.Invalid("number", "must not be that one") })
		b := started(t, db, newChaos(1, 0), events.Consumer{Topic: topic, Handle: tr.handler("one")})
		add(t, b, db, made("a", 1), made("shop/a", 2), made("b", 3), made("ba", 4))
		eventually(t, func() bool { return count(t, db, "letters", "state = 'dead'") == 4 }, "all dead")
		require.NoError(t, db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error { return b.Forget(ctx, tx, "a") }))
		require.Equal(t, 2, count(t, db, "letters", "aggregate IN ('b', 'ba')"))
		require.Equal(t, 2, count(t, db, "letters", "1 = 1"))
	})
}
