package acceptance

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3" // reads the services' databases
	"github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/m3o/backend/billing/proto"
	_ "github.com/m3o/backend/customers/proto"
	_ "github.com/m3o/backend/mixpanel/proto"
	"github.com/m3o/backend/pkg/acceptance/client"
	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/service/direct"
	_ "github.com/m3o/backend/signup/proto"
	_ "github.com/m3o/backend/usage/proto"
)

// marker stands in every value that is sent, and in nothing that comes back.
const marker = "tellnobody"

// valid is a good request of every RPC, so that a bad value is the only thing that is wrong. An RPC that is missing here
// fails the test: it is covered on the day it is written.
var valid = map[string]map[string]any{
	"customers.Customers.Create": {"email": "valid@example.com", "name": "Valid", "meta": map[string]any{"k": "v"}},
	"customers.Customers.Read":   {"email": "known@example.com"},
	"customers.Customers.List":   {},
	"customers.Customers.Update": {"customer": map[string]any{"id": "", "name": ""}, "update_mask": "name"},
	"customers.Customers.Delete": {"email": "known@example.com"},

	"customers.Customers.MarkVerified":       {"email": "proven@example.com"},
	"customers.Customers.Activate":           {"id": "{customer}"},
	"customers.Customers.Ban":                {"email": "barred@example.com", "reason": "spam"},
	"customers.Customers.Unban":              {"email": "barred@example.com"},
	"customers.Customers.Login":              {"email": "member@example.com", "password": password},
	"customers.Customers.Logout":             {"customer_id": "{customer}"},
	"customers.Customers.UpdateName":         {"id": "{customer}", "name": "Valid"},
	"customers.Customers.RequestEmailChange": {"id": "{customer}", "email": "another@example.com"},
	"customers.Customers.ConfirmEmailChange": {"id": "{customer}", "token": nobodysToken},
	"signup.Signup.SendEmailChange": {
		"email": "another@example.com", "old_email": "known@example.com", "token": nobodysToken, "good_for": 3600,
	},
	"customers.Customers.Undelete":     {"id": "{customer}"},
	"customers.Customers.ListSessions": {"customer_id": "{customer}"},
	"customers.Customers.RevokeSession": {
		"customer_id": "{customer}", "id": "01900000-0000-7000-8000-000000000000",
	},
	"customers.Keys.GenerateKey":      {"customer_id": "{customer}"},
	"customers.Keys.ListKeys":         {"customer_id": "{customer}"},
	"customers.Keys.RevokeKey":        {"customer_id": "{customer}", "id": "{key to revoke}"},
	"customers.Keys.VerifyKey":        {"api_key": "{key}"},
	"customers.Customers.ReadErasure": {"id": "01900000-0000-7000-8000-000000000000"},
	"customers.Keys.RotateKey":        {"customer_id": "{customer}", "id": "{key to rotate}", "grace_seconds": 60},
	"customers.Keys.BlockKey":         {"customer_id": "{customer}", "key_id": "{key to block}", "message": "Call us"},
	"customers.Keys.UnblockKey":       {"customer_id": "{customer}", "key_id": "{key to block}"},

	"billing.Billing.ListTiers":   {},
	"billing.Billing.ReadAccount": {"id": "01900000-0000-7000-8000-000000000000"},
	"billing.Billing.SubscribeTier": {
		"id": "free", "card_id": "pm_valid", "idempotency_key": "valid", "customer_id": "01900000-0000-7000-8000-000000000000",
	},
	"billing.Billing.CancelSubscription": {"at_period_end": true, "customer_id": "01900000-0000-7000-8000-000000000000"},
	"billing.Billing.SetupCard":          {"customer_id": "01900000-0000-7000-8000-000000000000"},
	"billing.Billing.ListCards":          {"customer_id": "01900000-0000-7000-8000-000000000000"},
	"billing.Billing.DeleteCard":         {"id": "pm_valid", "customer_id": "01900000-0000-7000-8000-000000000000"},
	"billing.Billing.PublishAPI": {
		"api_name": "valid", "endpoints": []any{map[string]any{"name": "Valid", "price": 1}},
	},
	"billing.Billing.ListPrices": {},
	"billing.Billing.Webhook":    {"method": "POST", "body": "{}"},

	"mixpanel.Mixpanel.Ping":              {},
	"mixpanel.Mixpanel.Status":            {},
	"signup.Signup.Track":                 {"id": "known", "email": "known@example.com"},
	"signup.Signup.SendVerificationEmail": {"email": "visitor@example.com"},
	"signup.Signup.CompleteSignup":        {"email": "visitor@example.com", "token": nobodysToken, "secret": password},
	"signup.Signup.Recover":               {"email": "visitor@example.com"},
	"signup.Signup.ResetPassword":         {"email": "visitor@example.com", "token": nobodysToken, "password": password},
	"signup.Signup.ReadTrack":             {"id": "known"},
	"usage.Usage.ReadMonthlyTotal":        {"customer_id": "01900000-0000-7000-8000-000000000000"},
	"usage.Usage.ReadMonthly":             {"customer_id": "01900000-0000-7000-8000-000000000000", "endpoints": []any{"weather/Now"}},
	"usage.Usage.Read":                    {"customer_id": "01900000-0000-7000-8000-000000000000", "detail": true, "window": "month"},
	"usage.Usage.SetQuota":                {"customer_id": "01900000-0000-7000-8000-000000000000", "quota": 10},
	"usage.Usage.Record": {"batch_id": "valid", "requests": []any{map[string]any{
		"id": "01900000-0000-7000-8000-000000000001", "customer_id": "01900000-0000-7000-8000-000000000000", "api_key_id": "key",
		"api_name": "weather", "endpoint_name": "Now", "url": "/v1/weather/Now", "price": 100, "status": 200, "units": 1,
		"time": time.Now().UTC().Format(time.RFC3339),
	}}},
}

