//go:build platform

package redis

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events/stream"
)

func TestWrong(t *testing.T) {
	t.Parallel()
	server, _ := own(t, "--requirepass", "right", "--user", "limited", "on", ">limited", "~*", "&*", "+@all", "-@dangerous")
	evicting, _ := own(t, "--maxmemory-policy", "allkeys-lru")
	for name, c := range map[string]struct{ address, password, want string }{
		"no password":    {server.Address(), "", "MICRO_REDIS_PASSWORD: "},
		"wrong password": {server.Address(), "wrong-secret", "MICRO_REDIS_PASSWORD: "},
		"wrong user":     {"redis://nobody@" + server.Host(), "right", "MICRO_REDIS_PASSWORD: "},
		"may not":        {"redis://limited@" + server.Host(), "limited", "MICRO_REDIS_ADDRESS: the user may not do what is needed"},
		"no server":      {"redis://127.0.0.1:1", "", "MICRO_REDIS_ADDRESS: "},
		"no host":        {"redis://nothing.invalid", "", "MICRO_REDIS_ADDRESS: "},
		"TLS":            {"rediss://" + server.Host(), "", "MICRO_REDIS_ADDRESS: "},
		"no cluster":     {"redis+cluster://" + evicting.Host(), "", "MICRO_REDIS_ADDRESS: "},
		"no Sentinel":    {"redis+sentinel://" + evicting.Host() + "/main", "", "MICRO_REDIS_ADDRESS: "},
		"database":       {"redis://" + evicting.Host() + "/x", "", "expected the number of a database"},
		"no database":    {"redis://" + evicting.Host() + "/99", "", "MICRO_REDIS_ADDRESS: "},
		"no master":      {"redis+sentinel://" + evicting.Host(), "", "expected the name of the master"},
		"two servers":    {"redis://one,two", "", "expected one server"},
		"database of it": {"redis+cluster://" + evicting.Host() + "/1", "", "a cluster has no databases"},
		"eviction":       {evicting.Address(), "", "expected maxmemory-policy noeviction, not \"allkeys-lru\""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := configOf(t, c.address)
			config.Endpoint.Password = func() (string, error) { return c.password, nil }
			began := time.Now()
			s, err := OpenStream(config)
			if err == nil {
				require.NoError(t, s.Close())
			}
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "secret")
			require.NotContains(t, err.Error(), "\n")
			require.Less(t, time.Since(began), 7*time.Second)
			t.Log(err)
		})
	}
	for want, config := range map[string]Config{"max_bytes: expected": {MaxBytes: 1}, "retention: expected": {Retention: 1}} {
		_, err := OpenStream(config)
		require.ErrorContains(t, err, want)
	}
}

// The password is read for each connection, so that it can be replaced.
func TestPasswordIsReplaced(t *testing.T) { //nolint:paralleltest // it sets environment variables
	server, _ := own(t, "--requirepass", "one")
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("one\n"), 0o600))
	t.Setenv("MICRO_REDIS_ADDRESS", server.Address())
	t.Setenv("MICRO_REDIS_PASSWORD_FILE", file)
	config, err := ReadConfig()
	require.NoError(t, err)
	s := open(t, config)
	publish(t, s, "topic", 0, 1)

	require.NoError(t, s.client.ConfigSet(t.Context(), "requirepass", "other").Err())
	require.NoError(t, os.WriteFile(file, []byte("other\n"), 0o600))
	require.NoError(t, s.client.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no").Err())
	require.Eventually(t, func() bool {
		_, err := s.PublishBatch(t.Context(), numbered("topic", 1, 1))
		return err == nil
	}, 10*time.Second, 50*time.Millisecond)
}

