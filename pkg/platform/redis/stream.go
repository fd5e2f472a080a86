package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/events"
	"github.com/micro/micro/v3/service/logger"
	"github.com/redis/go-redis/v9"

	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events/stream"
)

const (
	// timeout is how long whatever is asked of the servers may take.
	timeout = 10 * time.Second
	// sweepEvery is how often is looked for what need not be kept.
	sweepEvery = time.Minute
	// oldest is the first version of Redis that does all that is asked of it.
	oldest = 7
	// checkEvery is how often is looked whether a cluster has other masters.
	checkEvery = 5 * time.Second
)

// Stream is an event stream in Redis. Use OpenStream to make one. Any number of them, in any processes, are one stream.
type Stream struct {
	config Config
	client redis.UniversalClient
	lives  lives
	news   *redis.PubSub

	publisher *stream.Publisher
	consumers *stream.Consumers

	mu     sync.Mutex
	topics map[string]bool                // those that are known to be registered
	groups map[string]map[*group]struct{} // that have members here, by the channel of their topic

	following sync.Mutex // held while a channel is subscribed to or not any more
	followed  map[string]bool

	ctx     context.Context //nolint:containedctx // ends with the stream
	cancel  context.CancelFunc
	running sync.WaitGroup
	closing sync.Once
	closed  error
	failed  chan struct{}
}

var _ stream.Stream = (*Stream)(nil)

// OpenStream connects to the servers and makes sure that events can be kept there.
func OpenStream(config Config) (*Stream, error) {
	complete, err := config.complete()
	if err != nil {
		return nil, fmt.Errorf("event stream: %w", err)
	}
	s := &Stream{
		config: complete, topics: make(map[string]bool), groups: make(map[string]map[*group]struct{}),
		followed: make(map[string]bool), failed: make(chan struct{}),
	}
	if s.client, err = complete.connect(); err != nil {
		return nil, fmt.Errorf("event stream: %w", err)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.publisher = stream.NewPublisher(func(batch []*events.Event) error {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		_, err := s.publish(ctx, batch, false)
		return err
	})
	s.consumers = &stream.Consumers{Subscribe: s.Subscribe, Done: s.ctx.Done()}
	if err := s.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("event stream: %w", complete.wrong(err)), s.Close())
	}
	return s, nil
}

func (s *Stream) start() error {
	ctx, cancel := context.WithTimeout(s.ctx, connectTimeout)
	defer cancel()
	if err := s.each(ctx, suits); err != nil {
		return err
	}
	if _, err := s.ask(ctx); err != nil {
		return err
	}
	s.news = s.client.Subscribe(s.ctx)
	s.running.Go(s.listen)
	s.running.Go(s.look)
	return nil
}

// each does something with each server that events are written to.
func (s *Stream) each(ctx context.Context, do func(ctx context.Context, node *redis.Client) error) error {
	if c, ok := s.client.(*redis.ClusterClient); ok {
		return c.ForEachMaster(ctx, do)
	}
	node, err := s.node(ctx, "")
	if err != nil {
		return err
	}
	return do(ctx, node)
}

// suits makes sure that a server keeps what it is given.
func suits(ctx context.Context, node *redis.Client) error {
	text, err := node.Info(ctx).Result()
	if err != nil {
		return err
	}
	if err := evicts(text); err != nil {
		return err
	}
	version := field(text, "redis_version")
	number, _, _ := strings.Cut(version, ".")
	if major, err := strconv.Atoi(number); err != nil || major < oldest {
		return fmt.Errorf("it is of version %s: expected %d.0 or a newer one", version, oldest)
	}
	if field(text, "aof_enabled") == "0" {
		logger.Warnf("Redis at %s has no append-only file: when it ends, all events since its last snapshot are lost, "+
			"that were acknowledged and that may not be published again. Set appendonly to yes", node.Options().Addr)
	}
	return nil
}

// evicts makes sure that a server throws nothing out.
func evicts(info string) error {
	if policy := field(info, "maxmemory_policy"); policy != "noeviction" {
		return fmt.Errorf("it throws out what it has when it lacks memory: expected maxmemory-policy noeviction, not %q", policy)
	}
	return nil
}

// field reads a field of what a server says of itself.
func field(info, name string) string {
	_, rest, _ := strings.Cut(info, "\n"+name+":")
	value, _, _ := strings.Cut(rest, "\r")
	return value
}