// nobodysToken looks like one that was sent by mail.
const nobodysToken = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// empty are the RPCs that need nothing to be said; all others refuse an empty message.
var empty = []string{
	"customers.Customers.List", "billing.Billing.ListTiers", "billing.Billing.ListPrices", "mixpanel.Mixpanel.Ping", "mixpanel.Mixpanel.Status",
}

// oneOf are fields of which a request has exactly one.
var oneOf = map[string][]string{
	"customers.Customers.Read": {"id", "email"}, "customers.Customers.Delete": {"id", "email"},
	"customers.Customers.MarkVerified": {"id", "email"}, "customers.Customers.Ban": {"id", "email"}, "customers.Customers.Unban": {"id", "email"},
	"usage.Usage.SetQuota": {"quota", "clear"},
}

// bad is one bad request.
type bad struct {
	name, body string
	// field is what the answer must name; empty where the answer may be good.
	field   string
	isEmpty bool
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	p := boot(t, services...)
	known := p.customer(t, "known@example.com")
	fill := p.members(t, known)
	_, err := p.Post(t.Context(), "/signup/Track", `{"id": "known"}`)
	require.NoError(t, err)
	// As an admin, who may ask for everything, so that the request is the only thing that is wrong.
	outside, inside := p.as(t, client.Admin), p.admin(t)

	require.Eventually(t, func() bool { return p.settled(t) }, time.Minute, 50*time.Millisecond, "what was done has not arrived everywhere")
	before := p.data(t)
	count := 0
	for _, m := range methods() {
		endpoint := strings.TrimPrefix(string(m.FullName()), string(m.ParentFile().Package())+".")
		service := string(m.ParentFile().Package())
		request, ok := valid[service+"."+endpoint]
		require.True(t, ok, "%s.%s has no valid request in this test's table", service, endpoint)
		if direct.Raw(m) {
			continue // whatever comes over HTTP is its message; raw_test.go has what is bad in it
		}
		if _, ok := request["customer"]; ok {
			request = with(request, []string{"customer", "id"}, known)
		}
		path := "/" + service + "/" + strings.ReplaceAll(endpoint, ".", "/")
		for i, c := range badRequests(m, request, oneOf[service+"."+endpoint]) {
			count++
			c.body = fill.Replace(c.body)
			if isOutside(t, m) {
				a, err := outside.Post(t.Context(), path, c.body)
				require.NoError(t, err)
				checkRefusal(t, path+" "+c.name, service+"."+endpoint, c, a.Code, string(a.Body))
			} else {
				answer, err := inside.JSON(t.Context(), service, endpoint, c.body)
				code := http.StatusOK
				if err != nil {
					code, answer = int(errors.FromError(err).Code), err.Error()
				}
				checkRefusal(t, path+" "+c.name, service+"."+endpoint, c, code, answer)
			}
			if i%7 == 0 && len(c.body) < 1000 {
				p.checkCommandLine(t, service, endpoint, c)
			}
		}
	}
	require.Equal(t, before, p.data(t), "what was refused has changed something")

	// Numbers in a query are good for some fields and bad for others, and must not be trouble for any.
	for _, m := range methods() {
		path := fmt.Sprintf("/%s/%s/%s?", m.ParentFile().Package(), m.Parent().Name(), m.Name())
		for _, f := range fieldsOf(m) {
			count++
			a, err := outside.Do(t.Context(), http.MethodGet, path+url.QueryEscape(string(f.Name()))+"=5", "")
			require.NoError(t, err)
			require.Less(t, a.Code, 500, "GET %s%s=5: %s", path, f.Name(), a.Body)
		}
	}
	t.Logf("%d bad requests of %d RPCs", count, len(methods()))
}

