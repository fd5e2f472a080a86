package handler_test

import (
	stderrors "errors"
	"strings"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/customers/handler"
	"github.com/m3o/backend/customers/handler/fakes"
	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/service/servicetest"
)

const id = "0190f8b0-0000-7000-8000-000000000000"

// jane is a customer in the core, and proto the same on the wire.
var (
	jane = service.Customer{
		ID: id, Status: service.Active, Email: "jane@example.com", Name: "Jane", Meta: map[string]string{"a": "b"},
		Created: time.Unix(1_700_000_000, 999_999_000), Updated: time.Unix(1_800_000_000, 0), Version: 3,
	}
	proto = &pb.Customer{
		Id: id, Status: "active", Email: "jane@example.com", Name: "Jane", Meta: map[string]string{"a": "b"},
		Created: 1_700_000_000, Updated: 1_800_000_000, Version: 3,
	}
)

// edge is the handlers behind the real server, on a core that does what the test says.
type edge struct {
	core *fakes.FakeCore
	raw  *servicetest.Client
	pb.CustomersService
}

func setup(t *testing.T) *edge {
	t.Helper()
	core := new(fakes.FakeCore)
	h, err := handler.New(handler.Config{Core: core})
	require.NoError(t, err)
	client := servicetest.Serve(t, "customers", func(s server.Server) error { return pb.RegisterCustomersHandler(s, h) })
	return &edge{core, client, pb.NewCustomersService("customers", client)}
}

// calls is how often the core was called.
func (e *edge) calls() int {
	return e.core.CreateCallCount() + e.core.ReadCallCount() + e.core.ListCallCount() + e.core.UpdateCallCount() +
		e.core.DeleteCallCount() + e.core.MarkVerifiedCallCount() + e.core.ActivateCallCount() + e.core.BanCallCount() +
		e.core.UnbanCallCount() + e.core.LoginCallCount() + e.core.LogoutCallCount() + e.core.EraseCallCount() +
		e.core.ReadErasureCallCount() +
		e.core.UndeleteCallCount() + e.core.SessionsCallCount() + e.core.RevokeSessionCallCount() +
		e.core.RequestEmailChangeCallCount() + e.core.ConfirmEmailChangeCallCount()
}

func TestConfig(t *testing.T) {
	t.Parallel()
	_, err := handler.New(handler.Config{})
	require.EqualError(t, err, "customers: the core is missing")
}

// What is wrong with a request by its form does not reach the core.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	e := setup(t)
	long := strings.Repeat("x", 1<<20)
	for endpoint, bodies := range map[string]map[string]string{
		"Customers.Create": {
			`{"email": 5}`:                     "email: expected a string",
			`{"email": "a", "meta": {"a": 1}}`: "meta: each value: expected a string",
			`{"email": "a", "age": 5}`:         `body: unknown field "age"`,
			"{\"name\": \"\xff\"}":             "name: expected valid UTF-8",
			`{"email"`:                         "body: not valid JSON",
		},
		"Customers.Read":         {`{"id": 5}`: "id: expected a string", `[]`: "body: expected an object"},
		"Customers.Delete":       {`{"id": 5}`: "id: expected a string", `{"forced": true}`: `body: unknown field "forced"`},
		"Customers.MarkVerified": {`{"id": 5}`: "id: expected a string"},
		"Customers.Activate":     {`{"email": "a"}`: `body: unknown field "email"`},
		"Customers.Ban":          {`{"reason": ["a"]}`: "reason: expected a string"},
		"Customers.Unban":        {`{"reason": "a"}`: `body: unknown field "reason"`},
		"Customers.Login": {
			`{"password": 5}`:          "password: expected a string",
			"{\"password\": \"\xff\"}": "password: expected valid UTF-8",
			`{"refresh_token": {}}`:    "refresh_token: expected a string",
		},
		"Customers.UpdateName":    {`{"name": 5}`: "name: expected a string", "{\"name\": \"\xff\"}": "name: expected valid UTF-8"},
		"Customers.Undelete":      {`{"email": "a"}`: `body: unknown field "email"`},
		"Customers.ListSessions":  {`{"customer_id": 5}`: "customer_id: expected a string"},
		"Customers.RevokeSession": {`{"id": ["a"]}`: "id: expected a string", `{"all": true}`: `body: unknown field "all"`},
		"Customers.Logout":        {`{"session": "a"}`: `body: unknown field "session"`},
		"Customers.List": {
			`{"page_size": "` + long + `"}`: "page_size: expected a whole number",
			`{"page_token": 5}`:             "page_token: expected a string",
		},
		"Customers.Update": {
			`{"customer": "` + long + `"}`:                           "customer: expected an object",
			`{"customer": {"version": 1.5}}`:                         "customer.version: expected a whole number",
			`{"customer": {"nick": "a"}}`:                            `customer: unknown field "nick"`,
			`{"update_mask": ["name"]}`:                              "update_mask: expected names of fields",
			`{"update_mask": "name"}`:                                "customer: required",
			`{}`:                                                     "customer: required",
			`{"customer": {}}`:                                       "update_mask: must name at least one of",
			`{"customer": {}, "update_mask": ""}`:                    "update_mask: must name at least one of",
			`{"customer": {}, "update_mask": "id"}`:                  "update_mask: id cannot be updated",
			`{"customer": {}, "update_mask": "name,created"}`:        "update_mask: created cannot be updated",
			`{"customer": {}, "update_mask": "name.first"}`:          "update_mask: name.first cannot be updated",
			`{"customer": {}, "update_mask": "` + long + `"}`:        "update_mask: expected name, meta, email or status",
			`{"customer": {"meta": {"a": "b", "a": "c"}}}`:           "customer.meta: a key is given more than once",
			`{"customer": {"name": "a"}, "customer": {"name": "b"}}`: "customer: given more than once",
		},
	} {
		for body, detail := range bodies {
			_, err := e.raw.JSON(t.Context(), endpoint, body)
			servicetest.RequireError(t, err, 400, "customers."+endpoint, detail)
		}
	}
	assert.Zero(t, e.calls())
}

