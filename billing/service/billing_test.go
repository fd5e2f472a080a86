package service_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/m3o/backend/billing/service"
	"github.com/m3o/backend/billing/service/migrations"
	"github.com/m3o/backend/pkg/database/databasetest"
)

func TestDefaultTiers(t *testing.T) {
	t.Parallel()
	b := shopOf(t, service.DefaultSettings())
	require.Equal(t, []service.Tier{
		{ID: "free", Name: "Free", Price: 0, Currency: "usd", MonthlyQuota: 10_000, RateLimit: 10},
		{ID: "pro", Name: "Pro", Price: 3500, Currency: "usd", MonthlyQuota: 1_000_000, RateLimit: 100},
		{ID: "team", Name: "Team", Price: 15000, Currency: "usd", MonthlyQuota: 10_000_000, RateLimit: 500},
	}, b.Tiers())
}

func TestNewRefusesWhatIsNotValid(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "billing", migrations.FS)
	for want, cfg := range map[string]service.Config{
		"billing: a database is missing": {},
		"billing: an outbox is missing":  {DB: db},
		"currency: expected the ISO 4217 code of a currency in small letters, such as usd": {DB: db, Outbox: &outbox{}},
	} {
		_, err := service.New(cfg)
		require.EqualError(t, err, want)
	}
}

// shopOf is billing with other settings.
func shopOf(t *testing.T, settings service.Settings) *service.Billing {
	t.Helper()
	b, err := service.New(service.Config{Settings: settings, DB: databasetest.Open(t, "billing", migrations.FS), Outbox: &outbox{}})
	require.NoError(t, err)
	return b
}

func TestTiersOfTheSamePriceAreOrderedByID(t *testing.T) {
	t.Parallel()
	b := shopOf(t, service.Settings{
		Currency: "eur",
		Tiers: map[string]service.TierSettings{
			"b": {Name: "B", Price: 1}, "a": {Name: "A", Price: 1}, "c": {Name: "C"},
		},
	})
	tiers := b.Tiers()
	require.Equal(t, []string{"c", "a", "b"}, []string{tiers[0].ID, tiers[1].ID, tiers[2].ID})
	require.Equal(t, "eur", tiers[0].Currency)
}

// What a caller does with the answer is the caller's: the next one gets what is configured.
func TestTiersAreTheCallersOwn(t *testing.T) {
	t.Parallel()
	b := shopOf(t, service.DefaultSettings())
	b.Tiers()[0].ID = "changed"
	require.Equal(t, "free", b.Tiers()[0].ID)
}

// Whatever is valid is listed whole and in order.
func TestEveryTierIsListedInOrder(t *testing.T) {
	t.Parallel()
	db := databasetest.Open(t, "billing", migrations.FS)
	rapid.Check(t, func(t *rapid.T) {
		settings := service.Settings{
			Currency: "usd",
			Tiers: rapid.MapOfN(
				rapid.StringMatching(`[a-z][a-z0-9-]{0,31}`),
				rapid.Custom(func(t *rapid.T) service.TierSettings {
					return service.TierSettings{
						Name:         rapid.StringMatching(`[!-~]{1,64}`).Draw(t, "name"),
						Price:        rapid.Int64Range(0, 3).Draw(t, "price"),
						MonthlyQuota: rapid.Int64Min(0).Draw(t, "quota"),
						RateLimit:    rapid.Int64Min(0).Draw(t, "rate"),
					}
				}), 1, 99).Draw(t, "tiers"),
		}
		delete(settings.Tiers, service.Free) // which may cost nothing
		settings.Tiers["one"] = service.TierSettings{Name: "One"}
		b, err := service.New(service.Config{Settings: settings, DB: db, Outbox: &outbox{}})
		if err != nil {
			t.Fatal(err)
		}
		tiers := b.Tiers()
		if len(tiers) != len(settings.Tiers) {
			t.Fatalf("%d tiers of %d", len(tiers), len(settings.Tiers))
		}
		for i, tier := range tiers {
			want := settings.Tiers[tier.ID]
			got := service.TierSettings{Name: tier.Name, Price: tier.Price, MonthlyQuota: tier.MonthlyQuota, RateLimit: tier.RateLimit}
			if got != want {
				t.Fatalf("tier %s: %+v, want %+v", tier.ID, got, want)
			}
			if i > 0 && (tiers[i-1].Price > tier.Price || tiers[i-1].Price == tier.Price && tiers[i-1].ID >= tier.ID) {
				t.Fatalf("%+v before %+v", tiers[i-1], tier)
			}
		}
	})
}

func TestMigrationsCanBeTakenBack(t *testing.T) {
	each(t, func(t *testing.T, s *shop) {
		require.NoError(t, s.db.Down(t.Context()))
		require.NoError(t, s.db.Up(t.Context()))
		s.subscribed()
	})
}
