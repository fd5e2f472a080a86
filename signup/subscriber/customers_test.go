package subscriber_test

import (
	"context"
	stderrors "errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	customersfakes "github.com/m3o/backend/customers/proto/fakes"
	authfakes "github.com/m3o/backend/pkg/auth/fakes"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/signup/mail"
	"github.com/m3o/backend/signup/service"
	corefakes "github.com/m3o/backend/signup/service/fakes"
	"github.com/m3o/backend/signup/service/migrations"
	"github.com/m3o/backend/signup/subscriber"
	"github.com/m3o/backend/signup/subscriber/fakes"
)

// at is when the events of these tests were published.
var at = time.Date(2030, 6, 1, 0, 0, 1, 0, time.UTC)

func event(payload string) *events.Event {
	return &events.Event{ID: uuid.Must(uuid.NewV7()), Topic: "customers", Time: at, Payload: []byte(payload)}
}

func TestCustomersNeedsACore(t *testing.T) {
	t.Parallel()
	_, err := subscriber.Customers(nil)
	require.EqualError(t, err, "signup: the core is missing")
}

// Who has signed up is welcomed, and nothing else is of interest, nor needs to be understood.
func TestCustomers(t *testing.T) {
	t.Parallel()
	core := &fakes.FakeCore{}
	consumer, err := subscriber.Customers(core)
	require.NoError(t, err)
	require.Equal(t, "customers", consumer.Topic)
	jane := event(`{"type": "EventTypeSignup", "customer": {"id": "1", "email": "jane@example.com", "new": 5}, "signup": {}}`)
	nobody := event(`{"type": "EventTypeSignup"}`)
	require.NoError(t, consumer.Handle(t.Context(), nil, []*events.Event{
		event(`{"type": "EventTypeCreated", "customer": {"email": "joe@example.com"}}`), jane,
		event(`{"type": "EventTypeOfTheFuture", "customer": {"email": "joe@example.com"}}`),
		event(`{"type": "EventTypePasswordReset", "customer": {"id": "2"}}`), event(`{}`), nobody,
	}))
	require.Equal(t, 2, core.WelcomeCallCount())
	_, _, id, email, when := core.WelcomeArgsForCall(0)
	require.Equal(t, jane.ID.String(), id)
	require.Equal(t, "jane@example.com", email)
	require.Equal(t, at, when)
	_, _, id, email, _ = core.WelcomeArgsForCall(1)
	require.Equal(t, nobody.ID.String(), id)
	require.Empty(t, email, "the core refuses it")
}

func TestCustomersThatCannotBeWelcomed(t *testing.T) {
	t.Parallel()
	core := &fakes.FakeCore{}
	consumer, err := subscriber.Customers(core)
	require.NoError(t, err)
	for _, payload := range []string{`no JSON`, `{"customer": 5}`} {
		err := consumer.Handle(t.Context(), nil, []*events.Event{event(payload)})
		require.True(t, errors.Permanent(err), "%s: %v", payload, err)
	}
	require.Zero(t, core.WelcomeCallCount())
	failure := stderrors.New("the mail server is away")
	core.WelcomeReturns(failure)
	require.ErrorIs(t, consumer.Handle(t.Context(), nil, []*events.Event{event(`{"type": "EventTypeSignup"}`)}), failure)
}

// With the real core and its directory: however often an event comes, there is one mail, which is not written anew.
func TestCustomersOfTheRealCore(t *testing.T) {
	t.Parallel()
	dir, db := t.TempDir(), databasetest.Open(t, "signup", migrations.FS)
	mailer, err := mail.NewOutbox(dir, "")
	require.NoError(t, err)
	core, err := service.New(service.Config{
		DB: db, Outbox: &corefakes.FakeOutbox{}, Mailer: mailer,
		Customers: &customersfakes.FakeCustomersService{}, Auth: &authfakes.FakeAuthService{}, Accounts: &authfakes.FakeAccountsService{},
		Settings: service.DefaultSettings(),
	})
	require.NoError(t, err)
	consumer, err := subscriber.Customers(core)
	require.NoError(t, err)
	jane := event(`{"type": "EventTypeSignup", "customer": {"id": "1", "email": "jane@example.com"}}`)
	joe := event(`{"type": "EventTypeSignup", "customer": {"id": "2", "email": "joe@example.com"}}`)
	var first string
	handle := func(batch ...*events.Event) error {
		return db.Tx(t.Context(), func(ctx context.Context, tx database.Querier) error { return consumer.Handle(ctx, tx, batch) })
	}
	for i, batch := range [][]*events.Event{{jane}, {jane, joe}, {joe, jane, jane}} {
		require.NoError(t, handle(batch...))
		require.NoError(t, core.SendWelcomes(t.Context()))
		got, err := os.ReadFile(filepath.Join(dir, jane.ID.String()+mail.Extension))
		require.NoError(t, err)
		if i == 0 {
			first = string(got)
		}
		require.Equal(t, first, string(got))
	}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 2)
	require.Contains(t, first, "To: <jane@example.com>")
	err = handle(event(`{"type": "EventTypeSignup", "customer": {"email": "jane"}}`))
	require.True(t, errors.Permanent(err), "%v", err)
}
