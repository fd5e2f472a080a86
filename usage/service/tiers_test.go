package service_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/usage/service"
)

// inTx does something in a transaction, as a consumer does.
func inTx(t require.TestingT, db *database.DB, f func(ctx context.Context, tx database.Querier) error) {
	require.NoError(t, db.Tx(context.Background(), f))
}

func enter(t require.TestingT, db *database.DB, u *service.Usage, id string) {
	inTx(t, db, func(ctx context.Context, tx database.Querier) error { return u.Enter(ctx, tx, id) })
}

func changeTier(t require.TestingT, db *database.DB, u *service.Usage, change service.TierChange) {
	inTx(t, db, func(ctx context.Context, tx database.Querier) error { return u.ChangeTier(ctx, tx, change) })
}

// requireAllowed checks what jane may, as the gateway is told.
func requireAllowed(t require.TestingT, u *service.Usage, want service.Allowed) {
	got, err := u.Monthly(context.Background(), jane, nil)
	require.NoError(t, err)
	require.Equal(t, want, got.Allowed)
}

var (
	free = service.Allowed{Tier: "free", Quota: 10_000}
	pro  = service.Allowed{Tier: "pro", Quota: 1_000_000}
)

// The two services that tell of a customer do so in any order.
func TestTiers(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, clock := setup(t, db)
		requireAllowed(t, u, free)
		at := clock.now
		changeTier(t, db, u, service.TierChange{CustomerID: strings.ToUpper(jane), Tier: "pro", MonthlyQuota: 5, Time: at, Sequence: 1})
		requireAllowed(t, u, pro)
		enter(t, db, u, jane)
		requireAllowed(t, u, pro)
		changeTier(t, db, u, service.TierChange{CustomerID: jane, Tier: "special", MonthlyQuota: 77, Time: at.Add(time.Hour), Sequence: 2})
		requireAllowed(t, u, service.Allowed{Tier: "special", Quota: 77})
		changeTier(t, db, u, service.TierChange{CustomerID: jane, Tier: "special", MonthlyQuota: 1 << 62, Time: at.Add(time.Hour), Sequence: 3})
		requireAllowed(t, u, service.Allowed{Tier: "special", Quota: service.MaxQuota})

		enter(t, db, u, john)
		enter(t, db, u, strings.ToUpper(john))
		changeTier(t, db, u, service.TierChange{CustomerID: john, Tier: "team", Time: at})
		month, err := u.Monthly(t.Context(), john, nil)
		require.NoError(t, err)
		require.Equal(t, service.Allowed{Tier: "team", Quota: 10_000_000}, month.Allowed)
	})
}

func TestATierChangeThatComesLate(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		for _, tc := range []struct {
			name     string
			after    time.Duration
			sequence int64
			changes  bool
		}{
			{"the next", time.Second, 6, true},
			{"of the same moment", 0, 6, true},
			{"of a clock that is behind", -time.Second, 6, true},
			{"of a database that began anew", time.Second, 1, true},
			{"without an order", time.Second, 0, true},
			{"late", -time.Second, 4, false},
			{"late, without an order", -time.Second, 0, false},
		} {
			inTx(t, db, func(ctx context.Context, tx database.Querier) error {
				_, err := tx.Exec(ctx, "DELETE FROM usage_customers")
				return err
			})
			u, clock := setup(t, db)
			changeTier(t, db, u, service.TierChange{CustomerID: jane, Tier: "free", Time: clock.now, Sequence: 5})
			changeTier(t, db, u, service.TierChange{CustomerID: jane, Tier: "pro", Time: clock.now.Add(tc.after), Sequence: tc.sequence})
			got, err := u.Monthly(t.Context(), jane, nil)
			require.NoError(t, err)
			require.Equal(t, tc.changes, got.Allowed == pro, tc.name)
		}
	})
}

