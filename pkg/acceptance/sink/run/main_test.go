package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/acceptance/sink"
)

// The test binary is the sink as well.
func TestMain(m *testing.M) {
	if len(os.Args) == 5 && os.Args[1] == "-address" {
		main()
		return
	}
	os.Exit(m.Run())
}

// What was answered is there after a kill -9, once, however often it was sent.
func TestKilled(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	address, dir := l.Addr().String(), t.TempDir()
	send := func(n int) bool {
		body := fmt.Sprintf(`[{"event": "a", "properties": {"$insert_id": "%d", "distinct_id": "c", "time": 1700000000}}]`, n)
		r, err := http.NewRequest(http.MethodPost, "http://"+address+"/import", strings.NewReader(body))
		require.NoError(t, err)
		r.SetBasicAuth("any", "")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		_, err = io.Copy(io.Discard, answer.Body)
		require.NoError(t, answer.Body.Close())
		return err == nil && answer.StatusCode == http.StatusOK
	}
	sent := 0
	for range 5 {
		cmd := exec.Command(os.Args[0], "-address", address, "-dir", dir)
		require.NoError(t, cmd.Start())
		killed := make(chan struct{})
		require.Eventually(t, func() bool { return send(sent) }, 10*time.Second, 5*time.Millisecond)
		go func() {
			defer close(killed)
			<-time.After(100 * time.Millisecond)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}()
		for ended := false; !ended; {
			if send(sent + 1) {
				sent++
			}
			select {
			case <-killed:
				ended = true
			default:
			}
		}
	}
	s, err := sink.Open(sink.Config{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	events, err := s.Events(sink.Query{Limit: 1_000_000})
	require.NoError(t, err)
	times := make(map[any]int)
	for _, line := range events {
		var e sink.Event
		require.NoError(t, json.Unmarshal(line, &e))
		times[e.Properties["$insert_id"]]++
	}
	for n := range sent + 1 {
		require.Equal(t, 1, times[fmt.Sprint(n)], "event %d", n)
	}
	t.Logf("%d events answered, 5 kills", sent+1)
}

func TestItListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"0.0.0.0:1", ":1", "example.com:1", "10.0.0.1:1", "127.0.0.1"} {
		require.ErrorContains(t, run(address, t.TempDir()), "expected a loopback address", address)
	}
}
