package main

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/m3o/backend/pkg/bench/process"
	pb "github.com/m3o/backend/pkg/internal/testproto"
)

const plainPath = "/servicetest.Guarded/Own"

// runPlainServer is a server of gRPC, as its own generated code would register it.
func runPlainServer() error {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", process.Address())
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "servicetest.Guarded",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Own", Handler: func(
			_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor,
		) (any, error) {
			req := new(pb.OwnRequest)
			if err := decode(req); err != nil {
				return nil, err
			}
			return &pb.OwnResponse{Id: req.Owner.Id, Kind: "service", Caller: "trusted-latest"}, nil
		}}},
	}, nil)
	return s.Serve(l)
}

// runPlainCaller is a client of gRPC.
func runPlainCaller() error {
	conn, err := grpc.NewClient(process.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	return process.Obey(func() (process.Caller, error) {
		return func(ctx context.Context) error {
			rsp := new(pb.OwnResponse)
			err := conn.Invoke(ctx, plainPath, request(), rsp)
			if err == nil && rsp.Id == "" {
				err = fmt.Errorf("an answer without an id")
			}
			return err
		}, nil
	})
}
