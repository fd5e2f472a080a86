package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/events"
	client "github.com/redis/go-redis/v9"

	"github.com/m3o/backend/pkg/bench"
	"github.com/m3o/backend/pkg/events/stream"
	"github.com/m3o/backend/pkg/platform/engine"
	"github.com/m3o/backend/pkg/platform/redis"
)

const (
	// batch is how many events are published at once, and read at most.
	batch = 1000
	// publishers publish at once.
	publishers = 4
	// consumed is how many events a consumer has before it.
	consumed = 200_000
)

// payload is that of each event.
var payload = make([]byte, 200)

// measureStream compares the event stream with bare commands in pipelines, of the same payload: one entry an event, read by a
// group and acknowledged.
func measureStream(ctx context.Context, report *bench.Report, _ string) (err error) {
	config, err := redis.ReadConfig()
	if err != nil {
		return err
	}
	ours, err := redis.OpenStream(config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ours.Close()) }()
	options, err := client.ParseURL(os.Getenv(engine.RedisEnv))
	if err != nil {
		return err
	}
	bare := client.NewClient(options)
	defer func() { err = errors.Join(err, bare.Close()) }()

	published, err := bench.Interleave(ctx, rounds, publishing(ours.PublishBatch), publishing(barePublish(bare)))
	if err != nil {
		return err
	}
	report.Figure("stream-publish", published[0], "events/s")
	report.Figure("redis-xadd", published[1], "events/s")
	report.AtLeast("stream-publish-against-bare", published[0]/published[1], "x", 0.5)

	received, err := bench.Interleave(ctx, rounds, consuming(ours.PublishBatch, oursConsume(ours)), consuming(barePublish(bare), bareConsume(bare)))
	if err != nil {
		return err
	}
	report.Figure("stream-consume", received[0], "events/s")
	report.Figure("redis-xreadgroup", received[1], "events/s")
	report.AtLeast("stream-consume-against-bare", received[0]/received[1], "x", 0.5)
	return nil
}

type publish func(ctx context.Context, events []*events.Event) (string, error)

// filled is a batch of new events.
func filled(topic string) []*events.Event {
	all := make([]*events.Event, batch)
	for i := range all {
		all[i] = &events.Event{Topic: topic, Payload: payload}
	}
	return all
}

// publishing publishes batches from several sides at once, each to a topic of its own.
func publishing(publish publish) bench.Side {
	return func(ctx context.Context) (float64, error) {
		var count atomic.Int64
		failed := make(chan error, publishers)
		var wg sync.WaitGroup
		began := time.Now()
		for range publishers {
			topic := "bench-" + uuid.NewString()
			wg.Go(func() {
				for time.Since(began) < turn {
					if _, err := publish(ctx, filled(topic)); err != nil {
						failed <- err
						return
					}
					count.Add(batch)
				}
			})
		}
		wg.Wait()
		took := time.Since(began)
		close(failed)
		return float64(count.Load()) / took.Seconds(), <-failed
	}
}

// consuming has a member of a new group receive and acknowledge what was published before.
func consuming(publish publish, consume func(ctx context.Context, topic string) error) bench.Side {
	return func(ctx context.Context) (float64, error) {
		topic := "bench-" + uuid.NewString()
		for range consumed / batch {
			if _, err := publish(ctx, filled(topic)); err != nil {
				return 0, err
			}
		}
		began := time.Now()
		if err := consume(ctx, topic); err != nil {
			return 0, err
		}
		return consumed / time.Since(began).Seconds(), nil
	}
}

func barePublish(c *client.Client) publish {
	return func(ctx context.Context, all []*events.Event) (string, error) {
		_, err := c.Pipelined(ctx, func(p client.Pipeliner) error {
			for _, e := range all {
				p.XAdd(ctx, &client.XAddArgs{Stream: e.Topic, Values: []any{"p", e.Payload}})
			}
			return nil
		})
		return "", err
	}
}

func oursConsume(s stream.Stream) func(context.Context, string) error {
	return func(ctx context.Context, topic string) (err error) {
		sub, err := s.Subscribe(ctx, stream.Options{Topic: topic, Group: "g", MaxInFlight: stream.MaxInFlight})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, sub.Close()) }()
		for got := 0; got < consumed; {
			deliveries, err := sub.Next(ctx)
			if err != nil {
				return err
			}
			tags := make([]uint64, len(deliveries))
			for i, d := range deliveries {
				tags[i] = d.Tag
			}
			if err := sub.Ack(tags...); err != nil {
				return err
			}
			got += len(deliveries)
		}
		return nil
	}
}

func bareConsume(c *client.Client) func(context.Context, string) error {
	return func(ctx context.Context, topic string) error {
		if err := c.XGroupCreate(ctx, topic, "g", "0").Err(); err != nil {
			return err
		}
		var ids []string
		for got := 0; got < consumed; {
			read := &client.XStreamSliceCmd{}
			_, err := c.Pipelined(ctx, func(p client.Pipeliner) error {
				if len(ids) > 0 {
					p.XAck(ctx, topic, "g", ids...)
				}
				read = p.XReadGroup(ctx, &client.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{topic, ">"}, Count: batch, Block: -1})
				return nil
			})
			if err != nil {
				return err
			}
			ids = ids[:0]
			for _, m := range read.Val()[0].Messages {
				if len(m.Values["p"].(string)) != len(payload) {
					return fmt.Errorf("entry %s has another payload", m.ID)
				}
				ids = append(ids, m.ID)
			}
			got += len(ids)
		}
		return c.XAck(ctx, topic, "g", ids...).Err()
	}
}
