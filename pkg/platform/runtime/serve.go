package runtime

import (
	"context"
	stderrors "errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	pb "github.com/micro/micro/v3/proto/runtime"
	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/logger"
	microruntime "github.com/micro/micro/v3/service/runtime"
	"github.com/micro/micro/v3/service/server"
	"github.com/micro/micro/v3/service/store"
	"github.com/urfave/cli/v2"

	"github.com/m3o/backend/pkg/auth/token"
	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/platform/authority"
	"github.com/m3o/backend/pkg/platform/profile"
	"github.com/m3o/backend/pkg/platform/state"
	"github.com/m3o/backend/pkg/platform/supervisor"
	backend "github.com/m3o/backend/pkg/service" // service is a type of this package
	"github.com/m3o/backend/pkg/service/telemetry/monitor"
)

// Serve runs the core service "runtime": Micro's handler on a Runtime, and what takes in binaries.
func Serve(*cli.Context) error {
	addresses, err := state.LoadAddresses()
	if err != nil {
		return err
	}
	credentials, err := token.ParseServices(os.Getenv(CredentialsEnv))
	if err != nil {
		return fmt.Errorf("%s: %w", CredentialsEnv, err)
	}
	srv := backend.Core("runtime")
	profile.Observe(srv)
	if err := store.DefaultStore.Init(store.Table("runtime")); err != nil {
		return fmt.Errorf("open the runtime's store: %w", err)
	}
	config := Config{
		Store:    store.DefaultStore,
		Binaries: Binaries{Dir: state.Binaries()},
		Env:      func(sold bool) []string { return serviceEnv(addresses, sold) },
		Credentials: func(service, version string, sold bool) Credentials {
			return Issue(credentials, service, version, sold)
		},
		// A service answers what it is working on before it ends.
		Supervisor: supervisor.Config{Grace: 25 * time.Second},
	}
	if a := authority.Of(addresses); a != nil {
		config.Withdraw = a.Withdraw
		config.Certify = func(service string, sold bool) error {
			if sold {
				return a.Issue(authority.Sold, service)
			}
			return a.Issue(authority.Service, service)
		}
	}
	r, err := New(config)
	if err != nil {
		return err
	}
	microruntime.DefaultRuntime = r
	if err := stderrors.Join(Register(srv.Server(), r, r.config.Binaries), r.Start()); err != nil {
		return err
	}
	return stderrors.Join(srv.Run(), r.Stop())
}

// Register makes a server that of the runtime service: it answers with a runtime, and gives a Keeper what is uploaded.
func Register(srv server.Server, r microruntime.Runtime, binaries Keeper) error {
	return stderrors.Join(
		pb.RegisterRuntimeHandler(srv, handler{r}),
		pb.RegisterSourceHandler(srv, &Source{Binaries: binaries}),
	)
}

// serviceEnv is the environment of every service. It has what a process needs to run and where the platform is, and none
// of the platform's secrets.
func serviceEnv(addresses state.Addresses, sold bool) []string {
	env := []string{
		state.Env + "=" + state.Dir(),
		"MICRO_PROXY=" + addresses.Of("proxy"),
		"MICRO_REPORT_USAGE=false",
	}
	// A port can be had by one service only: they get the host, and the registry knows which port each of them found.
	if address := monitor.Shared(os.Getenv(monitor.AddressEnv)); address != "" {
		env = append(env, monitor.AddressEnv+"="+address)
	}
	names := passedOn
	if !sold {
		names = append(slices.Clone(names), passedToOurs...)
	}
	for _, name := range names {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// passedOn are the variables that every service gets from the environment of the server.
var passedOn = []string{
	"PATH", "HOME", "TMPDIR", "TZ", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "MICRO_LOG_FORMAT", "MICRO_LOG_LEVEL",
}

// passedToOurs are those that one that is sold does not get: they have passwords in them, or say where traces go, or where what
// stands in for others listens. Those of PostgreSQL are how a service is told a password, which an address in the configuration
// must not contain.
var passedToOurs = []string{
	"PGPASSFILE", "PGPASSWORD", "PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY",
	"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
	"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
	"OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_KEY",
	"OTEL_EXPORTER_OTLP_COMPRESSION", "OTEL_EXPORTER_OTLP_TIMEOUT",
	"OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG",
	"MICRO_STANDIN_STRIPE", "MICRO_STANDIN_MIXPANEL",
}

// IsPassedOn tells whether a variable of the server's environment is for the processes of the platform: for all of them, or
// for services that are not sold as well.
func IsPassedOn(variable string, ours bool) bool {
	return slices.Contains(passedOn, variable) || ours && slices.Contains(passedToOurs, variable)
}

// CredentialsEnv is the variable in which the runtime gets the key that it makes the credentials of services of. No
// service ever gets it.
const CredentialsEnv = "MICRO_RUNTIME_CREDENTIALS" //nolint:gosec // the name of a variable

// Issue makes what a service logs in with. Nothing is stored: the auth service derives the same.
func Issue(key token.Services, service, version string, sold bool) Credentials {
	kind := "service"
	if sold {
		kind = "sold"
	}
	id := kind + "/" + service + "/" + version
	return Credentials{ID: id, Secret: key.Secret(id)}
}

// Source takes in the binaries that are to be run.
type Source struct{ Binaries Keeper }

// Upload keeps the bytes it receives and answers with the reference that Runtime.Create expects as a service's source.
func (s *Source) Upload(_ context.Context, stream pb.Source_UploadStream) error {
	const endpoint = "runtime.Source.Upload"
	source, err := s.Binaries.Write(&uploadReader{stream: stream})
	if refused, ok := stderrors.AsType[*kinds.Error](err); ok && refused.Kind == kinds.KindInvalid {
		return errors.BadRequest(endpoint, "%s", refused)
	}
	if err != nil {
		logger.Errorf("Upload failed: %v", err)
		return errors.InternalServerError(endpoint, "the binary could not be kept; the runtime's log says why")
	}
	return stream.SendAndClose(&pb.UploadResponse{Id: source})
}

// uploadReader reads the bytes of an upload.
type uploadReader struct {
	stream interface {
		Recv() (*pb.UploadRequest, error)
	}
	rest []byte
}

// Read implements io.Reader.
func (u *uploadReader) Read(p []byte) (int, error) {
	for len(u.rest) == 0 {
		message, err := u.stream.Recv()
		if err != nil {
			return 0, err // io.EOF at the end of the upload
		}
		u.rest = message.Data
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}

// uploadTimeout bounds an upload; a gigabyte at 10 MB a second fits.
const uploadTimeout = 2 * time.Minute

// chunk is how many bytes an upload sends in a message.
const chunk = 1 << 20

// Upload sends a binary to the runtime and returns its reference.
func Upload(ctx context.Context, service string, binary io.Reader) (source string, err error) {
	stream, err := pb.NewSourceService("runtime", client.DefaultClient).
		Upload(ctx, client.WithAuthToken(), client.WithRequestTimeout(uploadTimeout))
	if err != nil {
		return "", err
	}
	buffer := make([]byte, chunk)
	for {
		n, err := io.ReadFull(binary, buffer)
		if n > 0 {
			request := &pb.UploadRequest{Service: &pb.Service{Name: service}, Data: buffer[:n]}
			if err := stream.Send(request); err != nil {
				return "", err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return "", fmt.Errorf("read the binary: %w", err)
		}
	}
	response, err := stream.CloseAndRecv()
	if err != nil {
		return "", err
	}
	return response.Id, nil
}
