package handler_test

import (
	"context"
	stderrors "errors"
	"strings"
	"testing"

	"github.com/micro/micro/v3/service/context/metadata"
	microerrors "github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/require"

	customerspb "github.com/m3o/backend/customers/proto"
	customersfakes "github.com/m3o/backend/customers/proto/fakes"
	authfakes "github.com/m3o/backend/pkg/auth/fakes"
	"github.com/m3o/backend/pkg/database/databasetest"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/service/servicetest"
	"github.com/m3o/backend/signup/handler/fakes"
	pb "github.com/m3o/backend/signup/proto"
	"github.com/m3o/backend/signup/service"
	corefakes "github.com/m3o/backend/signup/service/fakes"
	"github.com/m3o/backend/signup/service/migrations"
)

// realCore is a core that sends mails and asks customers as the test says.
func realCore(t *testing.T, mailer service.Mailer, customers customerspb.CustomersService) *service.Signup {
	t.Helper()
	core, err := service.New(service.Config{
		DB: databasetest.Open(t, "signup", migrations.FS), Outbox: &corefakes.FakeOutbox{}, Mailer: mailer, Customers: customers,
		Auth: &authfakes.FakeAuthService{}, Accounts: &authfakes.FakeAccountsService{}, Settings: service.DefaultSettings(),
	})
	require.NoError(t, err)
	return core
}

// calls is how often the core was called for what these RPCs do.
func calls(core *fakes.FakeCore) int {
	return core.SendVerificationEmailCallCount() + core.CompleteSignupCallCount() + core.RecoverCallCount() + core.ResetPasswordCallCount()
}

// Anybody may call, and every RPC calls the core once with what it was given.
func TestSigningUp(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	signup := pb.NewSignupService("signup", c.As(nil))
	core.CompleteSignupReturns(service.Session{AuthToken: "a token", CustomerID: "an id", Namespace: "micro"}, nil)

	_, err := signup.SendVerificationEmail(t.Context(), &pb.SendVerificationEmailRequest{Email: "jane@example.com"})
	require.NoError(t, err)
	rsp, err := signup.CompleteSignup(t.Context(), &pb.CompleteSignupRequest{Email: "jane@example.com", Token: "TOKEN", Secret: "s3cr3t"})
	require.NoError(t, err)
	_, err = signup.Recover(t.Context(), &pb.RecoverRequest{Email: "joe@example.com"})
	require.NoError(t, err)
	_, err = signup.ResetPassword(t.Context(), &pb.ResetPasswordRequest{Email: "joe@example.com", Token: "OTHER", Password: "pa55word"})
	require.NoError(t, err)

	require.Equal(t, 4, calls(core))
	_, email := core.SendVerificationEmailArgsForCall(0)
	require.Equal(t, "jane@example.com", email)
	_, email, token, secret := core.CompleteSignupArgsForCall(0)
	require.Equal(t, []string{"jane@example.com", "TOKEN", "s3cr3t"}, []string{email, token, secret})
	require.Equal(t, "a token", rsp.AuthToken)
	require.Equal(t, "an id", rsp.CustomerID)
	require.Equal(t, "micro", rsp.Namespace)
	_, email = core.RecoverArgsForCall(0)
	require.Equal(t, "joe@example.com", email)
	_, email, token, secret = core.ResetPasswordArgsForCall(0)
	require.Equal(t, []string{"joe@example.com", "OTHER", "pa55word"}, []string{email, token, secret})
}

