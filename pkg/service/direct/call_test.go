package direct_test

import (
	"context"
	"encoding/json"
	stderrors "errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/context/metadata"
	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/registry"
	memregistry "github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/util/codec/bytes"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	grpcmetadata "google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/service/direct"
)

// Not in parallel: it looks at all goroutines of the process.
func TestClosedClientLeavesNothing(t *testing.T) { //nolint:paralleltest // see above
	reg := memregistry.NewRegistry()
	nodeOf(t, reg, &counter{node: "a"})
	away := memregistry.NewRegistry()
	require.NoError(t, away.Register(entry("gone", "127.0.0.1:1")))
	before := goleak.IgnoreCurrent()
	for _, reg := range []registry.Registry{reg, away} {
		c := direct.New(direct.Config{Registry: reg, Patience: 300 * time.Millisecond})
		_, err := pb.NewCounterService(serviceName, c).Read(t.Context(), &pb.ReadRequest{})
		assert.Equal(t, reg == away, err != nil)
		require.NoError(t, c.Close())
		_, err = pb.NewCounterService(serviceName, c).Read(t.Context(), &pb.ReadRequest{})
		require.Error(t, err, "a closed client calls nobody")
	}
	// Of Micro's own client, whose router has a registry that cannot be closed.
	goleak.VerifyNone(t, before, goleak.IgnoreTopFunction("github.com/micro/micro/v3/service/registry/memory.(*Registry).ttlPrune"))
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	reg := memregistry.NewRegistry()
	n := nodeOf(t, reg, &counter{node: "a"})
	c := clientWith(t, direct.Config{Registry: reg})
	request := &pb.AddRequest{Data: []byte("abc")}
	encoded, err := proto.Marshal(request)
	require.NoError(t, err)
	raw := json.RawMessage(`{"data": "YWJj"}`)
	for name, tc := range map[string]struct {
		contentType string
		request     any
		response    any
	}{
		"default":         {"", request, new(pb.AddResponse)},
		"protobuf":        {"application/protobuf", request, new(pb.AddResponse)},
		"message in JSON": {"application/json", request, new(pb.AddResponse)},
		"protobuf frame":  {"application/grpc+proto", &bytes.Frame{Data: encoded}, new(bytes.Frame)},
		"JSON frame":      {"application/grpc+json", &bytes.Frame{Data: raw}, new(bytes.Frame)},
		"raw JSON":        {"application/json", &raw, new(json.RawMessage)},
		"raw JSON value":  {"application/json", raw, new(json.RawMessage)},
		"a map":           {"application/json", map[string]any{"data": []byte("abc")}, new(map[string]any)},
	} {
		for _, opts := range [][]client.CallOption{nil, {client.WithAddress(n.Options().Address)}} {
			var options []client.RequestOption
			if tc.contentType != "" {
				options = append(options, client.WithContentType(tc.contentType))
			}
			require.NoError(t, c.Call(t.Context(), c.NewRequest(serviceName, "Counter.Add", tc.request, options...), tc.response, opts...), name)
			switch rsp := tc.response.(type) {
			case *pb.AddResponse:
				assert.Equal(t, "abc", string(rsp.Data), name)
			case *bytes.Frame:
				assert.Regexp(t, "abc|YWJj", string(rsp.Data), name)
			case *json.RawMessage:
				assert.Contains(t, string(*rsp), "YWJj", name)
			case *map[string]any:
				assert.Equal(t, "YWJj", (*rsp)["data"], name)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	reg := memregistry.NewRegistry()
	n := nodeOf(t, reg, &counter{node: "a"})
	c := clientWith(t, direct.Config{Registry: reg, Patience: 50 * time.Millisecond})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	huge := &pb.AddRequest{Data: make([]byte, direct.MaxMessage)}
	slow := &pb.AddRequest{Wait: durationpb.New(time.Minute)}
	short := client.WithRequestTimeout(50 * time.Millisecond)
	withType := func(contentType string) client.Request {
		return c.NewRequest(serviceName, "Counter.Add", slow, client.WithContentType(contentType))
	}
	// What is tested is not how long a connection takes; nothing of this gets to the handler.
	require.Eventually(t, func() bool {
		err := c.Call(t.Context(), c.NewRequest(serviceName, "Counter.Subtract", slow), &bytes.Frame{})
		e, ok := stderrors.AsType[*errors.Error](err)
		return ok && e.Code == 404
	}, 10*time.Second, time.Millisecond)
	for name, tc := range map[string]struct {
		ctx     context.Context
		request client.Request
		opts    []client.CallOption
		code    int32
		id      string
		detail  string
	}{
		"the service's own":     {request: c.NewRequest(serviceName, "Counter.Subtract", slow), code: 404, id: serviceName, detail: "no such endpoint"},
		"deadline":              {request: c.NewRequest(serviceName, "Counter.Add", slow), opts: []client.CallOption{short}, code: 408, detail: "longer than it was given"},
		"cancelled":             {ctx: cancelled, request: c.NewRequest(serviceName, "Counter.Add", slow), code: 408, detail: "cancelled"},
		"too large":             {request: c.NewRequest(serviceName, "Counter.Add", huge), code: 413, detail: "32 MiB"},
		"no such service":       {request: c.NewRequest("nobody", "Counter.Add", slow), code: 503, detail: "nobody"},
		"nobody at the address": {request: c.NewRequest(serviceName, "Counter.Add", slow), opts: []client.CallOption{client.WithAddress("127.0.0.1:1")}, code: 503, detail: "can be reached"},
		"no message":            {request: c.NewRequest(serviceName, "Counter.Add", "text"), code: 500, detail: "encoded"},
		"unknown content type":  {request: withType("text/plain"), code: 415, detail: "content type"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := tc.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			if tc.id == "" {
				tc.id = direct.ErrorID
			}
			var rsp bytes.Frame
			err := c.Call(ctx, tc.request, &rsp, tc.opts...)
			e, ok := stderrors.AsType[*errors.Error](err)
			require.True(t, ok, "%v", err)
			assert.Equal(t, tc.code, e.Code, "%v", err)
			assert.Equal(t, tc.id, e.Id)
			assert.Contains(t, e.Detail, tc.detail)
			assert.NotContains(t, e.Detail, "127.0.0.1")
			assert.NotEmpty(t, e.Status)
		})
	}
	t.Cleanup(func() { assert.LessOrEqual(t, n.calls.Load(), int64(1), "only the call with the deadline gets there") })
}

// The other side of the limit: what is just not too large goes there and back.
func TestLargestMessage(t *testing.T) {
	t.Parallel()
	reg := memregistry.NewRegistry()
	nodeOf(t, reg, &counter{node: "a"})
	c := pb.NewCounterService(serviceName, clientWith(t, direct.Config{Registry: reg}))
	rsp, err := c.Add(t.Context(), &pb.AddRequest{Data: make([]byte, direct.MaxMessage-64)})
	require.NoError(t, err)
	assert.Len(t, rsp.Data, direct.MaxMessage-64)
}

// A server of another sort may answer more than anybody wants to take.
func TestTooLargeAnAnswer(t *testing.T) {
	t.Parallel()
	address := serveGRPC(t, func(_ any, s grpc.ServerStream) error {
		return s.SendMsg(&pb.AddResponse{Data: make([]byte, direct.MaxMessage)})
	})
	c := pb.NewCounterService(serviceName, clientWith(t, direct.Config{}))
	_, err := c.Add(t.Context(), &pb.AddRequest{}, client.WithAddress(address))
	e := errors.FromError(err)
	assert.EqualValues(t, 500, e.Code)
	assert.Contains(t, e.Detail, "the answer is larger than the 32 MiB")
}

// serveGRPC runs a server of plain gRPC.
func serveGRPC(t testing.TB, h grpc.StreamHandler, opts ...grpc.ServerOption) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := grpc.NewServer(append(opts, grpc.UnknownServiceHandler(h))...)
	go func() { assert.NoError(t, s.Serve(l)) }()
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

func TestDeadlineAndCancellationTravel(t *testing.T) {
	t.Parallel()
	reg := memregistry.NewRegistry()
	n := nodeOf(t, reg, &counter{node: "a", began: make(chan time.Time, 1), ended: make(chan error, 1)})
	c := pb.NewCounterService(serviceName, clientWith(t, direct.Config{Registry: reg}))
	slow := &pb.AddRequest{Wait: durationpb.New(time.Minute)}

	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := c.Add(ctx, slow, client.WithRequestTimeout(time.Hour))
		answered <- err
	}()
	assert.InDelta(t, time.Hour.Seconds(), time.Until(<-n.began).Seconds(), 60)
	cancel()
	assert.EqualValues(t, 408, errors.FromError(<-answered).Code)
	require.ErrorIs(t, <-n.ended, context.Canceled)

	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := c.Add(ctx, slow, client.WithRequestTimeout(time.Hour))
	assert.EqualValues(t, 408, errors.FromError(err).Code)
	assert.Less(t, time.Until(<-n.began), time.Second)
	require.Error(t, <-n.ended)
}

func TestHeader(t *testing.T) {
	t.Parallel()
	seen := make(chan grpcmetadata.MD, 1)
	address := serveGRPC(t, func(_ any, s grpc.ServerStream) error {
		md, _ := grpcmetadata.FromIncomingContext(s.Context())
		seen <- md
		return s.SendMsg(&pb.ReadResponse{})
	})
	token := "own"
	c := pb.NewCounterService(serviceName, clientWith(t, direct.Config{Credentials: func() (string, string) { return "micro", token }}))
	call := func(md metadata.Metadata, opts ...client.CallOption) grpcmetadata.MD {
		ctx := metadata.NewContext(t.Context(), md)
		_, err := c.Read(ctx, &pb.ReadRequest{}, append(opts, client.WithAddress(address))...)
		require.NoError(t, err)
		return <-seen
	}
	md := call(metadata.Metadata{
		"Authorization": "Bearer theirs", "x-trace": "1", "content-type": "text/plain", "timeout": "1", ":authority": "them",
		"Remote": "127.0.0.1:1", "user-agent": "them", "grpc-accept-encoding": "them",
	})
	assert.Equal(t, []string{"Bearer theirs"}, md["authorization"])
	assert.Equal(t, []string{"1"}, md["x-trace"])
	assert.Equal(t, []string{"micro"}, md["micro-namespace"])
	assert.Equal(t, []string{"application/grpc+proto"}, md["content-type"])
	assert.NotContains(t, md, "timeout")
	assert.NotContains(t, md, "remote")
	assert.Contains(t, md["user-agent"][0], "grpc-go")

	md = call(metadata.Metadata{"Authorization": "Bearer theirs", "Micro-Namespace": "other"}, client.WithAuthToken())
	assert.Equal(t, []string{"Bearer own"}, md["authorization"])
	assert.Equal(t, []string{"other"}, md["micro-namespace"])

	token = "" // without one of its own, a service calls as who has called it, as in Micro
	md = call(metadata.Metadata{"Authorization": "Bearer theirs"}, client.WithAuthToken())
	assert.Equal(t, []string{"Bearer theirs"}, md["authorization"])
}

func TestCallWrappersSeeEachAttempt(t *testing.T) {
	t.Parallel()
	reg := memregistry.NewRegistry()
	n := nodeOf(t, reg, &counter{node: "a"})
	var mu sync.Mutex
	var order []string
	wrap := func(name string) client.CallWrapper {
		return func(next client.CallFunc) client.CallFunc {
			return func(ctx context.Context, addr string, req client.Request, rsp any, opts client.CallOptions) error {
				mu.Lock()
				order = append(order, name+" "+addr+" "+req.Endpoint())
				mu.Unlock()
				return next(ctx, addr, req, rsp, opts)
			}
		}
	}
	c := clientWith(t, direct.Config{Registry: reg})
	require.NoError(t, c.Init(client.WrapCall(wrap("outer"))))
	_, err := pb.NewCounterService(serviceName, c).Read(t.Context(), &pb.ReadRequest{}, client.WithCallWrapper(wrap("inner")))
	require.NoError(t, err)
	at := " " + n.Options().Address + " Counter.Read"
	assert.Equal(t, []string{"outer" + at, "inner" + at}, order)
}

// Whatever Micro's setup finds in MICRO_PROXY.
func TestProxyIsNotUsed(t *testing.T) {
	t.Parallel()
	reg := memregistry.NewRegistry()
	nodeOf(t, reg, &counter{node: "a"})
	c := clientWith(t, direct.Config{Registry: reg})
	require.NoError(t, c.Init(client.Proxy("127.0.0.1:1")))
	rsp, err := pb.NewCounterService(serviceName, c).Read(t.Context(), &pb.ReadRequest{})
	require.NoError(t, err)
	assert.Equal(t, "a", rsp.Node)
	assert.Equal(t, "127.0.0.1:1", c.Options().Proxy)
}

// A core service is called where it has to be, until the registry knows better.
func TestFixedAddresses(t *testing.T) {
	t.Parallel()
	fixed := nodeOf(t, memregistry.NewRegistry(), &counter{node: "fixed"})
	reg := memregistry.NewRegistry()
	c := pb.NewCounterService(serviceName, clientWith(t, direct.Config{
		Registry: reg, Fixed: map[string]string{serviceName: fixed.Options().Address},
	}))
	rsp, err := c.Read(t.Context(), &pb.ReadRequest{})
	require.NoError(t, err)
	assert.Equal(t, "fixed", rsp.Node)
	nodeOf(t, reg, &counter{node: "listed"})
	require.Eventually(t, func() bool {
		rsp, err := c.Read(t.Context(), &pb.ReadRequest{})
		return err == nil && rsp.Node == "listed"
	}, 10*time.Second, 5*time.Millisecond)
}
