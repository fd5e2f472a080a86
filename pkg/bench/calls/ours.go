package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/registry"
	"github.com/micro/micro/v3/service/server"

	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/bench/process"
	pb "github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/platform/edge"
	"github.com/m3o/backend/pkg/service"
)

// name is what the service is registered as.
const name = "guarded"

// guarded answers who calls about whom.
type guarded struct{ pb.GuardedHandler }

// Own implements pb.GuardedHandler.
func (guarded) Own(ctx context.Context, req *pb.OwnRequest, rsp *pb.OwnResponse) error {
	caller := access.CallerFrom(ctx)
	rsp.Id, rsp.Kind, rsp.Caller = req.Owner.Id, caller.Kind.String(), caller.ID
	return nil
}

// request is what is sent, on each side.
func request() *pb.OwnRequest {
	return &pb.OwnRequest{
		Owner: &pb.Owner{Id: "01890a5d-ac96-774b-bcce-b302099a8057", Numbers: []int32{1, 2, 3}}, Email: "jane@example.com",
	}
}

// runService is a service as any other.
func runService() error {
	srv := service.New(name)
	if err := errors.Join(process.UseAuth(), process.GrantAll()); err != nil {
		return err
	}
	if err := srv.Server().Init(server.Address(process.Address())); err != nil {
		return err
	}
	if err := pb.RegisterGuardedHandler(srv.Server(), guarded{}); err != nil {
		return err
	}
	return srv.Run()
}

// runCaller is a service that calls another.
func runCaller() error {
	service.New(process.CallerName)
	if err := process.UseAuth(); err != nil {
		return err
	}
	if err := register(process.Address()); err != nil {
		return err
	}
	return process.Obey(rpcCaller)
}

// register makes the service known in this process.
func register(address string) error {
	return registry.DefaultRegistry.Register(&registry.Service{
		Name: name, Version: "latest", Nodes: []*registry.Node{{Id: name, Address: address}},
		Endpoints: []*registry.Endpoint{{
			Name: "Guarded.Own", Metadata: map[string]string{access.EndpointKey: access.ForCustomer.String()},
		}},
	})
}

func rpcCaller() (process.Caller, error) {
	c := pb.NewGuardedService(name, client.DefaultClient)
	return func(ctx context.Context) error {
		rsp, err := c.Own(ctx, request(), client.WithAuthToken())
		if err == nil && rsp.Id == "" {
			err = fmt.Errorf("an answer without an id")
		}
		return err
	}, nil
}

// runEdge is the HTTP API in front of the service.
func runEdge() error {
	service.New("edge")
	if err := register(os.Getenv("BENCH_CALLS_SERVICE")); err != nil {
		return err
	}
	h, err := edge.New(edge.Config{
		Client: client.DefaultClient, Services: registry.DefaultRegistry, Settings: edge.DefaultSettings(),
	})
	if err != nil {
		return err
	}
	s := &http.Server{Addr: process.Address(), Handler: h, ReadHeaderTimeout: time.Minute}
	return s.ListenAndServe()
}

// runHTTPCaller calls as a client of the API does, each caller on a connection of its own.
func runHTTPCaller() error {
	body := `{"owner":{"id":"01890a5d-ac96-774b-bcce-b302099a8057","numbers":[1,2,3]},"email":"jane@example.com"}`
	text := fmt.Sprintf("POST /guarded/Own HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", process.Token(), len(body), body)
	return process.Obey(func() (process.Caller, error) {
		conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", process.Address())
		if err != nil {
			return nil, err
		}
		answers := bufio.NewReader(conn)
		return func(context.Context) error {
			if _, err := io.WriteString(conn, text); err != nil {
				return err
			}
			rsp, err := http.ReadResponse(answers, nil)
			if err != nil {
				return err
			}
			defer rsp.Body.Close()
			b, err := io.ReadAll(rsp.Body)
			if err == nil && rsp.StatusCode != http.StatusOK {
				err = fmt.Errorf("%s: %s", rsp.Status, b)
			}
			return err
		}, nil
	})
}
