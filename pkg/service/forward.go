package service

import (
	"context"
	"net"
	"strings"

	"github.com/micro/micro/v3/service/server"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// Forward makes the server a proxy: calls of other services go to the router as they are, and it is for the service that
// gets them to decide about them. What is called on the server itself is authorised as ever.
func (s *Server) Forward(router server.Router) error {
	s.forwards = true
	return s.Init(server.WithRouter(router))
}

// isOwn tells whether a gRPC path names the server itself.
func (s *Server) isOwn(path string) bool {
	service, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), ".")
	return service == s.name
}

// AddressKey is where a call says from which address it came into the platform. Every way in overwrites it: what a caller
// says of themself is worth nothing.
const AddressKey = "X-Forwarded-For"

// outsideStream is a call that came in from outside.
type outsideStream struct {
	grpc.ServerStream
	ctx context.Context
}

func fromOutside(ss grpc.ServerStream) grpc.ServerStream {
	md, _ := metadata.FromIncomingContext(ss.Context())
	md = md.Copy()
	md.Delete(AddressKey)
	if p, ok := peer.FromContext(ss.Context()); ok {
		if host, _, err := net.SplitHostPort(p.Addr.String()); err == nil {
			md.Set(AddressKey, host)
		}
	}
	return &outsideStream{ServerStream: ss, ctx: metadata.NewIncomingContext(ss.Context(), md)}
}

func (s *outsideStream) Context() context.Context { return s.ctx }
