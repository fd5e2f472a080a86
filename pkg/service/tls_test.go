package service

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/auth"
	membroker "github.com/micro/micro/v3/service/broker/memory"
	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/registry"
	memregistry "github.com/micro/micro/v3/service/registry/memory"
	"github.com/micro/micro/v3/service/server"
	grpcserver "github.com/micro/micro/v3/service/server/grpc"
	"github.com/stretchr/testify/require"

	pb "github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/service/direct"
	"github.com/m3o/backend/pkg/service/mtls"
	"github.com/m3o/backend/pkg/service/mtls/mtlstest"
)

// proof is who a process is, as a directory has it.
func proof(t testing.TB, ca *mtlstest.CA, name string) (*mtls.Source, string) {
	t.Helper()
	dir := t.TempDir()
	ca.Issue(t, dir, time.Now().Add(time.Hour), name)
	s, err := mtls.Open(dir, name)
	require.NoError(t, err)
	return s, dir
}

// reader answers Read.
type reader struct {
	pb.CounterHandler
	calls atomic.Int64
}

func (r *reader) Read(context.Context, *pb.ReadRequest, *pb.ReadResponse) error {
	r.calls.Add(1)
	return nil
}

// serving is a server that proves to be the service of a name, and is listed as another one of the registry, if that is told.
func serving(t testing.TB, reg registry.Registry, name string, source *mtls.Source, opts ...Option) (*Server, *reader) {
	t.Helper()
	s, err := NewServer(grpcserver.NewServer(
		server.Name(name), server.Address("127.0.0.1:0"), server.Registry(reg), server.Broker(membroker.NewBroker()),
	), func(string) (*auth.Account, error) { return nil, auth.ErrInvalidToken }, append(opts, WithTLS(source))...)
	require.NoError(t, err)
	h := new(reader)
	require.NoError(t, pb.RegisterCounterHandler(s, h))
	require.NoError(t, s.Start())
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return s, h
}

// calling is a client of the service "counters".
func calling(t testing.TB, reg registry.Registry, source *mtls.Source) pb.CounterService {
	t.Helper()
	config := direct.Config{Registry: reg, Patience: 300 * time.Millisecond}
	if source != nil {
		config.Secure = source.Client
	}
	c := direct.New(config)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return pb.NewCounterService("counters", c)
}

// refused makes sure that a call does not get through, and that its caller is told soon.
func refused(t *testing.T, c pb.CounterService, opts ...client.CallOption) {
	t.Helper()
	begin := time.Now()
	_, err := c.Read(t.Context(), &pb.ReadRequest{}, opts...)
	require.EqualValues(t, 503, errors.FromError(err).Code, "%v", err)
	require.Less(t, time.Since(begin), 5*time.Second)
}

func TestWhoGetsThrough(t *testing.T) {
	t.Parallel()
	ca, reg := mtlstest.NewCA(t), memregistry.NewRegistry()
	counters, dir := proof(t, ca, "counters")
	billing, billings := proof(t, ca, "billing")
	stranger, _ := proof(t, mtlstest.NewCA(t), "billing")
	s, h := serving(t, reg, "counters", counters)

	ours := calling(t, reg, billing)
	_, err := ours.Read(t.Context(), &pb.ReadRequest{})
	require.NoError(t, err)
	require.NoError(t, s.Alive(t.Context()))
	require.EqualValues(t, 1, h.calls.Load())
	refused(t, calling(t, reg, nil))
	refused(t, calling(t, reg, stranger))

	// Another one lists itself under the name, or is what a caller takes for it.
	other, _ := serving(t, memregistry.NewRegistry(), "billing", billing)
	at := other.Options().Address
	refused(t, ours, client.WithAddress(at))
	_, err = ours.Read(t.Context(), &pb.ReadRequest{}, client.WithAddress(s.Options().Address))
	require.NoError(t, err)
	fake := memregistry.NewRegistry()
	require.NoError(t, fake.Register(&registry.Service{
		Name: "counters", Version: "latest", Nodes: []*registry.Node{{Id: "fake", Address: at}},
	}))
	refused(t, calling(t, fake, billing))

	// One side has expired, and then the other one; afterwards all is well again.
	for _, expired := range []struct{ dir, name string }{{dir, "counters"}, {billings, "billing"}} {
		ca.Issue(t, expired.dir, time.Now().Add(-time.Second), expired.name)
		refused(t, calling(t, reg, billing))
		ca.Issue(t, expired.dir, time.Now().Add(time.Hour), expired.name)
	}
	_, err = calling(t, reg, billing).Read(t.Context(), &pb.ReadRequest{})
	require.NoError(t, err)
}

