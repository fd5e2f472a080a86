//go:build platform

package redis

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/micro/micro/v3/service/broker"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/platform/brokertest"
	"github.com/m3o/backend/pkg/platform/engine"
)

// openBroker opens a broker of a server until the test ends.
func openBroker(t testing.TB, address string) *Broker {
	t.Helper()
	config, err := ParseConfig(address)
	require.NoError(t, err)
	b, err := OpenBroker(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func TestBroker(t *testing.T) {
	t.Parallel()
	address := os.Getenv(engine.RedisEnv)
	require.NotEmpty(t, address, "%s is not set: run the tests with bin/withengines", engine.RedisEnv)
	brokertest.Run(t, func() broker.Broker { return openBroker(t, address) })
}

// Subscribers go on by themselves when Redis is back, and Publish fails while it is away.
func TestBrokerRestart(t *testing.T) {
	t.Parallel()
	s, err := engine.Redis(t.Context(), engine.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	a, b := openBroker(t, s.Address()), openBroker(t, s.Address())
	received := make(chan string, 1000)
	for _, one := range []*Broker{a, b} {
		_, err := one.Subscribe("topic", func(m *broker.Message) error { received <- string(m.Body); return nil }, broker.Queue("q"))
		require.NoError(t, err)
	}
	for i := range 2 {
		require.NoError(t, s.Kill())
		begin := time.Now()
		require.Error(t, a.Publish("topic", &broker.Message{Body: []byte("lost")}))
		require.Less(t, time.Since(begin), brokerTimeout)
		_, err = a.Subscribe("another", func(*broker.Message) error { return nil })
		require.Error(t, err)
		require.NoError(t, s.Start(t.Context()))
		body := fmt.Sprint(i)
		require.Eventually(t, func() bool {
			if err := a.Publish("topic", &broker.Message{Body: []byte(body)}); err != nil {
				return false
			}
			select {
			case got := <-received:
				return got == body
			case <-time.After(100 * time.Millisecond):
				return false
			}
		}, 10*time.Second, 10*time.Millisecond)
	}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		n, err := a.client.PubSubNumSub(context.Background(), brokerPrefix+"topic").Result()
		require.NoError(c, err)
		require.EqualValues(c, 2, n[brokerPrefix+"topic"])
	}, 10*time.Second, 50*time.Millisecond)
}