// A user needs no more than the documentation says.
func TestUser(t *testing.T) {
	t.Parallel()
	server, _ := own(t, "--user", "events", "on", ">right", "~micro:events:*", "&micro:events:*", "+@all", "-@admin")
	config := configOf(t, "redis://events@"+server.Host())
	config.Endpoint.Password = func() (string, error) { return "right", nil }
	s := open(t, config)
	publish(t, s, "topic", 0, 10)
	sub := subscribe(t, s, stream.Options{Topic: "topic", Group: "g"})
	tags := receive(t, sub, 0, 10)
	require.NoError(t, sub.Nack(time.Millisecond, tags[0]))
	receive(t, sub, 0, 1)
	require.NoError(t, s.sweepInTurn(t.Context()))
	require.NoError(t, s.Check(t.Context()))
	found, err := s.Read("topic")
	require.NoError(t, err)
	require.Len(t, found, 10)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	certificate, key := certify(t)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	host := listener.Addr().String()
	require.NoError(t, listener.Close())
	_, port, err := net.SplitHostPort(host)
	require.NoError(t, err)
	server, _ := own(t, "--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate)
	require.NotNil(t, server)
	s := open(t, configOf(t, "rediss://"+host+"?ca="+certificate+"&cert="+certificate+"&key="+key))
	publish(t, s, "topic", 0, 10)
	receive(t, subscribe(t, s, stream.Options{Topic: "topic", Group: "g"}), 0, 10)

	for name, address := range map[string]string{
		"no TLS":         "redis://" + host,
		"no authority":   "rediss://" + host + "?cert=" + certificate + "&key=" + key,
		"no certificate": "rediss://" + host + "?ca=" + certificate,
	} {
		began := time.Now()
		_, err := OpenStream(configOf(t, address))
		require.ErrorContains(t, err, "MICRO_REDIS_ADDRESS: ", name)
		require.Less(t, time.Since(began), 7*time.Second)
		t.Log(err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	_, config := own(t)
	s := open(t, config)
	publish(t, s, "topic", 0, 1)
	p := s.client.Pipeline()
	for i := range stream.MaxGroups {
		p.XGroupCreate(t.Context(), keysOf("topic").stream, strconv.Itoa(i), "0")
	}
	for i := range stream.MaxTopics - 1 {
		p.SAdd(t.Context(), topicsKey, i)
	}
	_, err := p.Exec(t.Context())
	require.NoError(t, err)
	_, err = s.Subscribe(t.Context(), stream.Options{Topic: "topic", Group: "g"})
	require.Equal(t, kinds.KindTooMany, kinds.KindOf(err), "%v", err)
	_, err = s.PublishBatch(t.Context(), numbered("another topic", 0, 1))
	require.Equal(t, kinds.KindTooMany, kinds.KindOf(err), "%v", err)
	receive(t, subscribe(t, s, stream.Options{Topic: "topic", Group: "7"}), 0, 1)
	publish(t, s, "topic", 1, 1)
}

// A server that does not answer keeps nobody waiting for longer than is said, and all goes on when it does.
func TestHangs(t *testing.T) {
	t.Parallel()
	server, config := own(t)
	s := open(t, config)
	ch, err := s.Consume("topic", consumeFrom(t.Context())...)
	require.NoError(t, err)
	publish(t, s, "topic", 0, 1)
	e := <-ch
	require.NoError(t, e.Ack())
	require.NoError(t, server.Signal(syscall.SIGSTOP))
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = s.PublishBatch(ctx, numbered("topic", 1, 1))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(began), 2*time.Second)
	_, passing := errors.AsType[*stream.PassingError](s.Publish("topic", []byte("1")))
	require.True(t, passing)
	require.Error(t, s.Check(t.Context()))
	require.Less(t, time.Since(began), 2*timeout)
	require.NoError(t, server.Signal(syscall.SIGCONT))
	require.Eventually(t, func() bool { return s.Publish("topic", []byte("2")) == nil }, 20*time.Second, 50*time.Millisecond)
	for e := range ch {
		require.NoError(t, e.Ack())
		if string(e.Payload) == "2" {
			break
		}
	}
	require.NoError(t, s.Check(t.Context()))
}

// A server without memory takes nothing, and those who consume go on.
func TestNoMemory(t *testing.T) {
	t.Parallel()
	server, config := own(t)
	s := open(t, config)
	publish(t, s, "topic", 0, 100)
	one := subscribe(t, s, stream.Options{Topic: "topic", Group: "g", MaxInFlight: 50})
	tags := receive(t, one, 0, 50)
	client := command(t, server)
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	_, err := s.PublishBatch(t.Context(), numbered("topic", 100, 1))
	full, ok := errors.AsType[*stream.PassingError](err)
	require.True(t, ok)
	require.Contains(t, full.Detail, "no memory left")
	require.NoError(t, one.Ack(tags[10:]...))
	require.NoError(t, one.Nack(10*time.Millisecond, tags[:10]...))
	require.NoError(t, one.Close())
	other := subscribe(t, s, stream.Options{Topic: "topic", Group: "g", MaxInFlight: 100})
	got := make(map[string]bool)
	for len(got) < 60 {
		batch, err := other.Next(t.Context())
		require.NoError(t, err)
		for _, d := range batch {
			got[string(d.Payload)] = true
		}
	}
	require.NoError(t, s.Sweep(t.Context()))
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "0").Err())
	publish(t, s, "topic", 100, 1)
}

// The epoch is another one when a server was something else in between, also for those who are connected all the time.
func TestEpoch(t *testing.T) {
	t.Parallel()
	server, config := own(t)
	s := open(t, config)
	epoch := func() string {
		id, err := s.PublishBatch(t.Context(), numbered("topic", 0, 1))
		require.NoError(t, err)
		return id
	}
	one := epoch()
	require.Equal(t, one, epoch())
	asked, err := s.PublishBatch(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, one, asked)

	master, _ := own(t)
	client := command(t, server)
	require.NoError(t, client.Do(t.Context(), "REPLICAOF", "127.0.0.1", master.Port()).Err())
	_, err = s.PublishBatch(t.Context(), numbered("topic", 0, 1))
	_, passing := errors.AsType[*stream.PassingError](err)
	require.True(t, passing, "%v", err)
	_, err = s.PublishBatch(t.Context(), nil)
	require.Error(t, err)
	require.NoError(t, client.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err())
	other := epoch()
	require.NotEqual(t, one, other)

	require.NoError(t, server.Kill())
	require.NoError(t, server.Start(t.Context()))
	require.Eventually(t, func() bool {
		id, err := s.PublishBatch(t.Context(), nil)
		return err == nil && id != one && id != other
	}, 10*time.Second, 50*time.Millisecond)
}
