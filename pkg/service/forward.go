package service

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/micro/micro/v3/service/client"
	micrometadata "github.com/micro/micro/v3/service/context/metadata"
	merrors "github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/logger"
	"github.com/micro/micro/v3/util/codec/bytes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/m3o/backend/pkg/service/direct"
)

// Forward makes the server a proxy: calls of other services are made once more by a client, as they are and with what their
// caller has sent along, and it is for the service that gets them to decide about them. What is called on the server
// itself is served as ever.
func (s *Server) Forward(c client.Client) { s.forwards = c }

// isOwn tells whether a gRPC path names the server itself.
func (s *Server) isOwn(path string) bool {
	service, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), ".")
	return service == s.name
}

// AddressKey is where a call says from which address it came into the platform. Every way in overwrites it: what a caller
// says of themself is worth nothing.
const AddressKey = "X-Forwarded-For"

// forward makes the call of a stream at the service that its path names.
func (s *Server) forward(ss grpc.ServerStream, path string) error {
	prefix, method, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	dot := strings.LastIndexByte(prefix, '.')
	if dot < 0 || method == "" {
		return merrors.NotFound(s.name, "there is no such endpoint")
	}
	enc, err := formatOf(ss.Context())
	if err != nil {
		return err
	}
	contentType := "application/protobuf"
	if enc == jsonText {
		contentType = "application/json"
	}
	ctx, cancel := context.WithCancel(fromOutside(ss.Context()))
	defer cancel()
	call, err := s.forwards.Stream(ctx, s.forwards.NewRequest(prefix[:dot], prefix[dot+1:]+"."+method, nil,
		client.WithContentType(contentType), client.StreamingRequest()))
	if err != nil {
		return err
	}
	go func() {
		// Whatever goes wrong here, the other direction hears of it.
		for {
			var message bytes.Frame
			if err := ss.RecvMsg(&message); err != nil {
				if !errors.Is(err, io.EOF) {
					cancel()
				}
				_ = call.Close()
				return
			}
			if call.Send(&message) != nil {
				return
			}
		}
	}()
	for {
		var message bytes.Frame
		switch err := call.Recv(&message); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := ss.SendMsg(&message); err != nil {
			return err
		}
	}
}

// fromOutside is what a call from outside is made on with: everything that came with it, and where it came from.
func fromOutside(ctx context.Context) context.Context {
	came, _ := metadata.FromIncomingContext(ctx)
	md := make(micrometadata.Metadata, len(came)+1)
	for key, values := range came {
		if !strings.EqualFold(key, AddressKey) {
			md[key] = strings.Join(values, ", ")
		}
	}
	if p, ok := peer.FromContext(ctx); ok {
		if host, _, err := net.SplitHostPort(p.Addr.String()); err == nil {
			md[AddressKey] = host
		}
	}
	return micrometadata.NewContext(ctx, md)
}

// passedOn is the error of a call that was made for somebody else: a service's own as it is.
func passedOn(err error) *merrors.Error {
	if e, ok := errors.AsType[*merrors.Error](err); ok {
		return e
	}
	logger.Errorf("A call failed on its way: %v", err)
	return newError(direct.ErrorID, http.StatusInternalServerError, "the call failed on its way")
}
