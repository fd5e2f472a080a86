package service_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/context/metadata"
	debug "github.com/micro/micro/v3/service/debug/handler"
	"github.com/micro/micro/v3/service/server"
	grpcserver "github.com/micro/micro/v3/service/server/grpc"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/auth/token"
	pb "github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/service"
	"github.com/m3o/backend/pkg/service/direct"
	"github.com/m3o/backend/pkg/service/servicetest"
)

// guarded answers with what it saw.
type guarded struct{ seen chan string }

func (g *guarded) Own(ctx context.Context, req *pb.OwnRequest, rsp *pb.OwnResponse) error {
	g.seen <- "Own"
	caller := access.CallerFrom(ctx)
	// As Micro's own wrapper, which is left out, has it for handlers.
	if account, ok := auth.AccountFromContext(ctx); !ok || account.ID != caller.ID {
		return fmt.Errorf("the account of %q is not known", caller.ID)
	}
	rsp.Id, rsp.Kind, rsp.Caller = req.GetOwner().GetId(), caller.Kind.String(), caller.ID
	return nil
}

func (g *guarded) Manage(context.Context, *pb.ManageRequest, *pb.ManageResponse) error {
	g.seen <- "Manage"
	return nil
}

func (g *guarded) Sell(context.Context, *pb.SellRequest, *pb.SellResponse) error {
	g.seen <- "Sell"
	return nil
}

// Feed overlooks that it was refused a message, as a handler may.
func (g *guarded) Feed(_ context.Context, stream pb.Guarded_FeedStream) error {
	g.seen <- "Feed"
	for {
		m := new(pb.FeedRequest)
		err := stream.RecvMsg(m)
		if err != nil && m.Id == "" {
			return err
		}
		if err := stream.Send(&pb.FeedResponse{Id: m.Id}); err != nil {
			return err
		}
	}
}

func setupGuarded(t *testing.T) (*servicetest.Client, *guarded) {
	t.Helper()
	h := &guarded{seen: make(chan string, 1000)}
	return servicetest.Serve(t, "guarded", func(s server.Server) error {
		if err := s.Handle(s.NewHandler(debug.NewHandler(), server.InternalHandler(true))); err != nil {
			return err
		}
		return pb.RegisterGuardedHandler(s, h)
	}), h
}

const jane, joe = "0190f8b0-0000-7000-8000-00000000000a", "0190f8b0-0000-7000-8000-00000000000b"

// accounts are all sorts of callers; a customer of another namespace and a service that says its name itself are nobody.
var accounts = map[string]*auth.Account{
	"nobody":          nil,
	"customer":        servicetest.Customer(jane),
	"admin":           servicetest.Admin,
	"trusted":         servicetest.Service("trusted"),
	"another service": servicetest.Service("other"),
	"gateway":         token.GatewayAccount("guarded"),
	"another gateway": token.GatewayAccount("other"),
	"gateway's part":  servicetest.Service("gateway"),
	"called gateway":  token.ServiceAccount("service/gateway/latest", "gateway"),
	"platform":        servicetest.Service(access.Platform),
	"other namespace": {ID: jane, Type: "customer", Issuer: "elsewhere"},
	"user":            {ID: jane, Type: "user", Issuer: "micro"},
	"scoped user":     {ID: jane, Type: "user", Issuer: "micro", Scopes: []string{"service", "customer"}},
	"scoped customer": {ID: jane, Type: "customer", Issuer: "micro", Scopes: []string{"admin", "service"}, Metadata: map[string]string{"service": "trusted"}},
	"named by itself": {ID: "trusted-latest", Name: "trusted", Type: "service", Issuer: "micro", Scopes: []string{"service"}},
	"sold service":    {ID: "trusted-latest", Type: "service", Issuer: "micro", Metadata: map[string]string{"service": "trusted"}},
}

func TestWhoMayCall(t *testing.T) {
	t.Parallel()
	c, h := setupGuarded(t)
	for endpoint, allowed := range map[string][]string{
		"Guarded.Own":    {"customer", "scoped customer", "admin", "trusted"},
		"Guarded.Manage": {"admin", "trusted", "gateway's part"},
		"Guarded.Sell":   {"gateway"},
		"Debug.Health":   slices.Collect(maps.Keys(accounts)),
		"Debug.Stats":    {"admin"},
		"Debug.Log":      {"admin"},
		"Debug.Trace":    {"admin"},
	} {
		for name, account := range accounts {
			_, err := c.As(account).JSON(of(t.Context(), jane), endpoint, `{}`)
			switch {
			case slices.Contains(allowed, name):
				require.NoError(t, err, "%s by %s", endpoint, name)
			case account == nil:
				servicetest.RequireError(t, err, 401, "guarded."+endpoint, "it has to be known who calls")
			default:
				servicetest.RequireError(t, err, 403, "guarded."+endpoint, "only .* may call this$")
			}
		}
	}
	require.Len(t, h.seen, 4+3+1, "nobody else has reached a handler")
}