// What the core refuses reaches the caller with its code and its words, and what fails inside does not.
func TestErrorsOfTheCore(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err    error
		code   int
		detail string
	}{
		"invalid":   {errors.Invalid("email", "too long"), 400, "email: too long$"},
		"not found": {errors.NotFound("id", "there is no such customer"), 404, "id: there is no such customer$"},
		"conflict":  {errors.Conflict("version", "is 3 now"), 409, "version: is 3 now$"},
		"refused":   {errors.Unauthenticated("check both"), 401, "check both$"},
		"too many":  {errors.TooMany("try again in 30 seconds"), 429, "try again in 30 seconds$"},
		"away":      {errors.Unavailable("the auth service is away"), 503, "the auth service is away$"},
		"internal":  {stderrors.New("disk full"), 500, "internal error, reference "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := setup(t)
			e.core.CreateReturns(service.Customer{}, tc.err)
			e.core.ReadReturns(service.Customer{}, tc.err)
			e.core.ListReturns(service.Page{}, tc.err)
			e.core.UpdateReturns(service.Customer{}, tc.err)
			e.core.DeleteReturns(tc.err)
			e.core.MarkVerifiedReturns(service.Customer{}, tc.err)
			e.core.ActivateReturns(service.Customer{}, tc.err)
			e.core.BanReturns(service.Customer{}, tc.err)
			e.core.UnbanReturns(service.Customer{}, tc.err)
			e.core.LoginReturns(service.Token{}, tc.err)
			e.core.LogoutReturns(tc.err)
			e.core.EraseReturns(tc.err)
			e.core.ReadErasureReturns(nil, tc.err)
			e.core.UndeleteReturns(service.Customer{}, tc.err)
			e.core.SessionsReturns(nil, tc.err)
			e.core.RevokeSessionReturns(tc.err)
			e.core.RequestEmailChangeReturns(tc.err)
			e.core.ConfirmEmailChangeReturns(service.Customer{}, tc.err)

			_, err := e.Create(t.Context(), &pb.CreateRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Customers.Create", tc.detail)
			_, err = e.Read(t.Context(), &pb.ReadRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Customers.Read", tc.detail)
			_, err = e.List(t.Context(), &pb.ListRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Customers.List", tc.detail)
			_, err = e.Delete(t.Context(), &pb.DeleteRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Customers.Delete", tc.detail)
			_, err = e.Delete(t.Context(), &pb.DeleteRequest{Force: true})
			servicetest.RequireError(t, err, tc.code, "customers.Customers.Delete", tc.detail)
			_, err = e.ReadErasure(t.Context(), &pb.ReadErasureRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Customers.ReadErasure", tc.detail)
			_, err = e.MarkVerified(t.Context(), &pb.MarkVerifiedRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Customers.MarkVerified", tc.detail)
			_, err = e.Activate(t.Context(), &pb.ActivateRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Customers.Activate", tc.detail)
			_, err = e.Ban(t.Context(), &pb.BanRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Customers.Ban", tc.detail)
			_, err = e.Unban(t.Context(), &pb.UnbanRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Customers.Unban", tc.detail)
			_, err = e.Login(t.Context(), &pb.LoginRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Customers.Login", tc.detail)
			_, err = e.Logout(t.Context(), &pb.LogoutRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Customers.Logout", tc.detail)
			_, err = e.RequestEmailChange(t.Context(), &pb.RequestEmailChangeRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Customers.RequestEmailChange", tc.detail)
			_, err = e.ConfirmEmailChange(t.Context(), &pb.ConfirmEmailChangeRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Customers.ConfirmEmailChange", tc.detail)
			_, err = e.UpdateName(t.Context(), &pb.UpdateNameRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Customers.UpdateName", tc.detail)
			_, err = e.Undelete(t.Context(), &pb.UndeleteRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Customers.Undelete", tc.detail)
			_, err = e.ListSessions(t.Context(), &pb.ListSessionsRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Customers.ListSessions", tc.detail)
			_, err = e.RevokeSession(t.Context(), &pb.RevokeSessionRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Customers.RevokeSession", tc.detail)
			_, err = e.Update(t.Context(), updateRequest("name"))
			if strings.Contains(tc.err.Error(), ": ") {
				tc.detail = `customer\.` + tc.detail // the core does not know in which message a field is
			}
			servicetest.RequireError(t, err, tc.code, "customers.Customers.Update", tc.detail)
			assert.Equal(t, 19, e.calls())
		})
	}
}
