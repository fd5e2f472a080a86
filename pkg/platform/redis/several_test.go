//go:build platform

package redis

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/events"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/events/stream"
	"github.com/m3o/backend/pkg/events/stream/streamtest"
)

// spread is one stream in several processes: what is published goes to the first, and members are spread over the others.
type spread struct {
	*Stream
	others []*Stream
	next   atomic.Int64
}

func (s *spread) other() *Stream { return s.others[int(s.next.Add(1))%len(s.others)] }

// Subscribe implements stream.Stream.
func (s *spread) Subscribe(ctx context.Context, options stream.Options) (stream.Subscription, error) {
	return s.other().Subscribe(ctx, options)
}

// Consume implements events.Stream.
func (s *spread) Consume(topic string, opts ...events.ConsumeOption) (<-chan events.Event, error) {
	return s.other().Consume(topic, opts...)
}

// Read implements events.Store.
func (s *spread) Read(topic string, opts ...events.ReadOption) ([]*events.Event, error) {
	return s.other().Read(topic, opts...)
}

func TestConformanceOfSeveral(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, &spread{Stream: open(t, shared(t)), others: []*Stream{open(t, shared(t)), open(t, shared(t))}})
}

// openCluster is a stream in a cluster of three servers.
func openCluster(t *testing.T) *Stream {
	t.Helper()
	const servers, slots = 3, 16384
	var nodes []*redis.Client
	first := ""
	for i := range servers {
		server, _ := own(t, "--cluster-enabled", "yes")
		node := command(t, server)
		nodes = append(nodes, node)
		require.NoError(t, node.Do(t.Context(), "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err())
		require.NoError(t, node.ClusterAddSlotsRange(t.Context(), i*slots/servers, (i+1)*slots/servers-1).Err())
		if first == "" {
			first = server.Host()
			continue
		}
		require.NoError(t, nodes[0].ClusterMeet(t.Context(), "127.0.0.1", strconv.Itoa(server.Port())).Err())
	}
	for _, node := range nodes {
		require.Eventually(t, func() bool {
			info, err := node.ClusterInfo(t.Context()).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_size:3")
		}, 20*time.Second, 20*time.Millisecond)
	}
	return open(t, configOf(t, "redis+cluster://"+first))
}

func TestConformanceOfCluster(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, openCluster(t))
}

// All processes say the same epoch, whatever they publish to.
func TestEpochOfCluster(t *testing.T) {
	t.Parallel()
	one := openCluster(t)
	other := open(t, one.config)
	epochs := make(map[string]bool)
	for range 20 {
		for _, s := range []*Stream{one, other} {
			for _, batch := range [][]*events.Event{numbered(newMember(), 0, 1), append(numbered(newMember(), 0, 1), numbered(newMember(), 0, 1)...), nil} {
				epoch, err := s.PublishBatch(t.Context(), batch)
				require.NoError(t, err)
				epochs[epoch] = true
			}
		}
	}
	require.Len(t, epochs, 1)
}

// When the master is killed, all goes on with its replica, and the epoch says that something may be gone.
func TestSentinel(t *testing.T) {
	t.Parallel()
	server, _ := own(t)
	replica, _ := own(t, "--replicaof", "127.0.0.1", strconv.Itoa(server.Port()))
	host := sentinelOf(t, server)
	require.Eventually(t, func() bool {
		info, err := command(t, replica).Info(t.Context(), "replication").Result()
		return err == nil && field(info, "master_link_status") == "up"
	}, 20*time.Second, 50*time.Millisecond)
	s := open(t, configOf(t, "redis+sentinel://"+host+"/main"))
	publish(t, s, "topic", 0, 10)
	sub := subscribe(t, s, stream.Options{Topic: "topic", Group: "g"})
	require.NoError(t, sub.Ack(receive(t, sub, 0, 10)...))
	require.NoError(t, s.Check(t.Context()))

	_, err := OpenStream(configOf(t, "redis+sentinel://"+host+"/another"))
	require.ErrorContains(t, err, "MICRO_REDIS_ADDRESS")

	ch, err := s.Consume("topic", consumeFrom(t.Context())...)
	require.NoError(t, err)
	before, err := s.PublishBatch(t.Context(), nil)
	require.NoError(t, err)
	// So that the replica has what was acknowledged, and the Sentinel knows the replica.
	require.NoError(t, s.client.Do(t.Context(), "WAIT", 1, 10000).Err())
	watch := sentinelClient(t, host)
	require.Eventually(t, func() bool {
		all, err := watch.Replicas(t.Context(), "main").Result()
		return err == nil && len(all) == 1 && all[0]["flags"] == "slave" && all[0]["master-link-status"] == "ok"
	}, 30*time.Second, 100*time.Millisecond)
	require.NoError(t, server.Kill())
	after := ""
	require.Eventually(t, func() bool {
		after, err = s.PublishBatch(t.Context(), numbered("topic", 10, 1))
		return err == nil
	}, 30*time.Second, 100*time.Millisecond)
	require.NotEqual(t, before, after)
	for e := range ch {
		require.NoError(t, e.Ack())
		if string(e.Payload) == "10" {
			break
		}
	}
}

// Two members in different processes share what there is, and each gets what the other one leaves behind.
func TestShared(t *testing.T) {
	t.Parallel()
	one, other := open(t, shared(t)), open(t, shared(t))
	topic := t.Name() + newMember()
	options := stream.Options{Topic: topic, Group: "g", AckWait: time.Hour, MaxInFlight: 10}
	a, b := subscribe(t, one, options), subscribe(t, other, options)
	publish(t, one, topic, 0, 20)
	seen := make(map[string]int)
	for _, sub := range []stream.Subscription{a, b} {
		for range 10 {
			if len(seen) < 10 || sub == b && len(seen) < 20 {
				batch, err := sub.Next(t.Context())
				require.NoError(t, err)
				for _, d := range batch {
					seen[string(d.Payload)]++
				}
			}
		}
	}
	require.Len(t, seen, 20)
	require.NoError(t, a.Close())
	began := time.Now()
	_, err := b.Next(withinSecond(t)) // it has all that it can take
	require.ErrorIs(t, err, context.DeadlineExceeded)
	c := subscribe(t, other, options)
	for n := 0; n < 10; {
		batch, err := c.Next(t.Context())
		require.NoError(t, err)
		for _, d := range batch {
			require.Equal(t, 2, d.Attempt)
			seen[string(d.Payload)]++
		}
		n += len(batch)
	}
	require.Less(t, time.Since(began), 3*time.Second)
	require.Len(t, seen, 20)
}

func withinSecond(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	t.Cleanup(cancel)
	return ctx
}

// A delay outlives the process that was told of it.
func TestNackOutlives(t *testing.T) {
	t.Parallel()
	one, err := OpenStream(shared(t))
	require.NoError(t, err)
	topic := t.Name() + newMember()
	options := stream.Options{Topic: topic, Group: "g", AckWait: time.Hour}
	sub, err := one.Subscribe(t.Context(), options)
	require.NoError(t, err)
	publish(t, one, topic, 0, 2)
	tags := receive(t, sub, 0, 2)
	began := time.Now()
	require.NoError(t, sub.Nack(time.Second, tags[0]))
	require.NoError(t, one.Close())
	sub = subscribe(t, open(t, shared(t)), options)
	receive(t, sub, 1, 1)
	receive(t, sub, 0, 1)
	require.Greater(t, time.Since(began), 900*time.Millisecond)
	require.Less(t, time.Since(began), 3*time.Second)
}

func TestCompare(t *testing.T) {
	t.Parallel()
	ids := []string{"0-1", "9-9", "9-10", "10-0", "10-1", "1795529757357-0", "1795529757357-18446744073709551615", "1795529757358-0"}
	for i, a := range ids {
		for j, b := range ids {
			got := compare(a, b)
			require.Equal(t, i < j, got < 0, "%s %s %s", a, b, strconv.Itoa(got))
			require.Equal(t, i == j, got == 0, "%s %s", a, b)
		}
	}
}
