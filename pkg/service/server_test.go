package service_test

import (
	"context"
	stderrors "errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/micro/micro/v3/service/client"
	debug "github.com/micro/micro/v3/service/debug/handler"
	microerrors "github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/m3o/backend/pkg/errors"
	pb "github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/service/servicetest"
)

// shapes is the handler of the tests. seen counts the calls that have reached it.
type shapes struct{ seen chan struct{} }

func (s *shapes) Echo(_ context.Context, req *pb.EchoRequest, rsp *pb.EchoResponse) error {
	s.seen <- struct{}{}
	rsp.Shape = req.Shape
	return nil
}

var errSecret = stderrors.New("10.0.0.1 is down, said jane@example.com")

func (s *shapes) Fail(ctx context.Context, req *pb.FailRequest, _ *pb.FailResponse) error {
	switch req.How {
	case "invalid":
		return fmt.Errorf("in the core: %w", errors.Invalid("shape.text", "too short").WithCause(errSecret))
	case "conflict":
		return errors.Conflict("", "read it again")
	case "payment":
		return errors.PaymentRequired("top up")
	case "plain":
		return errSecret
	case "cause":
		return fmt.Errorf("call: %w", errors.Unavailable("try again").WithCause(microerrors.Forbidden("other.Other.Do", "not yours")))
	case "micro":
		return microerrors.Forbidden("other.Other.Do", "not yours")
	case "client":
		return microerrors.InternalServerError("go.micro.client", "dial 10.0.0.1: refused")
	case "reply":
		return microerrors.New("customers", "", 0)
	case "deadline":
		<-ctx.Done()
		return ctx.Err()
	case "downstream":
		return fmt.Errorf("call: %w", context.DeadlineExceeded)
	case "panic":
		panic(errSecret.Error())
	case "index":
		return []error{}[len(req.How)]
	}
	return nil
}

func (s *shapes) Count(_ context.Context, req *pb.CountRequest, stream pb.Shapes_CountStream) error {
	for i := range req.To {
		if err := stream.Send(&pb.CountResponse{Number: i}); err != nil {
			return err
		}
	}
	return errors.NotFound("number", "no more")
}

func (s *shapes) Sum(_ context.Context, stream pb.Shapes_SumStream) error {
	var sum int32
	for {
		m, err := stream.Recv()
		if stderrors.Is(err, io.EOF) {
			return stream.SendMsg(&pb.SumResponse{Sum: sum})
		}
		if err != nil {
			return err
		}
		sum += m.Number
	}
}

func (s *shapes) Chat(_ context.Context, stream pb.Shapes_ChatStream) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := stream.Send(&pb.ChatResponse{Text: m.Text}); err != nil {
			return err
		}
	}
}

// pipes is a handler that only streams.
type pipes struct{}

func (pipes) Flow(context.Context, pb.Pipes_FlowStream) error { return errors.Forbidden("closed") }

func setup(t *testing.T) (*servicetest.Client, *shapes) {
	t.Helper()
	h := &shapes{seen: make(chan struct{}, 100)}
	c := servicetest.Serve(t, "shaper", func(s server.Server) error {
		if err := pb.RegisterPipesHandler(s, pipes{}); err != nil {
			return err
		}
		// As Micro does by itself when a service runs.
		if err := s.Handle(s.NewHandler(debug.NewHandler(), server.InternalHandler(true))); err != nil {
			return err
		}
		return pb.RegisterShapesHandler(s, h)
	})
	return c, h
}

// secret is what the tests send in the wrong place. It must not come back.
const secret = "s3cr3t-jane@example.com"

