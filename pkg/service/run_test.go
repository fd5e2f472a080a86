package service_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/client"
	microerrors "github.com/micro/micro/v3/service/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/m3o/backend/pkg/internal/testproto"
	"github.com/m3o/backend/pkg/service"
)

// childMode makes the test binary a service, so that the tests see a whole process.
const childMode = "SERVICE_TEST_CHILD"

// child is the main function of that service.
func child() bool {
	mode := os.Getenv(childMode)
	if mode == "" {
		return false
	}
	os.Args = os.Args[:1] // Micro would read the flags of the test
	srv := service.New("shaper")
	switch mode {
	case "refuse":
		srv.Must(fmt.Errorf("shaper.limit: expected a whole number\nand nothing else"))
	case "unfit":
		_ = srv.Server().Handle(srv.Server().NewHandler(&Unfit{})) // the error is lost, and has to come back
	case "config":
		var limits struct {
			Limit int `json:"limit"`
		}
		srv.Must(service.Config("micro.shaper", &limits))
	}
	srv.Check("database", func(context.Context) error {
		if mode == "not ready" {
			return errors.New("10.0.0.1 refused")
		}
		return nil
	})
	if mode == "calls" {
		srv.Check("itself", func(ctx context.Context) error {
			_, err := pb.NewShapesService("shaper", client.DefaultClient).Fail(ctx, &pb.FailRequest{How: "invalid"})
			if microerrors.FromError(err).Code == 400 { // as it is to fail
				return nil
			}
			return err
		})
	}
	srv.Must(pb.RegisterShapesHandler(srv.Server(), &slow{}))
	srv.OnStopping(func() { fmt.Fprintln(os.Stderr, "stopping") })
	srv.OnStop(func() error { fmt.Fprintln(os.Stderr, "first in, last out"); return nil })
	srv.OnStop(func() error {
		fmt.Fprintln(os.Stderr, "last in, first out")
		if mode == "stop fails" {
			return errors.New("the database could not be closed")
		}
		return nil
	})
	srv.Must(srv.Run())
	return true
}

// Unfit is a handler for which there is no proto service.
type Unfit struct{}

// Echo has the messages of another service.
func (*Unfit) Echo(context.Context, *pb.EchoRequest, *pb.EchoResponse) error { return nil }

// slow answers after the process was told to stop, and not at once.
type slow struct{ shapes }

func (s *slow) Echo(_ context.Context, req *pb.EchoRequest, rsp *pb.EchoResponse) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	fmt.Fprintln(os.Stderr, "inside")
	<-stop
	time.Sleep(1500 * time.Millisecond) //nolint:forbidigo // longer than the second that Micro would give it
	rsp.Shape = req.Shape
	return nil
}

// process is a child and what it prints.
type process struct {
	*exec.Cmd
	lines chan string
	last  string
}

func start(t *testing.T, mode string, env ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), os.Args[0]), lines: make(chan string, 1000)}
	p.Env = append(os.Environ(), append(env, childMode+"="+mode, "MICRO_PROFILE=test",
		"MICRO_STATE="+filepath.Join(t.TempDir(), "state"))...)
	stderr, err := p.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	return p
}

// line waits for a line with a text and returns what follows it.
func (p *process) line(t *testing.T, text string) string {
	t.Helper()
	for line := range p.lines {
		p.last = line
		if _, after, ok := strings.Cut(line, text); ok {
			return after
		}
	}
	require.Fail(t, "the process ended without saying: "+text, "last line: %s", p.last)
	return ""
}

// end waits for the end and returns the exit code and the last line.
func (p *process) end(t *testing.T) (code int, last string) {
	t.Helper()
	for line := range p.lines {
		p.last = line
	}
	err := p.Wait()
	if exit := (*exec.ExitError)(nil); err != nil {
		require.ErrorAs(t, err, &exit)
	}
	return p.ProcessState.ExitCode(), p.last
}

func TestFailedStart(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, taken.Close()) })
	for mode, want := range map[string]string{
		"refuse": "shaper: shaper.limit: expected a whole number and nothing else",
		"unfit":  "shaper: start: register handler Unfit: no proto service of that name goes with its messages",
		"taken":  "shaper: start: listen tcp " + taken.Addr().String() + ": bind: address already in use",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			var env []string
			if mode == "taken" {
				env = append(env, "MICRO_SERVICE_ADDRESS="+taken.Addr().String())
			}
			code, last := start(t, mode, env...).end(t)
			assert.Equal(t, 1, code)
			assert.Equal(t, want, last)
		})
	}
}

func TestNameFromTheRuntime(t *testing.T) {
	t.Parallel()
	code, last := start(t, "refuse", "MICRO_SERVICE_NAME=other").end(t)
	assert.Equal(t, 1, code)
	assert.Contains(t, last, "other: ")
}

func TestStopAnswersWhatIsInside(t *testing.T) {
	t.Parallel()
	p := start(t, "config")
	address := p.line(t, "shaper serves at ")
	address, _, _ = strings.Cut(address, " ")
	require.True(t, strings.HasPrefix(address, "127.0.0.1:"), "a service must not be reachable from elsewhere: %s", address)
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })

	type result struct {
		rsp pb.EchoResponse
		err error
	}
	answered := make(chan *result, 1)
	go func() {
		var r result
		r.err = conn.Invoke(t.Context(), "/shaper.Shapes/Echo", &pb.EchoRequest{Shape: &pb.Shape{Text: "a"}}, &r.rsp)
		answered <- &r
	}()
	p.line(t, "inside")
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))

	p.line(t, "stopping")
	r := <-answered
	require.NoError(t, r.err)
	assert.Equal(t, "a", r.rsp.Shape.Text)
	p.line(t, "last in, first out")
	p.line(t, "first in, last out")
	code, _ := p.end(t)
	assert.Equal(t, 0, code)
}

func TestFailedStop(t *testing.T) {
	t.Parallel()
	p := start(t, "stop fails")
	p.line(t, "shaper serves at ")
	require.NoError(t, p.Process.Signal(syscall.SIGINT))
	code, last := p.end(t)
	assert.Equal(t, 1, code)
	assert.Equal(t, "shaper: the database could not be closed", last)
}
