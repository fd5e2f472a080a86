package service_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	authpb "github.com/micro/micro/v3/proto/auth"
	"github.com/micro/micro/v3/service/client"
	microerrors "github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/require"

	customerspb "github.com/m3o/backend/customers/proto"
	customersfakes "github.com/m3o/backend/customers/proto/fakes"
	authfakes "github.com/m3o/backend/pkg/auth/fakes"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/signup/service"
	"github.com/m3o/backend/signup/service/fakes"
	"github.com/m3o/backend/signup/service/migrations"
)

const (
	jane   = "jane@example.com"
	secret = "correct horse"
)

// world is what is around the core: customers, accounts, mails and the time, in the memory of the test. Each call of another
// service goes through interrupt, before and after its effect.
type world struct {
	*service.Signup
	db        *database.DB
	customers *customersfakes.FakeCustomersService
	auth      *authfakes.FakeAuthService
	accounts  *authfakes.FakeAccountsService
	mailer    *fakes.FakeMailer
	outbox    *fakes.FakeOutbox

	mu        sync.Mutex
	now       time.Time
	people    map[string]*customerspb.Customer // by the address in lower case
	passwords map[string]string                // by id
	mails     []service.Mail
	interrupt func(step string) error
}

func setup(t testing.TB, db *database.DB) *world {
	t.Helper()
	return setupWith(t, db, func(*service.Settings) {})
}

func setupWith(t testing.TB, db *database.DB, change func(*service.Settings)) *world {
	t.Helper()
	w := &world{
		db: db, customers: &customersfakes.FakeCustomersService{}, auth: &authfakes.FakeAuthService{}, accounts: &authfakes.FakeAccountsService{},
		mailer: &fakes.FakeMailer{}, outbox: &fakes.FakeOutbox{}, now: time.Date(2030, 5, 17, 12, 0, 0, 123_456_789, time.UTC),
		people: make(map[string]*customerspb.Customer), passwords: make(map[string]string),
		interrupt: func(string) error { return nil },
	}
	w.customers.CreateStub = w.create
	w.customers.ReadStub = w.read
	w.customers.MarkVerifiedStub = w.markVerified
	w.customers.ActivateStub = w.activate
	w.customers.LoginStub = w.login
	w.auth.GenerateStub = w.generate
	w.accounts.ChangeSecretStub = w.changeSecret
	w.mailer.SendStub = func(_ context.Context, m service.Mail) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.mails = append(w.mails, m)
		return nil
	}
	settings := service.DefaultSettings()
	change(&settings)
	var err error
	w.Signup, err = service.New(service.Config{
		DB: db, Outbox: w.outbox, Mailer: w.mailer, Customers: w.customers, Auth: w.auth, Accounts: w.accounts, Settings: settings,
		Clock: func() time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.now
		},
	})
	require.NoError(t, err)
	return w
}

func each(t *testing.T, f func(t *testing.T, db *database.DB)) {
	t.Helper()
	t.Parallel()
	databasetest.Each(t, "signup", migrations.FS, f)
}

func refusal(code int32) error { return microerrors.New("customers.Customers.X", "hush", code) }

// step runs a call of another service, which sees the caller's own token, with what the test does to it.
func step[R any](w *world, name string, opts []client.CallOption, f func() (R, error)) (R, error) {
	var none R
	var options client.CallOptions
	for _, o := range opts {
		o(&options)
	}
	if !options.AuthToken {
		return none, refusal(http.StatusUnauthorized)
	}
	w.mu.Lock()
	interrupt := w.interrupt
	w.mu.Unlock()
	if err := interrupt("before " + name); err != nil {
		return none, err
	}
	w.mu.Lock()
	rsp, err := f()
	w.mu.Unlock()
	if err != nil {
		return none, err
	}
	return rsp, interrupt("after " + name)
}

func (w *world) create(_ context.Context, req *customerspb.CreateRequest, opts ...client.CallOption) (*customerspb.CreateResponse, error) {
	return step(w, "create", opts, func() (*customerspb.CreateResponse, error) {
		c := w.people[strings.ToLower(req.Email)]
		if c == nil {
			c = w.add(req.Email, "awaiting_verification")
		}
		if c.Status == "inactive" {
			return nil, refusal(http.StatusConflict)
		}
		return &customerspb.CreateResponse{Customer: copyOf(c)}, nil
	})
}

func (w *world) add(email, status string) *customerspb.Customer {
	c := &customerspb.Customer{Id: fmt.Sprintf("0190aaaa-0000-7000-8000-%012d", len(w.people)), Email: email, Status: status}
	w.people[strings.ToLower(email)] = c
	return c
}

func copyOf(c *customerspb.Customer) *customerspb.Customer {
	return &customerspb.Customer{Id: c.Id, Email: c.Email, Status: c.Status}
}

func (w *world) read(_ context.Context, req *customerspb.ReadRequest, opts ...client.CallOption) (*customerspb.ReadResponse, error) {
	return step(w, "read", opts, func() (*customerspb.ReadResponse, error) {
		c := w.people[strings.ToLower(req.Email)]
		if c == nil {
			return nil, refusal(http.StatusNotFound)
		}
		return &customerspb.ReadResponse{Customer: copyOf(c)}, nil
	})
}

