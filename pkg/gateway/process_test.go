package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/service/logger"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/gateway"
	"github.com/m3o/backend/pkg/platform/edge"
	"github.com/m3o/backend/pkg/platform/supervisor"
	usage "github.com/m3o/backend/usage/proto"
)

// The test binary is a gateway as well, so that there is something to kill.
const dirEnv = "GATEWAY_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(dirEnv); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// lines appends to a file, whole lines at once, which survive the process.
type lines struct{ *os.File }

func appendTo(dir, name string) (lines, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	return lines{f}, err
}

func (l lines) add(all ...string) error {
	_, err := l.WriteString(strings.Join(all, "\n") + "\n")
	return err
}

// serving is a service that is sold, which writes down each call that it answers.
type serving struct {
	client.Client
	served lines
}

func (s *serving) Call(ctx context.Context, request client.Request, response any, opts ...client.CallOption) error {
	if err := s.Client.Call(ctx, request, response, opts...); err != nil {
		return err
	}
	return s.served.add("served")
}

// child is a gateway whose usage service keeps the ids of what it is told in a file, and often says that it has not.
func child(dir string) error {
	supervisor.EndWithParent()
	counted, err := appendTo(dir, "counted")
	if err != nil {
		return err
	}
	served, err := appendTo(dir, "served")
	if err != nil {
		return err
	}
	p := newPlatform()
	p.usage.RecordCalls(func(_ context.Context, req *usage.RecordRequest, _ ...client.CallOption) (*usage.RecordResponse, error) {
		var ids []string
		for _, r := range req.Requests {
			ids = append(ids, r.Id)
		}
		chance := rand.IntN(4)
		if chance == 0 {
			return nil, errAway
		}
		if err := counted.add(ids...); err != nil {
			return nil, err
		}
		if chance == 1 {
			return nil, errors.New("the answer is lost")
		}
		return new(usage.RecordResponse), nil
	})
	silent := func(logger.Level, string, ...any) {}
	g, err := gateway.New(gateway.Config{
		Keys: p.keys, Usage: p.usage, Billing: p.billing, Dir: filepath.Join(dir, "journal"), JournalBytes: 64 << 20, Log: silent,
		Login: func(context.Context, string) (string, error) { return "token", nil },
	})
	if err != nil {
		return err
	}
	h, err := edge.New(edge.Config{
		Client: &serving{Client: p.sold, served: served}, Services: p, Gateway: g, Settings: edge.DefaultSettings(), Version: "v1", Log: silent,
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, listener.Addr()); err != nil {
		return err
	}
	return (&http.Server{Handler: h, ReadHeaderTimeout: time.Minute}).Serve(listener)
}

// startChild starts a gateway, and returns where it listens.
func startChild(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), dirEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	address, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return cmd, strings.TrimSpace(address)
}

// callUntilItDies calls as fast as it can, kills the process after so many answers, and tells how many there were.
func callUntilItDies(t *testing.T, cmd *exec.Cmd, address string, after int64) int64 {
	t.Helper()
	var answered atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+path, strings.NewReader(`{}`))
				if err != nil {
					return
				}
				r.Header.Set("X-Api-Key", janesKey)
				rsp, err := http.DefaultClient.Do(r)
				if err != nil {
					return
				}
				if rsp.StatusCode == http.StatusOK && answered.Add(1) == after {
					_ = cmd.Process.Kill()
				}
				_ = rsp.Body.Close()
			}
		})
	}
	wg.Wait()
	require.Error(t, cmd.Wait())
	return answered.Load()
}

func linesOf(t *testing.T, dir, name string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	return strings.Fields(string(b))
}

// However often the gateway is killed: what was answered is counted, and nothing is that the service has not answered.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	answered := int64(0)
	for range 6 {
		cmd, address := startChild(t, dir)
		answered += callUntilItDies(t, cmd, address, 100+rand.Int64N(900))
	}
	cmd, _ := startChild(t, dir)
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	unique := func() int64 {
		ids := make(map[string]bool)
		for _, id := range linesOf(t, dir, "counted") {
			ids[id] = true
		}
		return int64(len(ids))
	}
	require.Eventually(t, func() bool {
		left, err := filepath.Glob(filepath.Join(dir, "journal", "*", "*.segment"))
		return err == nil && len(left) == 1 // its own
	}, 30*time.Second, 20*time.Millisecond, "all of it is handed on")
	served := int64(len(linesOf(t, dir, "served")))
	t.Logf("%d answered, %d counted, %d served", answered, unique(), served)
	require.GreaterOrEqual(t, unique(), answered)
	require.LessOrEqual(t, unique(), served)
	require.Less(t, served-answered, int64(6*2*8+1), "no more than were under way")
}
