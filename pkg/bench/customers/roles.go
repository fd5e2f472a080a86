package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/registry"
	"github.com/micro/micro/v3/service/server"

	"github.com/m3o/backend/customers/handler"
	pb "github.com/m3o/backend/customers/proto"
	customers "github.com/m3o/backend/customers/service"
	access "github.com/m3o/backend/pkg/auth"
	"github.com/m3o/backend/pkg/bench/process"
	"github.com/m3o/backend/pkg/service"
)

// name is what the service is registered as, whether it knows anybody or not.
const name = "customers"

// What a child finds in its environment.
const (
	driverEnv = "BENCH_CUSTOMERS_DRIVER"
	dataEnv   = "BENCH_CUSTOMERS_DATABASE"
	// knownEnv is the file of those who are asked about: an id and a key a line.
	knownEnv = "BENCH_CUSTOMERS_KNOWN"
)

var roles = map[string]func() error{
	"service": runService, "bare": runBare, "reader": runReader, "verifier": runVerifier, "creator": runCreator,
}

// runService is customers as it is, but for a stream and an auth service, which nothing that is measured waits for.
func runService() error {
	srv, err := begin()
	if err != nil {
		return err
	}
	c, err := source{driver: os.Getenv(driverEnv), address: os.Getenv(dataEnv)}.open()
	if err != nil {
		return err
	}
	srv.OnStop(c.db.Close)
	srv.OnStart(c.keys.Start)
	srv.OnStop(c.keys.Stop)
	h, err := handler.New(handler.Config{Core: c.customers})
	if err != nil {
		return err
	}
	k, err := handler.NewKeys(handler.KeysConfig{Core: c.keys})
	if err != nil {
		return err
	}
	return serve(srv, h, k)
}

// begin makes this process a service that listens where it is told.
func begin() (*service.Service, error) {
	srv := service.New(name)
	if err := process.UseAuth(); err != nil {
		return nil, err
	}
	return srv, srv.Server().Init(server.Address(os.Getenv(process.AddressEnv)))
}

func serve(srv *service.Service, h pb.CustomersHandler, k pb.KeysHandler) error {
	if err := pb.RegisterCustomersHandler(srv.Server(), h); err != nil {
		return err
	}
	if err := pb.RegisterKeysHandler(srv.Server(), k); err != nil {
		return err
	}
	return srv.Run()
}

// bare answers as customers does, and does nothing for it.
type bare struct {
	pb.CustomersHandler
	pb.KeysHandler
}

// Read implements pb.CustomersHandler.
func (bare) Read(_ context.Context, req *pb.ReadRequest, rsp *pb.ReadResponse) error {
	rsp.Customer = &pb.Customer{
		Id: req.Id, Status: "active", Created: 1_700_000_000, Email: "anna.1000@example.com", Updated: 1_700_000_000,
		Name: "Anna 1000", Version: 1,
	}
	return nil
}

// VerifyKey implements pb.KeysHandler.
func (bare) VerifyKey(_ context.Context, _ *pb.VerifyKeyRequest, rsp *pb.VerifyKeyResponse) error {
	rsp.CustomerId, rsp.ApiKeyId = "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058"
	rsp.Scopes = []string{"*"}
	return nil
}

func runBare() error {
	srv, err := begin()
	if err != nil {
		return err
	}
	return serve(srv, bare{}, bare{})
}

// known are the id and the key of each who is asked about.
func known() (ids, keys []string, err error) {
	text, err := os.ReadFile(os.Getenv(knownEnv)) //nolint:gosec // the parent has made it
	if err != nil {
		return nil, nil, err
	}
	for line := range strings.Lines(string(text)) {
		id, key, _ := strings.Cut(strings.TrimSpace(line), " ")
		ids, keys = append(ids, id), append(keys, key)
	}
	return ids, keys, nil
}

// obey makes this process one that calls customers, wherever that is.
func obey(call process.Caller) error {
	err := registry.DefaultRegistry.Register(&registry.Service{
		Name: name, Version: "latest", Nodes: []*registry.Node{{Id: name, Address: os.Getenv(process.AddressEnv)}},
		Endpoints: []*registry.Endpoint{
			{Name: "Keys.VerifyKey", Metadata: map[string]string{access.EndpointKey: access.ForAdmin.String()}},
			{Name: "Customers.Create", Metadata: map[string]string{access.EndpointKey: access.ForAdmin.String()}},
			{Name: "Customers.Read", Metadata: map[string]string{access.EndpointKey: access.ForCustomer.String()}},
		},
	})
	if err != nil {
		return err
	}
	return process.Obey(func() (process.Caller, error) { return call, nil })
}

// join makes this process a service that calls others.
func join() error {
	service.New("caller")
	return process.UseAuth()
}

func runReader() error {
	ids, _, err := known()
	if err = errors.Join(err, join()); err != nil {
		return err
	}
	c := pb.NewCustomersService(name, client.DefaultClient)
	return obey(func(ctx context.Context) error {
		id := ids[rand.IntN(len(ids))] //nolint:gosec // no secret
		rsp, err := c.Read(ctx, &pb.ReadRequest{Id: id}, client.WithAuthToken())
		if err == nil && rsp.Customer.GetId() != id {
			err = errors.New("an answer about somebody else")
		}
		return err
	})
}

func runVerifier() error {
	_, keys, err := known()
	if err = errors.Join(err, join()); err != nil {
		return err
	}
	c := pb.NewKeysService(name, client.DefaultClient)
	return obey(func(ctx context.Context) error {
		key := keys[rand.IntN(len(keys))] //nolint:gosec // no secret
		rsp, err := c.VerifyKey(ctx, &pb.VerifyKeyRequest{ApiKey: key}, client.WithAuthToken())
		if err == nil && rsp.CustomerId == "" {
			err = errors.New("an answer without a customer")
		}
		return err
	})
}

func runCreator() error {
	if err := join(); err != nil {
		return err
	}
	c := pb.NewCustomersService(name, client.DefaultClient)
	var number atomic.Int64
	began := time.Now().UnixNano()
	return obey(func(ctx context.Context) error {
		email := fmt.Sprintf("new.%d.%d@example.com", began, number.Add(1))
		rsp, err := c.Create(ctx, &pb.CreateRequest{Email: email, Name: "New"}, client.WithAuthToken())
		if err == nil && rsp.Customer.GetEmail() != email {
			err = errors.New("an answer about somebody else")
		}
		return err
	})
}

// writeKnown makes a key for each of some customers of a source, and says in which file of a new directory they are.
func (s source) writeKnown(ctx context.Context, dir string) (file string, err error) {
	c, err := s.open()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, c.db.Close()) }()
	var text strings.Builder
	for _, i := range rand.Perm(s.customers)[:asked] {
		id := idOf(i)
		_, key, err := c.keys.Generate(ctx, customers.NewKey{CustomerID: id})
		if err != nil {
			return "", err
		}
		fmt.Fprintln(&text, id, key)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	file = filepath.Join(dir, "known")
	return file, os.WriteFile(file, []byte(text.String()), 0o600)
}