// The names that callers of the JSON API see.
func TestSigningUpInJSON(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	core.CompleteSignupReturns(service.Session{AuthToken: "a token", CustomerID: "an id", Namespace: "micro"}, nil)
	for endpoint, want := range map[string]string{
		"Signup.SendVerificationEmail": `{}`, "Signup.Recover": `{}`, "Signup.ResetPassword": `{}`,
		"Signup.CompleteSignup": `{"authToken": "a token", "customerID": "an id", "namespace": "micro"}`,
	} {
		reply, err := c.As(nil).JSON(t.Context(), endpoint, `{"email": "jane@example.com"}`)
		require.NoError(t, err)
		require.JSONEq(t, want, reply)
	}
	// Whatever the codec makes of what is no plain text.
	core.CompleteSignupReturns(service.Session{AuthToken: "é", CustomerID: "an id", Namespace: "micro"}, nil)
	reply, err := c.As(nil).JSON(t.Context(), "Signup.CompleteSignup", `{}`)
	require.NoError(t, err)
	require.JSONEq(t, `{"authToken": "é", "customerID": "an id", "namespace": "micro"}`, reply)
}

func TestWhatTheCoreRefusesOfSigningUp(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	for _, tc := range []struct {
		err    error
		code   int
		detail string
	}{
		{errors.Invalid("email", "required"), 400, "email: required$"},
		{errors.Forbidden("not from there"), 403, "not from there$"},
		{errors.Conflict("token", "is being used"), 409, "token: is being used$"},
		{errors.TooMany("later"), 429, "later$"},
		{errors.Unavailable("later"), 503, "later$"},
		{stderrors.New("10.0.0.1 is down"), 500, "internal error, reference [0-9a-f]+$"},
	} {
		core.SendVerificationEmailReturns(tc.err)
		core.CompleteSignupReturns(service.Session{}, tc.err)
		core.RecoverReturns(tc.err)
		core.ResetPasswordReturns(tc.err)
		for _, method := range []string{"SendVerificationEmail", "CompleteSignup", "Recover", "ResetPassword"} {
			_, err := c.JSON(t.Context(), "Signup."+method, `{}`)
			servicetest.RequireError(t, err, tc.code, "signup.Signup."+method, tc.detail)
		}
	}
}

func TestWhatIsNoRequestToSignUp(t *testing.T) {
	t.Parallel()
	core, c := setup(t)
	for endpoint, fields := range map[string][]string{
		"Signup.SendVerificationEmail": {"email"}, "Signup.Recover": {"email"},
		"Signup.CompleteSignup": {"email", "token", "secret"}, "Signup.ResetPassword": {"email", "token", "password"},
	} {
		bodies := map[string]string{`{"email"`: `body: not valid JSON`, `[]`: `body: expected an object`, `{"nick": "a"}`: `body: unknown field "nick"`}
		for _, f := range fields {
			bodies[`{"`+f+`": 5}`] = f + ": expected a string"
			bodies[`{"`+f+`": ["a"]}`] = f + ": expected a string"
			bodies["{\""+f+"\": \"\xff\"}"] = f + ": expected valid UTF-8"
			bodies[`{"`+f+`": "a", "`+f+`": "b"}`] = f + ": given more than once"
		}
		for body, detail := range bodies {
			_, err := c.JSON(t.Context(), endpoint, body)
			servicetest.RequireError(t, err, 400, "signup."+endpoint, detail)
		}
	}
	require.Zero(t, calls(core))
}