// checkRefusal checks one answer over HTTP.
func checkRefusal(t *testing.T, what, endpoint string, c bad, code int, body string) {
	t.Helper()
	require.NotContains(t, body, marker, "%s: what was sent is echoed", what)
	if c.isEmpty && slices.Contains(empty, endpoint) {
		require.Equal(t, http.StatusOK, code, "%s: %s", what, body)
		return
	}
	if c.field == "" && !c.isEmpty {
		require.Less(t, code, 500, "%s: %s", what, body)
		return
	}
	require.Equal(t, http.StatusBadRequest, code, "%s: %s", what, body)
	var e struct{ ID, Detail string }
	require.NoError(t, json.Unmarshal([]byte(body), &e))
	require.Contains(t, e.Detail, c.field, what)
	require.Contains(t, []string{endpoint, "api"}, e.ID, what)
}

// checkCommandLine checks the same with `micro call`, which shows what is wrong and nothing else.
func (p *platform) checkCommandLine(t *testing.T, service, endpoint string, c bad) {
	t.Helper()
	out, err := p.Run(t.Context(), "call", service, endpoint, c.body)
	require.NotContains(t, out, marker)
	require.NotContains(t, out, "panic")
	if c.field != "" && json.Valid([]byte(c.body)) {
		require.Error(t, err)
		require.Contains(t, out, c.field, "micro call %s %s %s", service, endpoint, c.name)
	}
}

// methods are all RPCs of all our services.
func methods() []protoreflect.MethodDescriptor {
	var found []protoreflect.MethodDescriptor
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if slices.Contains(services, string(f.Package())) {
			for i := range f.Services().Len() {
				s := f.Services().Get(i)
				for j := range s.Methods().Len() {
					found = append(found, s.Methods().Get(j))
				}
			}
		}
		return true
	})
	return found
}

// isOutside tells whether an RPC is reachable over HTTP.
func isOutside(t *testing.T, m protoreflect.MethodDescriptor) bool {
	t.Helper()
	policy, err := access.PolicyOf(m)
	require.NoError(t, err)
	return policy.Access.Outside()
}

func fieldsOf(m protoreflect.MethodDescriptor) []protoreflect.FieldDescriptor {
	var fields []protoreflect.FieldDescriptor
	for i := range m.Input().Fields().Len() {
		fields = append(fields, m.Input().Fields().Get(i))
	}
	return fields
}

// badRequests are the bad requests of one RPC.
func badRequests(m protoreflect.MethodDescriptor, request map[string]any, oneOf []string) []bad {
	all := []bad{
		{name: "empty", body: "{}", isEmpty: true},
		{name: "nothing", isEmpty: true},
		{name: "malformed", body: `{"` + marker + `": `, field: "body"},
		{name: "not an object", body: `["` + marker + `"]`, field: "body"},
		{name: "trailing", body: `{} ` + marker, field: "body"},
		{name: "unknown field", body: `{"nosuchfield": "` + marker + `"}`, field: "nosuchfield"},
	}
	for _, f := range fieldsOf(m) {
		request := maps.Clone(request)
		if slices.Contains(oneOf, string(f.Name())) {
			maps.DeleteFunc(request, func(k string, _ any) bool { return slices.Contains(oneOf, k) })
		}
		all = append(all, badValues(f, nil, request)...)
		if f.Message() != nil && !f.IsMap() && !f.IsList() && f.Message().FullName().Parent() == m.ParentFile().Package() {
			for i := range f.Message().Fields().Len() {
				all = append(all, badValues(f.Message().Fields().Get(i), []string{string(f.Name())}, request)...)
			}
		}
		if f.Message() != nil && f.IsList() && f.Message().FullName().Parent() == m.ParentFile().Package() {
			for i := range f.Message().Fields().Len() {
				all = append(all, badValues(f.Message().Fields().Get(i), []string{string(f.Name()) + firstOf}, request)...)
			}
		}
	}
	return all
}

// badValues puts bad values in the place of one field, which may be inside another.
func badValues(f protoreflect.FieldDescriptor, parents []string, request map[string]any) []bad {
	name := string(f.Name())
	path := strings.Join(append(slices.Clone(parents), name), ".")
	put := func(what string, value any) bad {
		b, err := json.Marshal(with(request, append(slices.Clone(parents), name), value))
		if err != nil {
			panic(err)
		}
		return bad{name: path + " " + what, body: string(b), field: path}
	}
	var all []bad
	for _, wrong := range []any{5, marker, true, []any{marker}, map[string]any{"nosuchfield": marker}, []any{[]any{5}}} {
		if !fits(f, wrong) {
			all = append(all, put(fmt.Sprintf("%T", wrong), wrong))
		}
	}
	if f.Kind() == protoreflect.StringKind && !f.IsList() && !f.IsMap() {
		long := put("of 1 MB", marker+strings.Repeat("x", 1<<20))
		if isReadOnly(path) {
			long.field = ""
		}
		utf8 := put("not UTF-8", marker)
		utf8.body = strings.ReplaceAll(utf8.body, marker, "\xff"+marker)
		all = append(all, long, utf8)
	}
	return all
}