func TestWrongRequests(t *testing.T) {
	t.Parallel()
	c, h := setup(t)
	long := strings.Repeat("x", 1<<20)
	const number = "expected a whole number from -2147483648 to 2147483647"
	for name, tc := range map[string]struct{ body, detail string }{
		"malformed":            {`{"shape":`, "body: not valid JSON"},
		"trailing":             {`{} {}`, "body: not valid JSON"},
		"a list":               {`["` + secret + `"]`, "body: expected an object"},
		"a string":             {`"` + secret + `"`, "body: expected an object"},
		"unknown field":        {`{"shapes": "` + secret + `"}`, `body: unknown field "shapes"`},
		"unknown inner field":  {`{"shape": {"txt": "` + secret + `"}}`, `shape: unknown field "txt"`},
		"unknown, no name":     {`{"` + secret + `": 1}`, `body: unknown field$`},
		"unknown, long":        {`{"` + long + `": 1}`, `body: unknown field$`},
		"number for string":    {`{"shape": {"text": 5}}`, "shape.text: expected a string"},
		"object for string":    {`{"shape": {"text": {"a": "` + secret + `"}}}`, "shape.text: expected a string"},
		"string for message":   {`{"shape": "` + secret + `"}`, "shape: expected an object"},
		"1 MB for number":      {`{"shape": {"small": "` + long + `"}}`, "shape.small: " + number},
		"too large a number":   {`{"shape": {"small": 2147483648}}`, "shape.small: " + number},
		"fraction":             {`{"shape": {"small": 1.5}}`, "shape.small: " + number},
		"negative count":       {`{"shape": {"smallCount": -1}}`, "shape.small_count: expected a whole number from 0"},
		"string for bool":      {`{"shape": {"flag": "true"}}`, "shape.flag: expected true or false"},
		"no base64":            {`{"shape": {"data": "***"}}`, "shape.data: expected bytes as base64"},
		"no enum":              {`{"shape": {"color": "` + secret + `"}}`, "shape.color: expected one of COLOR_UNSPECIFIED, COLOR_RED"},
		"no ratio":             {`{"shape": {"ratio": true}}`, "shape.ratio: expected a number"},
		"twice":                {`{"shape": {"text": "a", "text": "b"}}`, "shape.text: given more than once"},
		"twice by two names":   {`{"shape": {"small_count": 1, "smallCount": 1}}`, "shape.small_count: given more than once"},
		"both of one":          {`{"shape": {"first": "a", "second": 1}}`, "shape.second: must not be given together with first"},
		"no list":              {`{"shape": {"words": "` + secret + `"}}`, "shape.words: expected a list"},
		"wrong element":        {`{"shape": {"words": ["a", 1]}}`, `shape.words\[1\]: expected a string`},
		"null element":         {`{"shape": {"words": [null]}}`, `shape.words\[0\]: expected a string`},
		"wrong inner element":  {`{"shape": {"shapes": [{}, {"text": 1}]}}`, `shape.shapes\[1\].text: expected a string`},
		"no map":               {`{"shape": {"meta": ["` + secret + `"]}}`, "shape.meta: expected an object"},
		"wrong map value":      {`{"shape": {"meta": {"` + secret + `": 1}}}`, "shape.meta: each value: expected a string"},
		"wrong map key":        {`{"shape": {"numbers": {"` + secret + `": 1}}}`, "shape.numbers: each key: " + number},
		"wrong number in map":  {`{"shape": {"numbers": {"1": "x"}}}`, "shape.numbers: each value: expected a whole number"},
		"map key twice":        {`{"shape": {"meta": {"a": "b", "a": "c"}}}`, "shape.meta: a key is given more than once"},
		"wrong message in map": {`{"shape": {"named": {"` + secret + `": {"text": 1}}}}`, "shape.named.text: expected a string"},
		"no time":              {`{"shape": {"time": "` + secret + `"}}`, "shape.time: expected a time such as"},
		"no duration":          {`{"shape": {"wait": 5}}`, "shape.wait: expected a duration such as"},
		"no mask":              {`{"shape": {"updateMask": ["a"]}}`, "shape.update_mask: expected names of fields"},
		"no struct":            {`{"shape": {"object": 1}}`, "shape.object: expected an object"},
		"invalid UTF-8":        {"{\"shape\": {\"text\": \"\xff\"}}", "shape.text: expected valid UTF-8"},
		"invalid UTF-8 in map": {"{\"shape\": {\"meta\": {\"a\": \"\xff\"}}}", "shape.meta: each value: expected valid UTF-8"},
		"invalid UTF-8 key":    {"{\"shape\": {\"meta\": {\"\xff\": \"a\"}}}", "shape.meta: each key: expected valid UTF-8"},
		"half a surrogate":     {`{"shape": {"text": "\ud800"}}`, "shape.text: expected valid UTF-8"},
		"deep":                 {`{"shape": ` + strings.Repeat(`{"inner":`, 200) + "{}" + strings.Repeat("}", 200) + "}", "body: nested more than 100 levels deep"},
		"deep lists":           {`{"shape": {"object": {"a":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}}}", "body: nested more than 100 levels deep"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := c.JSON(t.Context(), "Shapes.Echo", tc.body)
			servicetest.RequireError(t, err, 400, "shaper.Shapes.Echo", tc.detail)
			assert.NotContains(t, err.Error(), "s3cr3t")
			assert.Less(t, len(err.Error()), 1000)
		})
	}
	t.Cleanup(func() { assert.Empty(t, h.seen, "a wrong request has reached the handler") })
}

func TestRightRequests(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for name, tc := range map[string]struct{ body, want string }{
		"empty":         {``, `"shape":null`},
		"space":         {" \n", `"shape":null`},
		"null":          {`null`, `"shape":null`}, // what Micro's HTTP API sends for no body
		"empty message": {`{}`, `"shape":null`},
		"proto's names": {`{"shape": {"small_count": 7}}`, `"small_count":7`},
		"JSON's names":  {`{"shape": {"smallCount": 7}}`, `"small_count":7`},
		"text number":   {`{"shape": {"large": "9007199254740993"}}`, `"large":"9007199254740993"`},
		"null field":    {`{"shape": {"text": null, "words": null}}`, `"text":""`},
		"1 MB":          {`{"shape": {"text": "` + strings.Repeat("x", 1<<20) + `"}}`, strings.Repeat("x", 1<<20)},
		"deep enough":   {`{"shape": ` + strings.Repeat(`{"inner":`, 90) + "{}" + strings.Repeat("}", 90) + "}", `"inner":{`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reply, err := c.JSON(t.Context(), "Shapes.Echo", tc.body)
			require.NoError(t, err)
			assert.Contains(t, reply, tc.want)
		})
	}
}

func TestProtobuf(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	client := pb.NewShapesService("shaper", c)
	rsp, err := client.Echo(t.Context(), &pb.EchoRequest{Shape: &pb.Shape{Text: "ä", Words: []string{"a"}}})
	require.NoError(t, err)
	assert.Equal(t, "ä", rsp.Shape.Text)

	text := func(s string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), s)
	}
	in := func(number protowire.Number, inner []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), inner)
	}
	for name, tc := range map[string]struct{ body, detail string }{
		"no protobuf":      {"\xff\xff\xff", "body: not valid protobuf"},
		"JSON":             {`{"shape": {}}`, "body: not valid protobuf"},
		"cut off":          {"\x0a\x05ab", "body: not valid protobuf"},
		"invalid UTF-8":    {string(in(1, text("\xff"))), "shape.text: expected valid UTF-8"},
		"in a list":        {string(in(1, append(in(11, []byte("a")), in(11, []byte("\xff"))...))), `shape.words\[1\]: expected valid UTF-8`},
		"in an inner list": {string(in(1, in(12, text("\xff")))), `shape.shapes\[0\].text: expected valid UTF-8`},
		"in a map":         {string(in(1, in(13, text("\xff")))), "shape.meta: expected valid UTF-8"},
		"broken inside":    {string(in(1, []byte("\xff"))), "shape: not valid protobuf"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := c.Raw(t.Context(), "Shapes.Echo", "application/protobuf", tc.body)
			servicetest.RequireError(t, err, 400, "shaper.Shapes.Echo", tc.detail)
		})
	}

	t.Run("a newer caller's field is dropped", func(t *testing.T) {
		t.Parallel()
		body := append(in(1, text("a")), protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 1)...)
		reply, err := c.Raw(t.Context(), "Shapes.Echo", "application/protobuf", string(body))
		require.NoError(t, err)
		assert.Equal(t, string(in(1, text("a"))), reply)
	})
	t.Run("another encoding", func(t *testing.T) {
		t.Parallel()
		_, err := c.Raw(t.Context(), "Shapes.Echo", "application/grpc+bytes", "a")
		servicetest.RequireError(t, err, 415, "shaper.Shapes.Echo", "content-type: expected")
	})
}

func TestUnknownEndpoints(t *testing.T) {
	t.Parallel()
	c, h := setup(t)
	conn, err := grpc.NewClient(c.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	for path, code := range map[string]codes.Code{
		"/shaper.Shapes/Echo":        codes.OK,              // as Micro's client calls
		"/servicetest.Shapes/Echo":   codes.OK,              // as any other does
		"/shaper.Debug/Stats":        codes.Unauthenticated, // it is there, and not for anybody
		"/any.Shapes/Echo":           codes.NotFound,
		"/Shapes/Echo":               codes.NotFound,
		"/shaper.servicetest/Echo":   codes.NotFound,
		"/shaper.Shapes/Nothing":     codes.NotFound,
		"/shaper.Nothing/Echo":       codes.NotFound,
		"/a.servicetest.Shapes/Echo": codes.NotFound,
		"/shaper.Shapes/Echo/Echo":   codes.NotFound,
		"//":                         codes.NotFound,
	} {
		err := conn.Invoke(t.Context(), path, &pb.EchoRequest{}, &pb.FailResponse{})
		assert.Equal(t, code, status.Code(err), path)
	}
	assert.Len(t, h.seen, 2)

	_, err = c.JSON(t.Context(), "Shapes.Nothing", `{}`)
	servicetest.RequireError(t, err, 404, "shaper", "there is no such endpoint$")
}

func TestErrors(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	client := pb.NewShapesService("shaper", c)
	const id = "shaper.Shapes.Fail"
	const hidden = "internal error, reference [0-9a-f]{12}$"
	for how, tc := range map[string]struct {
		code       int
		id, detail string
	}{
		"invalid":    {400, id, "shape.text: too short$"},
		"conflict":   {409, id, "read it again$"},
		"payment":    {402, id, "top up$"},
		"plain":      {500, id, hidden},
		"micro":      {403, "other.Other.Do", "not yours$"},
		"cause":      {503, id, "try again$"},
		"client":     {500, id, hidden},
		"reply":      {500, id, hidden},
		"downstream": {504, id, "something that the call needs took too long"},
		"panic":      {500, id, hidden},
		"index":      {500, id, hidden},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			_, err := client.Fail(t.Context(), &pb.FailRequest{How: how})
			servicetest.RequireError(t, err, tc.code, tc.id, tc.detail)
			assert.NotContains(t, err.Error(), "10.0.0.1")
		})
	}
	t.Run("deadline", func(t *testing.T) {
		t.Parallel()
		// The caller's own clock and the server's run out together: either may speak first, both say 408.
		_, err := client.Fail(t.Context(), &pb.FailRequest{How: "deadline"}, withTimeout)
		assert.EqualValues(t, 408, microerrors.FromError(err).Code, "%v", err)
	})
}

func withTimeout(o *client.CallOptions) { o.RequestTimeout = 50e6 }

func TestStreams(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	shapes := pb.NewShapesService("shaper", c)

	t.Run("from the server", func(t *testing.T) {
		t.Parallel()
		stream, err := shapes.Count(t.Context(), &pb.CountRequest{To: 2})
		require.NoError(t, err)
		for i := range 2 {
			m, err := stream.Recv()
			require.NoError(t, err)
			assert.EqualValues(t, i, m.Number)
		}
		_, err = stream.Recv()
		assert.Equal(t, codes.NotFound, status.Code(err), "%v", err)
	})
	t.Run("both ways", func(t *testing.T) {
		t.Parallel()
		stream, err := shapes.Chat(t.Context())
		require.NoError(t, err)
		for _, text := range []string{"a", "b"} {
			require.NoError(t, stream.Send(&pb.ChatRequest{Text: text}))
			m, err := stream.Recv()
			require.NoError(t, err)
			assert.Equal(t, text, m.Text)
		}
		// protobuf would not let us send this.
		require.Error(t, stream.Send(&pb.ChatRequest{Text: "\xff"}))
	})
	t.Run("a handler that only streams", func(t *testing.T) {
		t.Parallel()
		stream, err := pb.NewPipesService("shaper", c).Flow(t.Context())
		require.NoError(t, err)
		_, err = stream.Recv()
		assert.Equal(t, codes.PermissionDenied, status.Code(err), "%v", err)
	})
	t.Run("to the server, in JSON", func(t *testing.T) {
		t.Parallel()
		req := c.NewRequest("shaper", "Shapes.Sum", &pb.SumRequest{}, client.WithContentType("application/json"))
		stream, err := c.Stream(t.Context(), req)
		require.NoError(t, err)
		require.NoError(t, stream.Send(&pb.SumRequest{Number: 1}))
		require.NoError(t, stream.Send(map[string]any{"number": "x"}))
		err = stream.Recv(&pb.SumResponse{})
		assert.Equal(t, codes.InvalidArgument, status.Code(err))
		assert.ErrorContains(t, err, "number: expected a whole number")
	})
}

// No test leaves anything running. Of Micro's, its packages start something when they are loaded, its registry in memory
// cannot be closed, and its client, with which servicetest calls, keeps its connections.
func TestMain(m *testing.M) {
	if child() {
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(),
		goleak.IgnoreAnyFunction("github.com/micro/micro/v3/service/registry/memory.(*Registry).ttlPrune"),
		goleak.IgnoreAnyFunction("github.com/micro/micro/v3/service/router/registry.(*table).Watch.func1"),
		goleak.IgnoreTopFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"))
}
