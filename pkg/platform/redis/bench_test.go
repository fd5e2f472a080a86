//go:build platform

package redis

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/events"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/m3o/backend/pkg/events/stream"
)

// payload is that of the events that are measured.
var payload = bytes.Repeat([]byte("x"), 300)

func topicOf(b *testing.B) string { return b.Name() + uuid.NewString() }

// perSecond reports what was measured of n events.
func perSecond(b *testing.B, n int) { b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s") }

func plain(b *testing.B) redis.UniversalClient {
	client, err := shared(b).connect()
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, client.Close()) })
	return client
}

func addPlain(b *testing.B, client redis.UniversalClient, key string) {
	p := client.Pipeline()
	for range stream.MaxBatch {
		p.XAdd(b.Context(), &redis.XAddArgs{Stream: key, Values: []any{"e", payload}})
	}
	_, err := p.Exec(b.Context())
	require.NoError(b, err)
}

// BenchmarkPublishPlain is Redis by itself: XADD in pipelines of 1,000.
func BenchmarkPublishPlain(b *testing.B) {
	client, key := plain(b), topicOf(b)
	n := 0
	for b.Loop() {
		addPlain(b, client, key)
		n += stream.MaxBatch
	}
	perSecond(b, n)
	client.Del(b.Context(), key)
}

func batchOf(topic string) []*events.Event {
	batch := make([]*events.Event, stream.MaxBatch)
	for i := range batch {
		batch[i] = &events.Event{Topic: topic, Payload: payload}
	}
	return batch
}

func BenchmarkPublishBatch(b *testing.B) {
	s, topic := open(b, shared(b)), topicOf(b)
	n := 0
	for b.Loop() {
		_, err := s.PublishBatch(b.Context(), batchOf(topic))
		require.NoError(b, err)
		n += stream.MaxBatch
	}
	perSecond(b, n)
	s.client.Del(b.Context(), keysOf(topic).stream)
}

func BenchmarkPublish64(b *testing.B) {
	s, topic := open(b, shared(b)), topicOf(b)
	var n atomic.Int64
	for b.Loop() {
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				for range 100 {
					if err := s.Publish(topic, payload); err != nil {
						b.Error(err)
					}
					n.Add(1)
				}
			})
		}
		wg.Wait()
	}
	perSecond(b, int(n.Load()))
	s.client.Del(b.Context(), keysOf(topic).stream)
}

func BenchmarkPublish1(b *testing.B) {
	s, topic := open(b, shared(b)), topicOf(b)
	n := 0
	for b.Loop() {
		require.NoError(b, s.Publish(topic, payload))
		n++
	}
	perSecond(b, n)
}

const consumed = 50_000

// BenchmarkConsumePlain is Redis by itself: XREADGROUP of 1,000 and XACK of them, one after the other.
func BenchmarkConsumePlain(b *testing.B) {
	client, key := plain(b), topicOf(b)
	for range consumed / stream.MaxBatch {
		addPlain(b, client, key)
	}
	n := 0
	for b.Loop() {
		group := uuid.NewString()
		require.NoError(b, client.XGroupCreate(b.Context(), key, group, "0").Err())
		for got := 0; got < consumed; {
			all, err := client.XReadGroup(b.Context(), &redis.XReadGroupArgs{Group: group, Consumer: "c", Streams: []string{key, ">"}, Count: 1000, Block: -1}).Result()
			require.NoError(b, err)
			ids := make([]string, len(all[0].Messages))
			for i, m := range all[0].Messages {
				ids[i] = m.ID
			}
			require.NoError(b, client.XAck(b.Context(), key, group, ids...).Err())
			got += len(ids)
		}
		n += consumed
	}
	perSecond(b, n)
	client.Del(b.Context(), key)
}

func BenchmarkConsume(b *testing.B) {
	s, topic := open(b, shared(b)), topicOf(b)
	for range consumed / stream.MaxBatch {
		_, err := s.PublishBatch(b.Context(), batchOf(topic))
		require.NoError(b, err)
	}
	n := 0
	for b.Loop() {
		sub, err := s.Subscribe(context.Background(), stream.Options{Topic: topic, Group: uuid.NewString(), MaxInFlight: 4000})
		require.NoError(b, err)
		for got := 0; got < consumed; {
			batch, err := sub.Next(b.Context())
			require.NoError(b, err)
			require.NoError(b, sub.Ack(tagsOf(batch)...))
			got += len(batch)
		}
		require.NoError(b, sub.Close())
		n += consumed
	}
	perSecond(b, n)
	s.client.Del(b.Context(), keysOf(topic).stream)
}