func (w *world) markVerified(_ context.Context, req *customerspb.MarkVerifiedRequest, opts ...client.CallOption) (*customerspb.MarkVerifiedResponse, error) {
	return step(w, "verify", opts, func() (*customerspb.MarkVerifiedResponse, error) {
		c := w.people[strings.ToLower(req.Email)]
		switch {
		case c == nil:
			return nil, refusal(http.StatusNotFound)
		case c.Status == "inactive" || c.Status == "banned":
			return nil, refusal(http.StatusConflict)
		case c.Status == "awaiting_verification":
			c.Status = "verified"
		}
		return &customerspb.MarkVerifiedResponse{Customer: copyOf(c)}, nil
	})
}

func (w *world) activate(_ context.Context, req *customerspb.ActivateRequest, opts ...client.CallOption) (*customerspb.ActivateResponse, error) {
	return step(w, "activate", opts, func() (*customerspb.ActivateResponse, error) {
		for _, c := range w.people {
			if c.Id == req.Id && (c.Status == "verified" || c.Status == "active") {
				c.Status = "active"
				return &customerspb.ActivateResponse{Customer: copyOf(c)}, nil
			}
		}
		return nil, refusal(http.StatusConflict)
	})
}

func (w *world) login(_ context.Context, req *customerspb.LoginRequest, opts ...client.CallOption) (*customerspb.LoginResponse, error) {
	return step(w, "login", opts, func() (*customerspb.LoginResponse, error) {
		c := w.people[strings.ToLower(req.Email)]
		if c == nil || c.Status != "active" || w.passwords[c.Id] != req.Password {
			return nil, refusal(http.StatusUnauthorized)
		}
		return &customerspb.LoginResponse{Token: &customerspb.Token{AccessToken: "token of " + c.Id}}, nil
	})
}

func (w *world) generate(_ context.Context, req *authpb.GenerateRequest, opts ...client.CallOption) (*authpb.GenerateResponse, error) {
	return step(w, "generate", opts, func() (*authpb.GenerateResponse, error) {
		if req.Type != "customer" || len(req.Scopes) > 0 || req.Name != req.Id || len(req.Secret) < 8 {
			return nil, refusal(http.StatusForbidden)
		}
		if _, ok := w.passwords[req.Id]; ok {
			return nil, refusal(http.StatusConflict)
		}
		w.passwords[req.Id] = req.Secret
		return &authpb.GenerateResponse{Account: &authpb.Account{Id: req.Id}}, nil
	})
}

func (w *world) changeSecret(_ context.Context, req *authpb.ChangeSecretRequest, opts ...client.CallOption) (*authpb.ChangeSecretResponse, error) {
	return step(w, "change", opts, func() (*authpb.ChangeSecretResponse, error) {
		if _, ok := w.passwords[req.Id]; !ok {
			return nil, refusal(http.StatusNotFound)
		}
		w.passwords[req.Id] = req.NewSecret
		return &authpb.ChangeSecretResponse{}, nil
	})
}

// person adds somebody with a status, and with a password if they are or were active.
func (w *world) person(email, status string) *customerspb.Customer {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.add(email, status)
	if status == "active" || status == "banned" {
		w.passwords[c.Id] = "the old one"
	}
	return c
}

func (w *world) status(email string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.people[email].GetStatus()
}

func (w *world) interrupted(f func(step string) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupt = f
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) sent() []service.Mail {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mails
}

var tokenInMail = regexp.MustCompile(`(?m)^[A-Z2-7]{26}$`)

// tokenOf is the token in a mail; empty if it has none.
func tokenOf(m service.Mail) string { return tokenInMail.FindString(m.Text) }

// token asks for a mail and returns the token in it.
func (w *world) token(t testing.TB, ask func(context.Context, string) error, email string) string {
	t.Helper()
	before := len(w.sent())
	require.NoError(t, ask(context.Background(), email))
	sent := w.sent()
	require.Len(t, sent, before+1)
	token := tokenOf(sent[before])
	require.NotEmpty(t, token, sent[before].Text)
	return token
}

// dump is everything in the tables of tokens and mails.
func (w *world) dump(t testing.TB) string {
	t.Helper()
	var all []string
	for _, query := range []string{
		`SELECT address || ' ' || purpose || ' ' || hash || ' ' || customer_id || ' ' || claim FROM signup_tokens ORDER BY address`,
		`SELECT address || ' ' || sent FROM signup_mails ORDER BY address`,
	} {
		rows, err := w.db.Read().Query(context.Background(), query)
		require.NoError(t, err)
		for rows.Next() {
			var row string
			require.NoError(t, rows.Scan(&row))
			all = append(all, row)
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
	}
	return strings.Join(all, "\n")
}

func count(t testing.TB, db *database.DB, table string) int {
	t.Helper()
	var n int
	require.NoError(t, db.Read().QueryRow(context.Background(), `SELECT COUNT(*) FROM signup_`+table).Scan(&n))
	return n
}
