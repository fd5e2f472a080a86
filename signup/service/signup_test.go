package service_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	customersfakes "github.com/m3o/backend/customers/proto/fakes"
	authfakes "github.com/m3o/backend/pkg/auth/fakes"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/signup/service"
	"github.com/m3o/backend/signup/service/fakes"
	"github.com/m3o/backend/signup/service/migrations"
)

func TestNewSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	whole := service.Config{
		DB: databasetest.Open(t, "signup", migrations.FS), Outbox: &fakes.FakeOutbox{}, Mailer: &fakes.FakeMailer{},
		Customers: &customersfakes.FakeCustomersService{}, Auth: &authfakes.FakeAuthService{}, Accounts: &authfakes.FakeAccountsService{},
		Settings: service.DefaultSettings(),
	}
	_, err := service.New(whole)
	require.NoError(t, err)
	for want, change := range map[string]func(*service.Config){
		"signup: a database is missing":            func(c *service.Config) { c.DB = nil },
		"signup: an outbox is missing":             func(c *service.Config) { c.Outbox = nil },
		"signup: a mailer is missing":              func(c *service.Config) { c.Mailer = nil },
		"signup: a client of customers is missing": func(c *service.Config) { c.Customers = nil },
		"signup: the clients of auth are missing":  func(c *service.Config) { c.Accounts = nil },
		"token.ttl: expected a duration from 1 minute to 7 days": func(c *service.Config) {
			c.Settings = service.Settings{}
		},
	} {
		cfg := whole
		change(&cfg)
		_, err := service.New(cfg)
		require.EqualError(t, err, want)
	}
}

func TestMigrationsCanBeTakenBack(t *testing.T) {
	each(t, func(t *testing.T, db *database.DB) {
		require.NoError(t, db.Down(t.Context()))
		require.NoError(t, db.Up(t.Context()))
		for _, table := range []string{"tracks", "tokens", "mails", "welcomes"} {
			require.Zero(t, count(t, db, table))
		}
	})
}
