package service_test

import (
	"context"
	"strings"
	"testing"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/server"
	grpcserver "github.com/micro/micro/v3/service/server/grpc"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/service"
)

// The types below have the name of the proto service Shapes and do not fit it.

func missing() any {
	type Shapes struct{ pb.PipesHandler }
	return &Shapes{}
}

type echo interface {
	Echo(ctx context.Context, in *pb.EchoRequest, out *pb.EchoResponse) error
}

func incomplete() any {
	type Shapes struct{ echo }
	return &Shapes{}
}

type wrongMessage interface {
	Echo(ctx context.Context, in *pb.EchoRequest, out *pb.FailResponse) error
	Fail(ctx context.Context, in *pb.FailRequest, out *pb.FailResponse) error
	Count(ctx context.Context, stream server.Stream) error
	Sum(ctx context.Context, stream server.Stream) error
	Chat(ctx context.Context, stream server.Stream) error
}

func wrong() any {
	type Shapes struct{ wrongMessage }
	return &Shapes{}
}

type notStreaming interface {
	Echo(ctx context.Context, in *pb.EchoRequest, out *pb.EchoResponse) error
	Fail(ctx context.Context, in *pb.FailRequest, out *pb.FailResponse) error
	Count(ctx context.Context, in *pb.CountRequest, out *pb.CountResponse) error
	Sum(ctx context.Context, stream server.Stream) error
	Chat(ctx context.Context, stream server.Stream) error
}

func unary() any {
	type Shapes struct{ notStreaming }
	return &Shapes{}
}

type more interface {
	Echo(ctx context.Context, in *pb.EchoRequest, out *pb.EchoResponse) error
	Fail(ctx context.Context, in *pb.FailRequest, out *pb.FailResponse) error
	Count(ctx context.Context, stream server.Stream) error
	Sum(ctx context.Context, stream server.Stream) error
	Chat(ctx context.Context, stream server.Stream) error
	Backdoor(ctx context.Context, in *pb.EchoRequest, out *pb.EchoResponse) error
}

func extra() any {
	type Shapes struct{ more }
	return &Shapes{}
}

// nobody is who has a token here.
func nobody(string) (*auth.Account, error) { return nil, auth.ErrInvalidToken }

// What is served is what the proto says: a handler that has less, more or something else stops the start.
func TestHandlersThatDoNotFit(t *testing.T) {
	t.Parallel()
	for want, h := range map[string]any{
		"register handler Shapes: no proto service of that name goes with its messages":                                                               missing(),
		"register handler Shapes: method Fail of proto service servicetest.Shapes is missing":                                                         incomplete(),
		"register handler Shapes: method Echo of proto service servicetest.Shapes: expected func(context.Context, *EchoRequest, *EchoResponse) error": wrong(),
		"register handler Shapes: method Count of proto service servicetest.Shapes: expected func(context.Context, server.Stream) error":              unary(),
		"register handler Shapes: method Backdoor is not in proto service servicetest.Shapes":                                                         extra(),
	} {
		s, err := service.NewServer(grpcserver.NewServer(server.Name("shaper"), server.Address("127.0.0.1:0")), nobody)
		require.NoError(t, err)
		require.EqualError(t, s.Handle(s.NewHandler(h)), want)
		require.EqualError(t, s.Start(), want)
	}
}

func TestHandlerTwice(t *testing.T) {
	t.Parallel()
	s, err := service.NewServer(grpcserver.NewServer(server.Name("shaper"), server.Address("127.0.0.1:0")), nobody)
	require.NoError(t, err)
	require.NoError(t, pb.RegisterShapesHandler(s, &shapes{}))
	require.ErrorContains(t, pb.RegisterShapesHandler(s, &shapes{}), "there is a handler of that name already")
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	c, h := setup(t)
	conn, err := grpc.NewClient(c.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	request := &pb.EchoRequest{Shape: &pb.Shape{Text: strings.Repeat("x", 33<<20)}}
	err = conn.Invoke(t.Context(), "/shaper.Shapes/Echo", request, &pb.FailResponse{})
	assert.Equal(t, codes.ResourceExhausted, status.Code(err))
	assert.ErrorContains(t, err, `"code":413,"detail":"body: must have at most 33554432 bytes"`)
	assert.Empty(t, h.seen)
}

// A unary call without a message is not an empty message.
func TestNoMessage(t *testing.T) {
	t.Parallel()
	c, h := setup(t)
	conn, err := grpc.NewClient(c.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/shaper.Shapes/Echo")
	require.NoError(t, err)
	require.NoError(t, stream.CloseSend())
	err = stream.RecvMsg(&pb.EchoResponse{})
	assert.Equal(t, codes.InvalidArgument, status.Code(err))
	assert.ErrorContains(t, err, "body: a message is missing")
	assert.Empty(t, h.seen)
}
