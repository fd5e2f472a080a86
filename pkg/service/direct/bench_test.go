package direct_test

import (
	"context"
	"testing"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/auth/noop"
	"github.com/micro/micro/v3/service/client"
	grpcclient "github.com/micro/micro/v3/service/client/grpc"
	"github.com/micro/micro/v3/service/context/metadata"
	memregistry "github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/util/wrapper"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/service/direct"
)

// BenchmarkClients compares what clients allocate for a call: with the same server of gRPC, whose part is in all of them.
func BenchmarkClients(b *testing.B) {
	address := serveGRPC(b, func(_ any, s grpc.ServerStream) error {
		if err := s.RecvMsg(new(pb.AddRequest)); err != nil {
			return err
		}
		return s.SendMsg(&pb.AddResponse{Node: "a"})
	})
	reg := memregistry.NewRegistry()
	require.NoError(b, reg.Register(entry("a", address)))
	ctx := metadata.NewContext(b.Context(), metadata.Metadata{"Authorization": "Bearer token", "X-Forwarded-For": "192.0.2.1"})
	before := auth.DefaultAuth
	auth.DefaultAuth = noop.NewAuth()
	b.Cleanup(func() { auth.DefaultAuth = before })

	generated := func(c client.Client, opts ...client.CallOption) func(*testing.B) {
		pbc := pb.NewCounterService(serviceName, c)
		return loop(func() error {
			_, err := pbc.Add(ctx, &pb.AddRequest{}, opts...)
			return err
		})
	}
	b.Run("direct", generated(clientWith(b, direct.Config{Registry: reg})))
	// As Micro sets its client up; without the proxy, that is another two connections.
	b.Run("stock", generated(wrapper.LogClient(wrapper.TraceCall(wrapper.AuthClient(grpcclient.NewClient()))),
		client.WithAddress(address)))

	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, conn.Close()) })
	b.Run("plain", loop(func() error {
		return conn.Invoke(context.WithoutCancel(ctx), "/servicetest.Counter/Add", &pb.AddRequest{}, new(pb.AddResponse))
	}))
}

func loop(call func() error) func(*testing.B) {
	return func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := call(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
