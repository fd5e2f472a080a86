package server

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/micro/micro/v3/util/user"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/launch"
	"github.com/m3o/backend/pkg/platform/state"
)

// The test binary is what stands in as well.
const roleEnv = "SERVER_TEST_ROLE"

func TestMain(m *testing.M) {
	// Its environment is made for it: it is known by its arguments.
	if len(os.Args) > 2 && os.Args[1] == "-http-addr" {
		_ = http.ListenAndServe(os.Args[2], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strconv.Itoa(os.Getpid())+" "+os.Getenv("GOGC")+os.Getenv(roleEnv))
		}))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// They change what is global in Micro, and the environment: not in parallel.

func TestStandIns(t *testing.T) {
	addresses := use(t)
	t.Setenv(roleEnv, "a secret of the server")
	t.Setenv("MICRO_STANDIN_STRIPE", "")
	self, err := os.Executable()
	require.NoError(t, err)
	list, err := parseStandIns([]string{"stripe=" + self})
	require.NoError(t, err)
	o, err := startStandIns(addresses, list)
	require.NoError(t, err)
	defer o.stop()
	require.NoError(t, o.wait(t.Context()))
	url := "http://" + addresses.StandIn("stripe")
	require.Equal(t, url, os.Getenv("MICRO_STANDIN_STRIPE"))

	first := get(t, url)
	require.Equal(t, strconv.Itoa(o.processes[0].Status().PID)+" 20", first, "it has what it needs and no more")
	require.NoError(t, syscall.Kill(o.processes[0].Status().PID, syscall.SIGKILL))
	require.Eventually(t, func() bool { return o.processes[0].Status().Restarts == 1 && o.wait(t.Context()) == nil },
		10*time.Second, 10*time.Millisecond)
	require.NotEqual(t, first, get(t, url), "it is started again")

	var out bytes.Buffer
	require.NoError(t, welcome(&out, addresses, o, nil))
	require.Contains(t, out.String(), "  Stripe    "+url+" (a stand-in)\n")
	o.stop()
	require.NoError(t, free(addresses.StandIn("stripe")))
}

func TestAStandInThatDoesNotStart(t *testing.T) {
	addresses := use(t)
	program := filepath.Join(t.TempDir(), "broken")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\necho 'it is broken' >&2\nexit 1\n"), 0o700))
	o, err := startStandIns(addresses, []standIn{{name: "stripe", program: program, args: known[0].args}})
	require.NoError(t, err)
	defer o.stop()
	require.ErrorContains(t, o.wait(t.Context()), "stand-in stripe: it does not start: it is broken (its log is "+state.Logs())
}

func TestAPortThatIsTaken(t *testing.T) {
	addresses := use(t)
	l, err := net.Listen("tcp", addresses.StandIn("stripe"))
	require.NoError(t, err)
	defer l.Close() //nolint:errcheck // the test ends
	_, err = startStandIns(addresses, known[:1])
	require.EqualError(t, err, "stand-in stripe: "+addresses.StandIn("stripe")+" is taken: choose another block of ports")
}

func TestParseStandIns(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	require.NoError(t, os.WriteFile(program, nil, 0o700))
	list, err := parseStandIns([]string{"mixpanel=" + program, "stripe=" + program})
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, []string{"-address", "a", "-dir", "d"}, list[0].args("a", "d"))
	for _, wrong := range []struct {
		flags []string
		want  string
	}{
		{[]string{"stripe"}, "--stand-in: expected stripe=program or mixpanel=program"},
		{[]string{"paypal=" + program}, "--stand-in: expected stripe=program or mixpanel=program"},
		{[]string{"stripe=" + program, "stripe=" + program}, "--stand-in: stripe is given twice"},
		{[]string{"stripe=./nothing"}, "--stand-in: ./nothing: no such program (make stand-ins builds it)"},
	} {
		_, err := parseStandIns(wrong.flags)
		require.EqualError(t, err, wrong.want)
	}
}

// use makes a state directory, and a block of ports of which that of stripe is free.
func use(t *testing.T) state.Addresses {
	t.Helper()
	before := user.Dir
	t.Setenv(state.Env, "")
	require.NoError(t, state.Use(filepath.Join(t.TempDir(), "state")))
	t.Cleanup(func() { user.Dir = before })
	l, err := net.Listen("tcp", state.Host+":0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return state.Addresses{Port: l.Addr().(*net.TCPAddr).Port - 9}
}

func get(t *testing.T, url string) string {
	t.Helper()
	var body []byte
	require.NoError(t, launch.Poll(t.Context(), func() (bool, error) {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
		require.NoError(t, err)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, nil
		}
		defer answer.Body.Close()
		body, err = io.ReadAll(answer.Body)
		return err == nil, nil
	}))
	return string(body)
}