// A server that does not have TLS is not called, and one that stays silent does not hold a call up.
func TestPlainServerIsNotCalled(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t)
	billing, _ := proof(t, ca, "billing")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	refused(t, calling(t, memregistry.NewRegistry(), billing), client.WithAddress(listener.Addr().String()))
}

func TestOldVersionsAreRefused(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t)
	counters, dir := proof(t, ca, "counters")
	s, _ := serving(t, memregistry.NewRegistry(), "counters", counters)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, mtls.CertFile), filepath.Join(dir, mtls.KeyFile))
	require.NoError(t, err)
	_, err = tls.Dial("tcp", s.Options().Address, &tls.Config{
		Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12,
	})
	require.ErrorContains(t, err, "protocol version not supported")
}

// Certificates of both sides, and the authority, are replaced under load, and connections are ended all the time.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	ca, reg := mtlstest.NewCA(t), memregistry.NewRegistry()
	counters, dir := proof(t, ca, "counters")
	billing, billings := proof(t, ca, "billing")
	const age = 50 * time.Millisecond
	s, h := serving(t, reg, "counters", counters, withConnectionAge(age))
	c := calling(t, reg, billing)

	ctx, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for ctx.Err() == nil {
				if _, err := c.Read(context.WithoutCancel(ctx), &pb.ReadRequest{}); err != nil {
					t.Errorf("a call has failed: %v", err)
					stop()
				}
			}
		})
	}
	serial := func() string {
		conn, err := tls.Dial("tcp", s.Options().Address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return err.Error()
		}
		defer conn.Close() //nolint:errcheck // it was only to be looked at
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	end := time.Now().Add(3 * time.Second)
	for time.Now().Before(end) && ctx.Err() == nil {
		before := serial()
		next := mtlstest.NewCA(t)
		for _, d := range []string{dir, billings} {
			mtlstest.Believe(t, d, ca, next)
		}
		for d, name := range map[string]string{dir: "counters", billings: "billing"} {
			replace(t, next, d, name)
		}
		require.NotEqual(t, before, serial())
		settled := h.calls.Load()
		require.Eventually(t, func() bool { return h.calls.Load() > settled+100 || ctx.Err() != nil }, 10*time.Second, age)
		for _, d := range []string{dir, billings} {
			mtlstest.Believe(t, d, next)
		}
		ca = next
	}
	stop()
	callers.Wait()
	t.Logf("%d calls", h.calls.Load())
}

// replace replaces a certificate, and leaves the authorities that are believed as they are.
func replace(t *testing.T, ca *mtlstest.CA, dir, name string) {
	t.Helper()
	elsewhere := t.TempDir()
	ca.Issue(t, elsewhere, time.Now().Add(time.Hour), name)
	for _, file := range []string{mtls.KeyFile, mtls.CertFile} {
		b, err := os.ReadFile(filepath.Join(elsewhere, file))
		require.NoError(t, err)
		mtlstest.Write(t, filepath.Join(dir, file), b)
	}
}

// BenchmarkTLS compares calls over encrypted connections with calls over plain ones.
func BenchmarkTLS(b *testing.B) {
	ca := mtlstest.NewCA(b)
	counters, _ := proof(b, ca, "counters")
	billing, _ := proof(b, ca, "billing")
	for _, side := range []struct {
		name           string
		server, client *mtls.Source
	}{{"plain", nil, nil}, {"tls", counters, billing}} {
		reg := memregistry.NewRegistry()
		serving(b, reg, "counters", side.server)
		c := calling(b, reg, side.client)
		call := func(b *testing.B) {
			b.Helper()
			if _, err := c.Read(b.Context(), &pb.ReadRequest{}); err != nil {
				b.Error(err)
			}
		}
		b.Run(side.name+"/1", func(b *testing.B) {
			for b.Loop() {
				call(b)
			}
		})
		b.Run(side.name+"/64", func(b *testing.B) {
			b.SetParallelism(64 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					call(b)
				}
			})
		})
	}
}