// isReadOnly tells whether a field is one that the service fills in and a request may repeat: what stands in it does not
// matter where the mask does not name it.
func isReadOnly(path string) bool {
	return slices.Contains([]string{"customer.status", "customer.email", "customer.created", "customer.updated"}, path)
}

// fits tells whether protobuf's JSON takes a value for a field.
func fits(f protoreflect.FieldDescriptor, value any) bool {
	switch v := value.(type) {
	case []any:
		_, nested := v[0].([]any)
		return f.IsList() && !nested
	case map[string]any:
		return f.IsMap()
	}
	if f.IsList() || f.IsMap() || f.Message() != nil && f.Message().FullName() != "google.protobuf.FieldMask" {
		return false
	}
	switch value.(type) {
	case int:
		return f.Kind() != protoreflect.StringKind && f.Kind() != protoreflect.BoolKind && f.Message() == nil
	case bool:
		return f.Kind() == protoreflect.BoolKind
	}
	return f.Kind() == protoreflect.StringKind || f.Message() != nil
}

// firstOf is what follows the name of a list in the path of its first element's fields.
const firstOf = "[0]"

// with returns a copy of a request with another value at a path.
func with(request map[string]any, path []string, value any) map[string]any {
	changed := maps.Clone(request)
	if changed == nil {
		changed = make(map[string]any)
	}
	if list, ok := strings.CutSuffix(path[0], firstOf); ok {
		elements, _ := changed[list].([]any)
		first, _ := elements[0].(map[string]any)
		changed[list] = append([]any{with(first, path[1:], value)}, elements[1:]...)
		return changed
	}
	if len(path) == 1 {
		changed[path[0]] = value
		return changed
	}
	inner, _ := changed[path[0]].(map[string]any)
	changed[path[0]] = with(inner, path[1:], value)
	return changed
}

// unsettled are tables that change by themselves, while events are on their way. How many events there were is in others.
var unsettled = []string{"_outbox", "_inbox", "_positions", "_leases"}

// data is a digest of every table of every service, but for those.
func (p *platform) data(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.State, "service", "*", "db.sqlite"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	digests := make(map[string]string)
	for _, file := range files {
		db, err := sql.Open("sqlite3", "file:"+file+"?mode=ro")
		require.NoError(t, err)
		for _, table := range textOf(t, db, "SELECT name FROM sqlite_master WHERE type = 'table'") {
			if slices.ContainsFunc(unsettled, func(name string) bool { return strings.HasSuffix(table, name) }) {
				continue
			}
			rows := textOf(t, db, "SELECT * FROM "+table+" ORDER BY 1")
			digests[filepath.Base(filepath.Dir(file))+"."+table] = fmt.Sprintf("%d rows %x", len(rows), sha256.Sum256([]byte(strings.Join(rows, "\n"))))
		}
		require.NoError(t, db.Close())
	}
	return digests
}

// settled tells whether everybody has heard of everything that has happened to customers, and has done what follows.
func (p *platform) settled(t *testing.T) bool {
	t.Helper()
	one := func(service, query string) string {
		db, err := sql.Open("sqlite3", "file:"+filepath.Join(p.State, "service", service, "db.sqlite")+"?mode=ro")
		require.NoError(t, err)
		found := textOf(t, db, query)
		require.NoError(t, db.Close())
		return found[0]
	}
	happened := one("customers", "SELECT COALESCE(SUM(sequence), 0) FROM customers_sequences")
	for _, service := range []string{"billing", "usage", "signup", "mixpanel"} {
		if one(service, "SELECT COALESCE(SUM(sequence), 0) FROM "+service+"_positions WHERE consumer LIKE 'customers%'") != happened {
			return false
		}
	}
	return one("signup", "SELECT COUNT(*) FROM signup_welcomes") == "0"
}

// textOf returns the rows of a query as text.
func textOf(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), query)
	require.NoError(t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var all []string
	for rows.Next() {
		values := make([]any, len(columns))
		pointers := make([]any, len(columns))
		for i := range values {
			pointers[i] = &values[i]
		}
		require.NoError(t, rows.Scan(pointers...))
		all = append(all, strings.Trim(fmt.Sprint(values...), "[]"))
	}
	require.NoError(t, rows.Err())
	return all
}
