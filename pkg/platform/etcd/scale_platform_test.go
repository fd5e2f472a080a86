//go:build platform

package etcd

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/registry"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/m3o/backend/pkg/platform/endpoint"
)

// readerEnv has the test binary be a client of a registry at an address.
const readerEnv = "TEST_ETCD_READER"

const (
	manyNodes    = 10_000
	manyServices = 100
	// longer is a time to live that is longer than registering all of them takes.
	longer = 10 * time.Minute
)

// manyOf is one of 10,000 nodes of 100 services, each of which has 20 endpoints.
func manyOf(i int) *registry.Service {
	s := nodeOf(fmt.Sprintf("service-%d", i%manyServices), i)
	s.Nodes[0].Metadata = map[string]string{
		"broker": "redis", "registry": "etcd", "server": "grpc", "transport": "grpc", "protocol": "grpc", "started": strconv.Itoa(i),
	}
	s.Endpoints = nil
	for e := range 20 {
		v := &registry.Value{Name: "Request", Type: "Request"}
		for f := range 10 {
			v.Values = append(v.Values, &registry.Value{Name: fmt.Sprintf("field%d", f), Type: "string"})
		}
		s.Endpoints = append(s.Endpoints, &registry.Endpoint{
			Name: fmt.Sprintf("Handler%d.Method%d", i%manyServices, e), Request: v, Response: v, Metadata: map[string]string{"stream": "false"},
		})
	}
	return s
}

// resident is how much memory the process has, in bytes.
func resident() int {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		panic(err)
	}
	return pages * os.Getpagesize()
}

// reader prints by how much it grows when it opens a registry.
func reader(address string) error {
	before := resident()
	e, err := endpoint.Parse(address, syntax)
	if err != nil {
		return err
	}
	begin := time.Now()
	r, err := Open(Config{Endpoint: e})
	if err != nil {
		return err
	}
	took := time.Since(begin)
	found, err := r.GetService("service-0")
	if err != nil {
		return err
	}
	fmt.Println(resident()-before, took.Milliseconds(), len(found[0].Nodes))
	return r.Close()
}

// What 10,000 nodes cost a client, and how soon it sees a change.
func TestManyNodes(t *testing.T) { //nolint:paralleltest // it measures
	s, _ := start(t)
	writer, viewer := open(t, s.Address(), ""), open(t, s.Address(), "")
	begin := time.Now()
	var writing errgroup.Group
	for k := range 64 {
		writing.Go(func() error {
			for i := k; i < manyNodes; i += 64 {
				if err := writer.Register(manyOf(i), registry.RegisterTTL(longer)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, writing.Wait())
	t.Logf("%d nodes were registered in %s, one by one by 64 callers", manyNodes, time.Since(begin).Round(time.Millisecond))

	again := manyOf(0)
	begin = time.Now()
	const repeats = 1000
	for range repeats {
		require.NoError(t, writer.Register(again, registry.RegisterTTL(longer)))
	}
	t.Logf("a node that has not changed is registered in %s", time.Since(begin)/repeats)

	var worst time.Duration
	for i := range 50 {
		w, err := viewer.Watch(registry.WatchService("new"))
		require.NoError(t, err)
		begin := time.Now()
		require.NoError(t, writer.Register(nodeOf("new", i)))
		_, err = w.Next()
		require.NoError(t, err)
		worst = max(worst, time.Since(begin))
		w.Stop()
	}
	t.Logf("a change is seen after %s at most, its writing included", worst.Round(time.Microsecond))
	require.Less(t, worst, 200*time.Millisecond)

	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), readerEnv+"="+s.Address())
	out, err := cmd.Output()
	require.NoError(t, err)
	var grown, took, nodes int
	_, err = fmt.Sscan(string(out), &grown, &took, &nodes)
	require.NoError(t, err, "%s", out)
	t.Logf("a client grows by %.1f MiB, and has read all after %d ms", float64(grown)/(1<<20), took)
	require.Equal(t, manyNodes/manyServices, nodes)
	require.Less(t, grown, 100<<20)
}