// of is a context for calls that say for which customer they are.
func of(ctx context.Context, customer string) context.Context {
	return metadata.MergeContext(ctx, metadata.Metadata{access.CustomerKey: customer, access.APIKeyKey: "key"}, true)
}

// Where the gateway calls, the handler sees the customer, and the key; what anybody else says of that it does not see.
func TestGatewayCallsForACustomer(t *testing.T) {
	t.Parallel()
	h := &sold{seen: make(chan [4]string, 1)}
	c := servicetest.Serve(t, "guarded", func(s server.Server) error {
		return errors.Join(pb.RegisterGuardedHandler(s, h), pb.RegisterCounterHandler(s, h))
	})
	gateway := c.As(token.GatewayAccount("guarded"))
	for _, endpoint := range []string{"Guarded.Sell", "Counter.Read"} {
		_, err := gateway.JSON(of(t.Context(), joe), endpoint, `{}`)
		require.NoError(t, err)
		require.Equal(t, [4]string{"customer", joe, joe, "key"}, <-h.seen, endpoint)
	}
	for name, ctx := range map[string]context.Context{"missing": t.Context(), "empty": of(t.Context(), "")} {
		_, err := gateway.JSON(ctx, "Guarded.Sell", `{}`)
		servicetest.RequireError(t, err, 400, "guarded.Guarded.Sell", "customer-id: expected the id of the customer")
		require.Empty(t, h.seen, name)
	}
	for kind, account := range map[string]*auth.Account{
		"anonymous": nil, "admin": servicetest.Admin, "service": servicetest.Service("gateway"), "other": token.GatewayAccount("other"),
	} {
		_, err := c.As(account).JSON(of(t.Context(), joe), "Counter.Read", `{}`)
		require.NoError(t, err)
		seen := <-h.seen
		require.Equal(t, [3]string{kind, "", ""}, [3]string{seen[0], seen[2], seen[3]})
	}
	_, err := gateway.JSON(of(t.Context(), joe), "Guarded.Own", `{}`)
	servicetest.RequireError(t, err, 403, "guarded.Guarded.Own", "only a customer or an admin")
}

// sold tells who calls it, and what it has learned of the customer and the key.
type sold struct {
	guarded
	pb.CounterHandler
	seen chan [4]string
}

func (s *sold) tell(ctx context.Context) {
	caller := access.CallerFrom(ctx)
	customer, _ := metadata.Get(ctx, access.CustomerKey)
	key, _ := metadata.Get(ctx, access.APIKeyKey)
	s.seen <- [4]string{caller.Kind.String(), caller.ID, customer, key}
}

func (s *sold) Sell(ctx context.Context, _ *pb.SellRequest, _ *pb.SellResponse) error {
	s.tell(ctx)
	return nil
}

func (s *sold) Read(ctx context.Context, _ *pb.ReadRequest, _ *pb.ReadResponse) error {
	s.tell(ctx)
	return nil
}

// Who may not call is not told what is wrong with the request.
func TestAccessComesBeforeTheRequest(t *testing.T) {
	t.Parallel()
	c, _ := setupGuarded(t)
	for _, body := range []string{`{"x": 5}`, `[`, ``} {
		_, err := c.As(nil).JSON(t.Context(), "Guarded.Manage", body)
		servicetest.RequireError(t, err, 401, "guarded.Guarded.Manage", "")
		_, err = c.As(servicetest.Customer(jane)).JSON(t.Context(), "Guarded.Manage", body)
		servicetest.RequireError(t, err, 403, "guarded.Guarded.Manage", "")
	}
	_, err := c.As(nil).Raw(t.Context(), "Guarded.Manage", "application/grpc+bytes", "x")
	servicetest.RequireError(t, err, 401, "guarded.Guarded.Manage", "")
}

// A token that is not good is told, also to who would not have needed one, and is never repeated.
func TestBadTokens(t *testing.T) {
	t.Parallel()
	c, _ := setupGuarded(t)
	public, _ := setup(t)
	good := servicetest.Token(servicetest.Admin)
	for _, authorization := range []string{
		"Bearer s3cr3t", "Bearer", "Bearer ", "bearer " + good, good, "Basic " + base64.StdEncoding.EncodeToString([]byte("admin:"+good)),
		"Bearer " + good + ", Bearer " + good, "s3cr3t " + good,
	} {
		for _, body := range []string{`{}`, `{"x": 5}`} {
			_, err := c.With(authorization).JSON(t.Context(), "Guarded.Manage", body)
			servicetest.RequireError(t, err, 401, "guarded.Guarded.Manage", "Authorization: ")
			assert.NotContains(t, err.Error(), "s3cr3t")
			assert.NotContains(t, err.Error(), good)
			_, err = public.With(authorization).JSON(t.Context(), "Shapes.Echo", body)
			servicetest.RequireError(t, err, 401, "shaper.Shapes.Echo", "Authorization: ")
		}
	}
}

