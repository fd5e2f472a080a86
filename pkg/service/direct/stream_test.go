package direct_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/errors"
	memregistry "github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/service/server"
	"github.com/micro/micro/v3/util/codec/bytes"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/service/direct"
)

func streams(t *testing.T) (pb.ShapesService, *direct.Client, *chatter) {
	t.Helper()
	h := &chatter{ended: make(chan error, 1)}
	reg := memregistry.NewRegistry()
	nodeOf(t, reg, &counter{node: "a"}, func(s server.Server) error { return pb.RegisterShapesHandler(s, h) })
	c := clientWith(t, direct.Config{Registry: reg})
	return pb.NewShapesService(serviceName, c), c, h
}

func TestServerStream(t *testing.T) {
	t.Parallel()
	c, _, _ := streams(t)
	s, err := c.Count(t.Context(), &pb.CountRequest{To: 3})
	require.NoError(t, err)
	for i := range int32(3) {
		m, err := s.Recv()
		require.NoError(t, err)
		assert.Equal(t, i, m.Number)
	}
	_, err = s.Recv()
	require.ErrorIs(t, err, io.EOF)
	<-s.Context().Done() // nothing is held any more
}

func TestClientStream(t *testing.T) {
	t.Parallel()
	c, _, _ := streams(t)
	s, err := c.Sum(t.Context())
	require.NoError(t, err)
	for i := range int32(5) {
		require.NoError(t, s.Send(&pb.SumRequest{Number: i}))
	}
	rsp, err := s.CloseAndRecv()
	require.NoError(t, err)
	assert.EqualValues(t, 10, rsp.Sum)
}

func TestBothWays(t *testing.T) {
	t.Parallel()
	c, _, _ := streams(t)
	s, err := c.Chat(t.Context())
	require.NoError(t, err)
	for _, text := range []string{"a", "b"} {
		require.NoError(t, s.Send(&pb.ChatRequest{Text: text}))
		m, err := s.Recv()
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"a": "A", "b": "B"}[text], m.Text)
	}
	require.NoError(t, s.Send(&pb.ChatRequest{Text: "forbidden"}))
	_, err = s.Recv()
	e := errors.FromError(err)
	assert.EqualValues(t, 403, e.Code)
	assert.Equal(t, "not that", e.Detail)
}

func TestStreamIsCancelled(t *testing.T) {
	t.Parallel()
	c, _, h := streams(t)
	ctx, cancel := context.WithCancel(t.Context())
	s, err := c.Chat(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Send(&pb.ChatRequest{Text: "a"}))
	_, err = s.Recv()
	require.NoError(t, err)
	cancel()
	require.Error(t, <-h.ended)
	_, err = s.Recv()
	assert.EqualValues(t, 408, errors.FromError(err).Code)
}

func TestStreamHasATimeout(t *testing.T) {
	t.Parallel()
	c, _, h := streams(t)
	s, err := c.Chat(t.Context(), client.WithStreamTimeout(100*time.Millisecond))
	require.NoError(t, err)
	_, err = s.Recv()
	assert.EqualValues(t, 408, errors.FromError(err).Code)
	require.Error(t, <-h.ended)
}

// As the command line reads a stream whose messages it does not know.
func TestUntypedStream(t *testing.T) {
	t.Parallel()
	_, c, _ := streams(t)
	req := c.NewRequest(serviceName, "Shapes.Chat", nil, client.WithContentType("application/json"), client.StreamingRequest())
	s, err := c.Stream(t.Context(), req)
	require.NoError(t, err)
	assert.Equal(t, req, s.Request())
	require.NoError(t, s.Send(&bytes.Frame{Data: []byte(`{"text":"a"}`)}))
	body, err := s.Response().Read()
	require.NoError(t, err)
	assert.JSONEq(t, `{"text":"A"}`, string(body))
	assert.Contains(t, s.Response().Header(), "content-type")
	require.NoError(t, s.Close())
	_, err = s.Response().Read()
	require.ErrorIs(t, err, io.EOF)
	require.ErrorIs(t, s.Error(), io.EOF)

	large, err := c.Stream(t.Context(), req)
	require.NoError(t, err)
	err = large.Send(&bytes.Frame{Data: make([]byte, direct.MaxMessage+1)})
	assert.EqualValues(t, 413, errors.FromError(err).Code)
}