// look looks after the stream until it is closed.
func (s *Stream) look() {
	check, sweep := time.NewTicker(checkEvery), time.NewTicker(sweepEvery)
	defer check.Stop()
	defer sweep.Stop()
	_, cluster := s.client.(*redis.ClusterClient)
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-check.C:
			if cluster {
				_, _ = s.ask(s.ctx) // whoever publishes finds out what is wrong
			}
		case <-sweep.C:
			s.mu.Lock()
			clear(s.topics) // in case that the servers have forgotten them
			s.mu.Unlock()
			if err := s.sweepInTurn(s.ctx); err != nil && s.ctx.Err() == nil {
				logger.Errorf("Event stream: remove what need not be kept: %v", err)
			}
		}
	}
}

// Failed is closed when the stream has given up for good, which it never does: it goes on when the servers do.
func (s *Stream) Failed() <-chan struct{} { return s.failed }

// Err is why the stream has given up: nil.
func (s *Stream) Err() error { return nil }

// Check tells whether the servers take events: it is for a service's readiness.
func (s *Stream) Check(ctx context.Context) error {
	if s.ctx.Err() != nil {
		return stream.ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return s.each(ctx, func(ctx context.Context, node *redis.Client) error {
		text, err := node.Info(ctx, "memory").Result()
		if err != nil {
			return fmt.Errorf("the event stream's Redis at %s: %w", node.Options().Addr, err)
		}
		if err := evicts(text); err != nil {
			return fmt.Errorf("the event stream's Redis at %s: %w", node.Options().Addr, err)
		}
		return nil
	})
}

// Close ends all subscriptions, and returns when what they have not acknowledged is free for others.
func (s *Stream) Close() error {
	s.closing.Do(func() {
		s.cancel()
		s.consumers.Wait()
		for _, g := range s.all() {
			g.fail(stream.ErrClosed)
		}
		if s.news != nil {
			_ = s.news.Close() // nothing more is expected of it
		}
		s.running.Wait()
		s.closed = s.client.Close()
	})
	return s.closed
}

// all are the groups that have members here.
func (s *Stream) all() []*group {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*group
	for _, groups := range s.groups {
		for g := range groups {
			list = append(list, g)
		}
	}
	return list
}

// usable says whether the stream is open and somebody waits for what it does.
func (s *Stream) usable(ctx context.Context) error {
	if s.ctx.Err() != nil {
		return stream.ErrClosed
	}
	return ctx.Err()
}

// register makes sure that a topic is among those that there may be.
func (s *Stream) register(ctx context.Context, topic string) error {
	s.mu.Lock()
	known := s.topics[topic]
	s.mu.Unlock()
	if known {
		return nil
	}
	node, err := s.node(ctx, topicsKey)
	if err != nil {
		return s.failure(ctx, "make a topic", err)
	}
	n, err := registerScript.Run(ctx, node, []string{topicsKey}, topic, stream.MaxTopics).Int()
	if err != nil {
		return s.failure(ctx, "make a topic", err)
	}
	if n == 0 {
		return kinds.TooMany("topic: there are %d already, which is as many as there may be", stream.MaxTopics)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.topics[topic] = true
	return nil
}

// failure is the error of something that was asked of a server.
func (s *Stream) failure(ctx context.Context, what string, err error) error {
	switch {
	case s.ctx.Err() != nil:
		return stream.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if until, ok := ctx.Deadline(); ok && !time.Now().Before(until) { // a connection may know it before the context does
		return context.DeadlineExceeded
	}
	s.moved(err)
	detail := "the event stream cannot do it at the moment: try again"
	if text := err.Error(); strings.HasPrefix(text, "OOM") || strings.Contains(text, "command not allowed when used memory") {
		detail = "the event stream has no memory left: it takes events again when its Redis has some (maxmemory)"
	}
	return &stream.PassingError{Detail: detail, Cause: fmt.Errorf("%s: %w", what, err)}
}

// Publish implements events.Stream.
func (s *Stream) Publish(name string, message any, opts ...events.PublishOption) error {
	event, err := stream.New(name, message, opts...)
	if err != nil {
		return err
	}
	if err := stream.Prepare(event); err != nil {
		return err
	}
	return s.publisher.Publish(event)
}

// Consume implements events.Stream; see stream.Consumers.Consume.
func (s *Stream) Consume(name string, opts ...events.ConsumeOption) (<-chan events.Event, error) {
	return s.consumers.Consume(name, opts...)
}

// Write implements events.Store; it is not supported.
func (s *Stream) Write(*events.Event, ...events.WriteOption) error {
	return errors.New("an event gets into the store by being published: use Publish")
}
