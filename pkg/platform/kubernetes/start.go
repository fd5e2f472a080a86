package kubernetes

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	authpb "github.com/micro/micro/v3/proto/auth"
	pb "github.com/micro/micro/v3/proto/runtime"
	microclient "github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/context/metadata"
	microerrors "github.com/micro/micro/v3/service/errors"
	grpccredentials "google.golang.org/grpc/credentials"

	"github.com/m3o/backend/pkg/platform/launch"
	"github.com/m3o/backend/pkg/platform/runtime"
	"github.com/m3o/backend/pkg/platform/state"
	"github.com/m3o/backend/pkg/service/direct"
	"github.com/m3o/backend/pkg/service/mtls"
)

const (
	// fetchTimeout bounds how long a binary may take; a gigabyte at 10 MB a second fits.
	fetchTimeout = 2 * time.Minute
	// patience is how long the platform may take until it answers, when all of it starts at once.
	patience = time.Minute
	// chunk is how many bytes a message of a binary has.
	chunk = 1 << 20
)

// start becomes a service: it fetches its binary from the platform, as the service that the environment says it is, unless
// an earlier start of this pod has, checks it and executes it with the arguments. It returns only when it fails.
func start(ctx context.Context, source string, args []string) error {
	addresses, err := state.LoadAddresses()
	if err != nil {
		return err
	}
	dir, from := filepath.Join(os.Getenv(state.Env), "bin"), origin{auth: addresses.Of("auth"), runtime: addresses.Of("runtime")}
	if certificates := addresses.Certificates(os.Getenv("MICRO_SERVICE_NAME")); certificates != "" {
		own, err := mtls.Open(certificates, os.Getenv("MICRO_SERVICE_NAME"))
		if err != nil {
			return fmt.Errorf("%s: %w", state.TLSEnv, err)
		}
		from.secure = own.Client
	}
	name, err := obtain(ctx, source, dir, from)
	if err != nil {
		return err
	}
	err = syscall.Exec(name, slices.Concat([]string{name}, args), os.Environ()) //nolint:gosec // it has been checked
	return fmt.Errorf("start the binary: %w", err)
}

// origin is where the two services are that a binary is fetched from, and what makes connections to them; nil without TLS.
type origin struct {
	auth, runtime string
	secure        func(service string) grpccredentials.TransportCredentials
}

// obtain returns the name of the file of the binary, which it fetches into a directory unless it is there.
func obtain(ctx context.Context, source, dir string, from origin) (name string, err error) {
	if err := runtime.CheckSource(source); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil { //nolint:gosec // below the state directory
		return "", fmt.Errorf("make a directory for the binary: %w", err)
	}
	name = filepath.Join(dir, runtime.Digest(source))
	err = check(name, source)
	if err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errDamaged) {
		return name, err
	}
	if err := fetch(ctx, source, name, from); err != nil {
		return "", fmt.Errorf("fetch the binary: %w", err)
	}
	return name, nil
}

var errDamaged = errors.New("the binary is not what was uploaded")

// check tells whether a file is the binary.
func check(name, source string) error {
	f, err := os.Open(name) //nolint:gosec // the name is made of a hash
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return fmt.Errorf("read the binary: %w", err)
	}
	if hex.EncodeToString(hash.Sum(nil)) != runtime.Digest(source) {
		return errDamaged
	}
	return nil
}

// fetch downloads the binary. What is left of an attempt that was killed goes with the pod.
func fetch(ctx context.Context, source, name string, from origin) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	// Nothing of Micro is set up in this process: it calls where the two services are, and asks no registry.
	caller := direct.New(direct.Config{Secure: from.secure, Credentials: func() (string, string) { return "", "" }})
	defer caller.Close() //nolint:errcheck // it has answered
	ctx, err := login(ctx, caller, from.auth)
	if err != nil {
		return err
	}
	stream, err := pb.NewBuildService("runtime", caller).Read(ctx, &pb.Service{
		Name: os.Getenv("MICRO_SERVICE_NAME"), Version: os.Getenv("MICRO_SERVICE_VERSION"), Source: source,
	}, microclient.WithAddress(from.runtime), microclient.WithRequestTimeout(fetchTimeout))
	if err != nil {
		return err
	}
	defer stream.Close() //nolint:errcheck // it has been read, or failed
	draft, got, err := runtime.Draft(filepath.Dir(name), &chunks{recv: stream.Recv})
	if err != nil {
		return err
	}
	if got != source {
		return errors.Join(errDamaged, os.Remove(draft)) //nolint:gosec // it was just made
	}
	return os.Rename(draft, name) //nolint:gosec // one was just made, the other is called by its hash
}

// login returns a context that calls as the service.
func login(ctx context.Context, c microclient.Client, address string) (context.Context, error) {
	auth := authpb.NewAuthService("auth", c)
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var answer *authpb.TokenResponse
	var last error
	err := launch.Poll(waiting, func() (bool, error) {
		answer, last = auth.Token(waiting, &authpb.TokenRequest{
			Id: os.Getenv("MICRO_AUTH_ID"), Secret: os.Getenv("MICRO_AUTH_SECRET"), TokenExpiry: int64(fetchTimeout.Seconds()),
		}, microclient.WithAddress(address))
		if last != nil && microerrors.FromError(last).Code == http.StatusUnauthorized {
			return false, last // it will not be better for waiting
		}
		return last == nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("log in: %w", cmp.Or(last, err))
	}
	return metadata.NewContext(ctx, metadata.Metadata{"Authorization": "Bearer " + answer.GetToken().GetAccessToken()}), nil
}

// chunks reads the messages of a stream.
type chunks struct {
	recv func() (*pb.BuildReadResponse, error)
	rest []byte
}

// Read implements io.Reader.
func (c *chunks) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		message, err := c.recv()
		if err != nil {
			return 0, err // io.EOF at the end
		}
		c.rest = message.GetData()
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// build answers Micro's RPC with which pods fetch their binary.
type build struct {
	running func(name string) (*record, error)
	blobs   *Blobs
}

// Read sends a service its own binary. That the caller is the service, its policy has seen to.
func (b build) Read(_ context.Context, req *pb.Service, stream pb.Build_ReadStream) error {
	rec, err := b.running(req.GetName())
	source := req.GetSource()
	if err != nil || rec.Version != req.GetVersion() || source == "" || source != rec.Source && source != rec.Former {
		return runtime.Missing() // and not who else has one
	}
	binary, err := b.blobs.Read(source)
	if err != nil {
		return err
	}
	if closer, ok := binary.(io.Closer); ok {
		defer closer.Close() //nolint:errcheck // it was only read
	}
	buffer := make([]byte, chunk)
	for {
		n, err := io.ReadFull(binary, buffer)
		if n > 0 {
			if err := stream.Send(&pb.BuildReadResponse{Data: buffer[:n]}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a binary: %w", err)
		}
	}
}
