package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
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
	if err := process.UseAuth(); err != nil {
		return err
	}
	if err := srv.Server().Init(server.Address(os.Getenv(process.AddressEnv))); err != nil {
		return err
	}
	if err := pb.RegisterGuardedHandler(srv.Server(), guarded{}); err != nil {
		return err
	}
	return srv.Run()
}

// runCaller is a service that calls another.
func runCaller() error {
	service.New("trusted")
	if err := process.UseAuth(); err != nil {
		return err
	}
	if err := process.UseRegistry(); err != nil {
		return err
	}
	if err := register(os.Getenv(process.AddressEnv)); err != nil {
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
	if err := process.UseRegistry(); err != nil {
		return err
	}
	if err := register(os.Getenv("BENCH_CALLS_SERVICE")); err != nil {
		return err
	}
	h, err := edge.New(edge.Config{
		Client: client.DefaultClient, Services: registry.DefaultRegistry, Settings: edge.DefaultSettings(),
	})
	if err != nil {
		return err
	}
	s := &http.Server{Addr: os.Getenv(process.AddressEnv), Handler: h, ReadHeaderTimeout: time.Minute}
	return s.ListenAndServe()
}

// runHTTPCaller calls as a client of the API does, each caller on a connection of its own. It reads of the answers what it
// needs to know that they are good: what it does itself is no part of the API, but takes the processor from it.
func runHTTPCaller() error {
	const id = "01890a5d-ac96-774b-bcce-b302099a8057"
	body := `{"owner":{"id":"` + id + `","numbers":[1,2,3]},"email":"jane@example.com"}`
	text := fmt.Sprintf("POST /guarded/Own HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", os.Getenv(process.TokenEnv), len(body), body)
	return process.Obey(func() (process.Caller, error) {
		conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", os.Getenv(process.AddressEnv))
		if err != nil {
			return nil, err
		}
		request, answer := []byte(text), make([]byte, 16<<10)
		return func(context.Context) error {
			if _, err := conn.Write(request); err != nil {
				return err
			}
			head, body, err := readAnswer(conn, answer)
			if err == nil && (!bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) || !bytes.Contains(body, []byte(id))) {
				err = fmt.Errorf("%s: %s", head, body)
			}
			return err
		}, nil
	})
}

// readAnswer reads one answer, whose body has a length, into room.
func readAnswer(conn io.Reader, room []byte) (head, body []byte, err error) {
	const length = "\r\nContent-Length: "
	for have := 0; ; {
		n, err := conn.Read(room[have:])
		if err != nil {
			return nil, nil, err
		}
		have += n
		head, body, ok := bytes.Cut(room[:have], []byte("\r\n\r\n"))
		if !ok {
			continue
		}
		_, rest, ok := bytes.Cut(head, []byte(length))
		digits, _, _ := bytes.Cut(rest, []byte("\r\n"))
		long, err := strconv.Atoi(string(digits))
		if !ok || err != nil || len(body) > long {
			return nil, nil, fmt.Errorf("an answer that is not understood: %s", head)
		}
		if len(body) == long {
			return head, body, nil
		}
	}
}
