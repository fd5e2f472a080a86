package handler_test

import (
	stderrors "errors"
	"strings"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/auth"
	merrors "github.com/micro/micro/v3/service/errors"
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

const keyID = "0190f8b0-0000-7000-8000-000000000001"

// janes is a key in the core.
var janes = service.Key{
	ID: keyID, CustomerID: id, Prefix: "mk_01234567", Scopes: []string{"maps", "weather/Now"}, Description: "früh",
	Created: time.Unix(1_700_000_000, 999_999_000), Expires: time.Unix(1_800_000_000, 0),
}

// keyEdge is the handlers of Keys behind the real server, on a core that does what the test says.
type keyEdge struct {
	core *fakes.FakeKeyCore
	raw  *servicetest.Client
	pb.KeysService
}

func setupKeys(t *testing.T) *keyEdge {
	t.Helper()
	core := new(fakes.FakeKeyCore)
	h, err := handler.NewKeys(handler.KeysConfig{Core: core})
	require.NoError(t, err)
	client := servicetest.Serve(t, "customers", func(s server.Server) error { return pb.RegisterKeysHandler(s, h) })
	return &keyEdge{core, client, pb.NewKeysService("customers", client)}
}

func (e *keyEdge) as(account *auth.Account) pb.KeysService {
	return pb.NewKeysService("customers", e.raw.As(account))
}

// calls is how often the core was called.
func (e *keyEdge) calls() int {
	return e.core.GenerateCallCount() + e.core.ListCallCount() + e.core.RevokeCallCount() + e.core.RotateCallCount() +
		e.core.BlockCallCount() + e.core.UnblockCallCount() + e.core.VerifyCallCount()
}

func TestKeysConfig(t *testing.T) {
	t.Parallel()
	_, err := handler.NewKeys(handler.KeysConfig{})
	require.EqualError(t, err, "keys: the core is missing")
}

func TestGenerateKey(t *testing.T) {
	t.Parallel()
	e := setupKeys(t)
	e.core.GenerateReturns(janes, "mk_text", nil)
	rsp, err := e.as(servicetest.Customer(id)).GenerateKey(t.Context(), &pb.GenerateKeyRequest{
		Scopes: []string{"maps"}, Description: "früh", ExpiresAt: 1_800_000_000,
	})
	require.NoError(t, err)
	requireProto(t, &pb.GenerateKeyResponse{ApiKey: "mk_text", ApiKeyId: keyID}, rsp)
	require.Equal(t, 1, e.calls())
	_, got := e.core.GenerateArgsForCall(0)
	assert.Equal(t, service.NewKey{CustomerID: id, Scopes: []string{"maps"}, Description: "früh", Expires: 1_800_000_000}, got)
}

func TestListKeys(t *testing.T) {
	t.Parallel()
	e := setupKeys(t)
	forever := janes
	forever.Expires, forever.RotatedTo, forever.Blocked = time.Time{}, id, "Call us"
	forever.LastSeen = time.Unix(1_750_000_000, 999_999_000)
	e.core.ListReturns([]service.Key{janes, forever}, nil)
	reply, err := e.raw.JSON(t.Context(), "Keys.ListKeys", `{"customer_id": "`+id+`"}`)
	require.NoError(t, err)
	const key = `{"id": "` + keyID + `", "prefix": "mk_01234567", "scopes": ["maps", "weather/Now"], "description": "früh", "created": "1700000000"`
	assert.JSONEq(t, `{"keys": [`+key+`, "expires_at": "1800000000", "rotated_to": "", "blocked": "", "last_seen": "0"}, `+
		key+`, "expires_at": "0", "rotated_to": "`+id+`", "blocked": "Call us", "last_seen": "1750000000"}]}`, reply)
	require.Equal(t, 1, e.calls())
	_, got := e.core.ListArgsForCall(0)
	assert.Equal(t, id, got)
}

func TestRevokeKey(t *testing.T) {
	t.Parallel()
	e := setupKeys(t)
	rsp, err := e.as(servicetest.Customer(id)).RevokeKey(t.Context(), &pb.RevokeKeyRequest{Id: keyID})
	require.NoError(t, err)
	requireProto(t, &pb.RevokeKeyResponse{}, rsp)
	require.Equal(t, 1, e.calls())
	_, customer, key := e.core.RevokeArgsForCall(0)
	assert.Equal(t, []string{id, keyID}, []string{customer, key})
}

func TestRotateKey(t *testing.T) {
	t.Parallel()
	e := setupKeys(t)
	e.core.RotateReturns(janes, "mk_text", nil)
	rsp, err := e.as(servicetest.Customer(id)).RotateKey(t.Context(), &pb.RotateKeyRequest{Id: keyID, GraceSeconds: 60})
	require.NoError(t, err)
	requireProto(t, &pb.RotateKeyResponse{ApiKey: "mk_text", ApiKeyId: keyID}, rsp)
	require.Equal(t, 1, e.calls())
	_, got := e.core.RotateArgsForCall(0)
	assert.Equal(t, service.Rotation{CustomerID: id, KeyID: keyID, Grace: 60}, got)
}

// Blocking is for admins.
func TestBlockKey(t *testing.T) {
	t.Parallel()
	e := setupKeys(t)
	blocked, err := e.as(servicetest.Admin).BlockKey(t.Context(), &pb.BlockKeyRequest{CustomerId: id, KeyId: keyID, Message: "Call us"})
	require.NoError(t, err)
	requireProto(t, &pb.BlockKeyResponse{}, blocked)
	unblocked, err := e.as(servicetest.Admin).UnblockKey(t.Context(), &pb.UnblockKeyRequest{CustomerId: id, KeyId: keyID})
	require.NoError(t, err)
	requireProto(t, &pb.UnblockKeyResponse{}, unblocked)
	_, customer, key, message := e.core.BlockArgsForCall(0)
	assert.Equal(t, []string{id, keyID, "Call us"}, []string{customer, key, message})
	_, customer, key = e.core.UnblockArgsForCall(0)
	assert.Equal(t, []string{id, keyID}, []string{customer, key})
	for _, caller := range []*auth.Account{servicetest.Service("gateway"), servicetest.Service("signup"), servicetest.Customer(id)} {
		_, err := e.as(caller).BlockKey(t.Context(), &pb.BlockKeyRequest{CustomerId: id, KeyId: keyID, Message: "Call us"})
		servicetest.RequireError(t, err, 403, "customers.Keys.BlockKey", "only an admin may call this")
		_, err = e.as(caller).UnblockKey(t.Context(), &pb.UnblockKeyRequest{CustomerId: id, KeyId: keyID})
		servicetest.RequireError(t, err, 403, "customers.Keys.UnblockKey", "only an admin may call this")
	}
	require.Equal(t, 2, e.calls())
}

// What a caller with a blocked key is told is what the operator has written, behind what nobody else says.
func TestVerifyBlockedKey(t *testing.T) {
	t.Parallel()
	e := setupKeys(t)
	key := janes
	key.Blocked = "100% of callers: früh"
	e.core.VerifyReturns(key, nil)
	rsp, err := e.VerifyKey(t.Context(), &pb.VerifyKeyRequest{ApiKey: "mk_text"})
	servicetest.RequireError(t, err, 403, "customers.Keys.VerifyKey", "the API key is blocked: 100% of callers: früh$")
	require.Nil(t, rsp)
	require.True(t, strings.HasPrefix(merrors.FromError(err).Detail, pb.KeyIsBlocked))
}

// Only the gateway and admins may ask whose a key is, whatever key they have.
func TestVerifyKey(t *testing.T) {
	t.Parallel()
	e := setupKeys(t)
	e.core.VerifyReturns(janes, nil)
	for i, caller := range []*auth.Account{servicetest.Service("gateway"), servicetest.Admin} {
		rsp, err := e.as(caller).VerifyKey(t.Context(), &pb.VerifyKeyRequest{ApiKey: "mk_text"})
		require.NoError(t, err)
		requireProto(t, &pb.VerifyKeyResponse{
			CustomerId: id, ApiKeyId: keyID, Scopes: []string{"maps", "weather/Now"}, ExpiresAt: 1_800_000_000,
		}, rsp)
		require.Equal(t, i+1, e.calls())
		_, got := e.core.VerifyArgsForCall(i)
		assert.Equal(t, "mk_text", got)
	}
	for _, caller := range []*auth.Account{servicetest.Service("signup"), servicetest.Customer(id)} {
		_, err := e.as(caller).VerifyKey(t.Context(), &pb.VerifyKeyRequest{ApiKey: "mk_text"})
		servicetest.RequireError(t, err, 403, "customers.Keys.VerifyKey", "only an admin may call this")
	}
	_, err := e.as(nil).VerifyKey(t.Context(), &pb.VerifyKeyRequest{ApiKey: "mk_text"})
	servicetest.RequireError(t, err, 401, "customers.Keys.VerifyKey", "it has to be known who calls")
	require.Equal(t, 2, e.calls())
}

func TestMalformedRequestsOfKeys(t *testing.T) {
	t.Parallel()
	e := setupKeys(t)
	long := strings.Repeat("x", 1<<20)
	for endpoint, bodies := range map[string]map[string]string{
		"Keys.GenerateKey": {
			`{"scopes": "*"}`:                "scopes: expected a list",
			`{"scopes": [5]}`:                `scopes\[0\]: expected a string`,
			`{"expires_at": "` + long + `"}`: "expires_at: expected a whole number",
			`{"expires_at": 1.5}`:            "expires_at: expected a whole number",
			"{\"description\": \"\xff\"}":    "description: expected valid UTF-8",
			`{"api_key": "a"}`:               `body: unknown field "api_key"`,
		},
		"Keys.ListKeys":  {`{"customer_id": 5}`: "customer_id: expected a string", `[]`: "body: expected an object"},
		"Keys.RevokeKey": {`{"id": 5}`: "id: expected a string"},
		"Keys.RotateKey": {
			`{"id": 5}`: "id: expected a string", `{"grace_seconds": "soon"}`: "grace_seconds: expected a whole number",
		},
		"Keys.BlockKey":   {`{"message": 5}`: "message: expected a string", "{\"message\": \"\xff\"}": "message: expected valid UTF-8"},
		"Keys.UnblockKey": {`{"key_id": 5}`: "key_id: expected a string", `{"id": "x"}`: `body: unknown field "id"`},
		"Keys.VerifyKey":  {`{"api_key": 5}`: "api_key: expected a string", "{\"api_key\": \"\xff\"}": "api_key: expected valid UTF-8"},
	} {
		for body, detail := range bodies {
			_, err := e.raw.JSON(t.Context(), endpoint, body)
			servicetest.RequireError(t, err, 400, "customers."+endpoint, detail)
		}
	}
	assert.Zero(t, e.calls())
}

// What the core refuses reaches the caller with its code and its words, and what fails inside does not.
func TestErrorsOfTheCoreOfKeys(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err    error
		code   int
		detail string
	}{
		"invalid":      {errors.Invalid("scopes", "too many"), 400, "scopes: too many$"},
		"unauthorized": {errors.Unauthenticated("the API key is not good"), 401, "the API key is not good$"},
		"forbidden":    {errors.Forbidden("banned"), 403, "banned$"},
		"not found":    {errors.NotFound("id", "there is no such key"), 404, "id: there is no such key$"},
		"conflict":     {errors.Conflict("customer_id", "there are 100"), 409, "customer_id: there are 100$"},
		"internal":     {stderrors.New("disk full"), 500, "internal error, reference "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := setupKeys(t)
			e.core.GenerateReturns(service.Key{}, "", tc.err)
			e.core.ListReturns(nil, tc.err)
			e.core.RevokeReturns(tc.err)
			e.core.RotateReturns(service.Key{}, "", tc.err)
			e.core.BlockReturns(tc.err)
			e.core.UnblockReturns(tc.err)
			e.core.VerifyReturns(service.Key{}, tc.err)
			_, err := e.GenerateKey(t.Context(), &pb.GenerateKeyRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Keys.GenerateKey", tc.detail)
			_, err = e.ListKeys(t.Context(), &pb.ListKeysRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Keys.ListKeys", tc.detail)
			_, err = e.RevokeKey(t.Context(), &pb.RevokeKeyRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Keys.RevokeKey", tc.detail)
			_, err = e.RotateKey(t.Context(), &pb.RotateKeyRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Keys.RotateKey", tc.detail)
			_, err = e.BlockKey(t.Context(), &pb.BlockKeyRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Keys.BlockKey", tc.detail)
			_, err = e.UnblockKey(t.Context(), &pb.UnblockKeyRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Keys.UnblockKey", tc.detail)
			_, err = e.VerifyKey(t.Context(), &pb.VerifyKeyRequest{})
			servicetest.RequireError(t, err, tc.code, "customers.Keys.VerifyKey", tc.detail)
			assert.Equal(t, 7, e.calls())
		})
	}
}