// With the real core: what a caller sees when something is wrong, of which nothing is what they have sent.
func TestSigningUpWithTheRealCore(t *testing.T) {
	t.Parallel()
	customers := &customersfakes.FakeCustomersService{}
	customers.CreateReturns(&customerspb.CreateResponse{Customer: &customerspb.Customer{Id: "an id", Status: "awaiting_verification"}}, nil)
	customers.ReadReturns(nil, microerrors.NotFound("customers.Customers.Read", "there is no such customer"))
	mailer := &corefakes.FakeMailer{}
	c := serve(t, realCore(t, mailer, customers)).As(nil)
	const secret = "s3cr3t"
	const aToken = "token: is not good, or not any more: ask for another one$"
	long := strings.Repeat(secret, 1<<18)
	for _, tc := range []struct{ method, body, detail string }{
		{"SendVerificationEmail", ``, "email: required$"},
		{"SendVerificationEmail", `{"email": "s3cr3t"}`, "email: must be an address"},
		{"SendVerificationEmail", `{"email": "` + long + `"}`, "email: must have at most 254 bytes"},
		{"Recover", ``, "email: required$"},
		{"CompleteSignup", ``, "email: required$"},
		{"CompleteSignup", `{"email": "s3cr3t@example.com"}`, aToken},
		{"CompleteSignup", `{"email": "s3cr3t@example.com", "token": "` + long + `"}`, aToken},
		{"CompleteSignup", `{"email": "s3cr3t@example.com", "token": "S3CR3TS3CR3TS3CR3TS3CR3TXX", "secret": "s3cr3t.s3cr3t"}`, aToken},
		{"CompleteSignup", `{"email": "a@b.cd", "token": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "secret": "` + long + `"}`, "secret: must have 8 to 72 bytes"},
		{"ResetPassword", `{"email": "a@b.cd", "token": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "password": "s3cr3t"}`, "password: must have 8 to 72 bytes"},
		{"ResetPassword", `{"email": "a@b.cd", "token": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "password": "s3cr3t.s3cr3t"}`, aToken},
	} {
		_, err := c.JSON(t.Context(), "Signup."+tc.method, tc.body)
		servicetest.RequireError(t, err, 400, "signup.Signup."+tc.method, tc.detail)
		require.NotContains(t, strings.ToLower(err.Error()), secret)
	}
	require.Zero(t, mailer.SendCallCount())

	for range 2 {
		for _, method := range []string{"SendVerificationEmail", "Recover"} {
			reply, err := c.JSON(t.Context(), "Signup."+method, `{"email": "jane@example.com"}`)
			require.NoError(t, err)
			require.JSONEq(t, `{}`, reply)
		}
	}
	require.Equal(t, 4, mailer.SendCallCount())
	require.Equal(t, 2, customers.CreateCallCount())
	require.Equal(t, 2, customers.ReadCallCount())
	mailer.SendStub = func(context.Context, service.Mail) error { return stderrors.New("10.0.0.1 is down") }
	_, err := c.JSON(t.Context(), "Signup.Recover", `{"email": "joe@example.com"}`)
	servicetest.RequireError(t, err, 503, "signup.Signup.Recover", "mail cannot be sent at the moment: try again in a few minutes$")
	// What customers refuses, which can be no fault of this caller, is ours.
	customers.CreateReturns(nil, microerrors.Forbidden("customers.Customers.Create", "not you"))
	_, err = c.JSON(t.Context(), "Signup.SendVerificationEmail", `{"email": "joe@example.com"}`)
	servicetest.RequireError(t, err, 500, "signup.Signup.SendVerificationEmail", "internal error, reference")
}

// The core learns where a call comes from, of what the platform's doors say.
func TestMailsPerCaller(t *testing.T) {
	t.Parallel()
	customers := &customersfakes.FakeCustomersService{}
	c := serve(t, realCore(t, &corefakes.FakeMailer{}, customers))
	signup := pb.NewSignupService("signup", c.As(nil))
	most := service.DefaultSettings().MailsPerCallerPerHour
	ask := func(address string) error {
		ctx := metadata.NewContext(t.Context(), metadata.Metadata{"X-Forwarded-For": address})
		_, err := signup.Recover(ctx, &pb.RecoverRequest{Email: "jane@example.com"})
		return err
	}
	for range most {
		require.NoError(t, ask("192.0.2.1"))
	}
	servicetest.RequireError(t, ask("192.0.2.1"), 429, "signup.Signup.Recover", "too many mails were asked for .*: try again in [0-9]+ seconds$")
	require.Equal(t, most, customers.ReadCallCount())
	require.NoError(t, ask("192.0.2.2"))
	require.NoError(t, ask("127.0.0.1"))
}