func TestWhatIsNoTierChange(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, _ := setup(t, db)
		refused := func(want string, f func(ctx context.Context, tx database.Querier) error) {
			err := db.Tx(t.Context(), f)
			require.ErrorContains(t, err, want)
			require.True(t, errors.Permanent(err))
		}
		for want, change := range map[string]service.TierChange{
			"customer_id: required":                     {Tier: "pro"},
			"customer_id: must be the id of a customer": {CustomerID: "jane", Tier: "pro"},
			"tier: required":                            {CustomerID: jane},
			"tier: must have 1 to 64":                   {CustomerID: jane, Tier: "a b"},
			"monthly_quota: must not be negative":       {CustomerID: jane, Tier: "pro", MonthlyQuota: -1},
		} {
			refused(want, func(ctx context.Context, tx database.Querier) error { return u.ChangeTier(ctx, tx, change) })
		}
		refused("customer_id: required", func(ctx context.Context, tx database.Querier) error { return u.Enter(ctx, tx, "") })
		requireAllowed(t, u, free)
	})
}

func TestSetQuota(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, clock := setup(t, db)
		set := func(o *service.Override, want service.Allowed) {
			t.Helper()
			for range 2 { // the same once more is the same
				got, err := u.SetQuota(t.Context(), jane, o)
				require.NoError(t, err)
				require.Equal(t, want, got)
				requireAllowed(t, u, want)
			}
		}
		begin := clock.now
		set(nil, free)
		set(&service.Override{Quota: 7}, service.Allowed{Tier: "free", Quota: 7})
		set(&service.Override{}, service.Allowed{Tier: "free"})
		set(&service.Override{Quota: service.MaxQuota}, service.Allowed{Tier: "free", Quota: service.MaxQuota})
		set(nil, free)

		until := begin.Add(time.Hour)
		set(&service.Override{Quota: 9, Until: until}, service.Allowed{Tier: "free", Quota: 9, Until: until})
		clock.now = until.Add(-time.Microsecond)
		requireAllowed(t, u, service.Allowed{Tier: "free", Quota: 9, Until: until})
		clock.now = until
		requireAllowed(t, u, free)

		set(&service.Override{Quota: 11}, service.Allowed{Tier: "free", Quota: 11})
		changeTier(t, db, u, service.TierChange{CustomerID: jane, Tier: "free", MonthlyQuota: 3, Time: begin, Sequence: 1})
		requireAllowed(t, u, service.Allowed{Tier: "free", Quota: 11})
		changeTier(t, db, u, service.TierChange{CustomerID: jane, Tier: "pro", Time: begin, Sequence: 2})
		requireAllowed(t, u, pro)
		changeTier(t, db, u, service.TierChange{CustomerID: jane, Tier: "free", Time: begin, Sequence: 3})
		requireAllowed(t, u, free)

		month, err := u.Monthly(t.Context(), john, nil)
		require.NoError(t, err)
		require.Equal(t, free, month.Allowed, "it was jane's")
	})
}

func TestSetQuotaRefuses(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		u, clock := setup(t, db)
		for _, tc := range []struct {
			id       string
			override *service.Override
			want     string
		}{
			{"", nil, "customer_id: required"},
			{"jane", nil, "customer_id: must be the id of a customer, a UUID such as 00000000-0000-0000-0000-000000000000"},
			{jane, &service.Override{Quota: -1}, "quota: must be from 0 to 1000000000000000"},
			{jane, &service.Override{Quota: service.MaxQuota + 1}, "quota: must be from 0 to 1000000000000000"},
			{jane, &service.Override{Until: clock.now}, "until: must be in the future, or 0 for the next change of the tier"},
			{jane, &service.Override{Until: clock.now.AddDate(-5, 0, 0)}, "until: must be in the future, or 0 for the next change of the tier"},
		} {
			_, err := u.SetQuota(t.Context(), tc.id, tc.override)
			require.EqualError(t, err, tc.want)
			require.Equal(t, errors.KindInvalid, errors.KindOf(err))
		}
		requireAllowed(t, u, free)
	})
}