func TestOwnership(t *testing.T) {
	t.Parallel()
	c, h := setupGuarded(t)
	janes := servicetest.Customer(jane)
	for name, tc := range map[string]struct {
		account *auth.Account
		body    string
		reply   string // or
		refused string
	}{
		"own":                    {janes, `{"owner": {"id": "` + jane + `"}}`, jane, ""},
		"nothing":                {janes, ``, jane, ""},
		"no id":                  {janes, `{"owner": {}}`, jane, ""},
		"empty id":               {janes, `{"owner": {"id": ""}}`, jane, ""},
		"empty address":          {janes, `{"email": "", "owner": {"numbers": []}}`, jane, ""},
		"another's":              {janes, `{"owner": {"id": "` + joe + `"}}`, "", "owner.id: must be your own"},
		"nearly own":             {janes, `{"owner": {"id": "` + jane + ` "}}`, "", "owner.id: must be your own"},
		"address":                {janes, `{"email": "jane@example.com"}`, "", "email: only an admin"},
		"address beside":         {janes, `{"owner": {"id": "` + jane + `"}, "email": "x"}`, "", "email: only an admin"},
		"inner admin's field":    {janes, `{"owner": {"numbers": [0]}}`, "", "owner.numbers: only an admin"},
		"admin, another's":       {servicetest.Admin, `{"owner": {"id": "` + joe + `"}}`, joe, ""},
		"admin, nothing":         {servicetest.Admin, `{}`, "", ""},
		"admin, address":         {servicetest.Admin, `{"email": "x", "owner": {"numbers": [1]}}`, "", ""},
		"named service, another": {servicetest.Service("trusted"), `{"owner": {"id": "` + joe + `"}}`, joe, ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(h.seen)
			reply, err := c.As(tc.account).JSON(t.Context(), "Guarded.Own", tc.body)
			if tc.refused != "" {
				servicetest.RequireError(t, err, 403, "guarded.Guarded.Own", tc.refused)
				require.Len(t, h.seen, before, "the handler was reached")
				return
			}
			require.NoError(t, err)
			assert.JSONEq(t, fmt.Sprintf(`{"id": %q, "kind": %q, "caller": %q}`,
				tc.reply, access.CallerOf(tc.account).Kind, tc.account.ID), reply)
		})
	}
}

// Each message of a stream is compared, not only the first; and what was refused does not reach a handler that looks away.
func TestOwnershipInStreams(t *testing.T) {
	t.Parallel()
	c, _ := setupGuarded(t)
	stream, err := pb.NewGuardedService("guarded", c.As(servicetest.Customer(jane))).Feed(t.Context())
	require.NoError(t, err)
	for _, id := range []string{jane, "", jane} {
		require.NoError(t, stream.Send(&pb.FeedRequest{Id: id}))
		m, err := stream.Recv()
		require.NoError(t, err)
		require.Equal(t, jane, m.Id)
	}
	require.NoError(t, stream.Send(&pb.FeedRequest{Id: joe}))
	_, err = stream.Recv()
	require.Equal(t, codes.PermissionDenied, status.Code(err), "%v", err)
	require.ErrorContains(t, err, "id: must be your own")

	for code, account := range map[codes.Code]*auth.Account{codes.Unauthenticated: nil, codes.PermissionDenied: servicetest.Service("trusted")} {
		stream, err := pb.NewGuardedService("guarded", c.As(account)).Feed(t.Context())
		require.NoError(t, err)
		_, err = stream.Recv()
		require.Equal(t, code, status.Code(err), "%v", err)
	}
}

// The registry knows for whom each endpoint is, and which ones change nothing.
func TestEndpointsSayForWhomTheyAre(t *testing.T) {
	t.Parallel()
	s, err := service.NewServer(grpcserver.NewServer(server.Name("guarded")), nobody)
	require.NoError(t, err)
	h := s.NewHandler(&Guarded{})
	require.NoError(t, s.Handle(h))
	got, safe := make(map[string]string), make(map[string]string)
	for _, e := range h.Endpoints() {
		got[e.Name] = e.Metadata[access.EndpointKey]
		if v, ok := e.Metadata[direct.LevelKey]; ok {
			safe[e.Name] = v
		}
	}
	require.Equal(t, map[string]string{
		"Guarded.Own": "customer", "Guarded.Manage": "admin", "Guarded.Sell": "gateway", "Guarded.Feed": "customer",
	}, got)
	require.Equal(t, map[string]string{"Guarded.Own": direct.Safe}, safe, "a stream cannot be")
}

// Guarded has the name of the proto service, which generated code gives to others.
type Guarded struct{ guarded }

// Feed streams, as generated code has it.
func (g *Guarded) Feed(context.Context, server.Stream) error { return nil }

// careless is a handler one of whose methods nobody has thought of.
type careless struct{ pb.CarelessHandler }

func TestMethodsWithoutAPolicyStopTheStart(t *testing.T) {
	t.Parallel()
	s, err := service.NewServer(grpcserver.NewServer(server.Name("careless"), server.Address("127.0.0.1:0")), nobody)
	require.NoError(t, err)
	const want = "register handler Careless: option (access.policy) of servicetest.Careless.Forgotten: missing: say who may call it"
	require.EqualError(t, pb.RegisterCarelessHandler(s, careless{}), want)
	require.EqualError(t, s.Start(), want)
}
