package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	pb "github.com/micro/micro/v3/proto/broker"
	"github.com/micro/micro/v3/service/broker"
	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
)

const (
	// brokerPrefix begins the names of the broker's channels and keys.
	brokerPrefix = "micro:broker:"
	// brokerTimeout is how long Redis has for an answer.
	brokerTimeout = 5 * time.Second
)

var errNotConnected = errors.New("the broker is not connected")

// Broker is Micro's broker on the channels of Redis: at most once, to those who are subscribed at the time. It is safe for
// concurrent use.
//
// Each subscriber gets messages one after the other, in the order in which Redis got them. It holds up nobody else: one that
// is 10,000 messages or 64 MiB behind loses what comes next, which the log says. While Redis is away Publish fails; subscribers go on by
// themselves when it is back, and have missed what was published in between.
//
// Of the subscribers with one queue, whatever process they are in, the first one that is free takes a message: it claims it by
// a key of Redis, which exists for a minute. Who gets to a message half a minute late leaves it alone, so none is taken twice.
// When a Redis fails over that has not told its replica of a claim, a message may be.
type Broker struct {
	client redis.UniversalClient

	mu        sync.Mutex
	options   broker.Options
	connected bool
	pubsub    *redis.PubSub // nil while there is nobody subscribed
	topics    map[string]*brokerTopic
	wg        sync.WaitGroup
}

// brokerTopic is a topic that somebody is subscribed to.
type brokerTopic struct {
	subscribers []*brokerSubscriber
	// listened is closed when Redis has said that it is going to tell of messages.
	listened chan struct{}
}

var _ broker.Broker = (*Broker)(nil)

// OpenBroker connects to the servers, and returns a broker that can be used, and has to be closed.
func OpenBroker(config Config) (*Broker, error) {
	client, err := config.connect()
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	b := newBroker(client)
	if err := b.Connect(); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func newBroker(client redis.UniversalClient) *Broker {
	return &Broker{client: client, options: broker.Options{Context: context.Background()}, topics: make(map[string]*brokerTopic)}
}

// Init keeps options, for Options to return. Where the broker is is said by its client alone.
func (b *Broker) Init(opts ...broker.Option) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range opts {
		o(&b.options)
	}
	return nil
}

// Options returns what Init was given.
func (b *Broker) Options() broker.Options {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.options
}

// Address is empty: nobody can connect to this process.
func (b *Broker) Address() string { return "" }

// String is the name of the broker.
func (b *Broker) String() string { return "redis" }

// Connect makes the broker usable, if it is not. Subscribers of before go on.
func (b *Broker) Connect() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.connected {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), brokerTimeout)
	defer cancel()
	if err := b.client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("the broker: Redis does not answer: %w", err)
	}
	b.connected = true
	for topic := range b.topics {
		if err := b.listen(ctx, topic); err != nil {
			return errors.Join(fmt.Errorf("the broker: %w", err), b.silence())
		}
	}
	return nil
}

// Disconnect has subscribers get nothing until Connect, and Publish and Subscribe fail.
func (b *Broker) Disconnect() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.silence()
}

// silence ends the connection on which Redis tells of messages.
func (b *Broker) silence() error {
	b.connected = false
	if b.pubsub == nil {
		return nil
	}
	err := b.pubsub.Close()
	b.pubsub = nil
	return err
}

// Check asks Redis for a sign of life, for health checks.
func (b *Broker) Check(ctx context.Context) error { return b.client.Ping(ctx).Err() }

// Close ends all subscriptions, waits for the handlers that are running, and leaves Redis.
func (b *Broker) Close() error {
	b.mu.Lock()
	err := b.silence()
	for topic, t := range b.topics {
		for _, s := range t.subscribers {
			s.end()
		}
		delete(b.topics, topic)
	}
	b.mu.Unlock()
	b.wg.Wait()
	return errors.Join(err, b.client.Close())
}

// Publish tells the subscribers that there are.
func (b *Broker) Publish(topic string, m *broker.Message, opts ...broker.PublishOption) error {
	options := broker.PublishOptions{Context: context.Background()}
	for _, o := range opts {
		o(&options)
	}
	b.mu.Lock()
	connected := b.connected
	b.mu.Unlock()
	switch {
	case !connected:
		return errNotConnected
	case topic == "":
		return errors.New("topic: expected one")
	case m == nil:
		return errors.New("message: expected one")
	}
	text, err := proto.Marshal(protoadapt.MessageV2Of(&pb.Message{Header: m.Header, Body: m.Body}))
	if err != nil {
		return fmt.Errorf("message: %w", err)
	}
	id := uuid.New()
	ctx, cancel := context.WithTimeout(options.Context, brokerTimeout)
	defer cancel()
	if err := b.client.Publish(ctx, brokerPrefix+topic, append(id[:], text...)).Err(); err != nil {
		return fmt.Errorf("the broker: Redis does not take a message: %w", err)
	}
	return nil
}

// Subscribe has a handler called for each message of a topic that is published from now on; with broker.Queue, for each that
// no other subscriber with this queue takes. An error of the handler is told to the error handler, if there is one.
func (b *Broker) Subscribe(topic string, h broker.Handler, opts ...broker.SubscribeOption) (broker.Subscriber, error) {
	if topic == "" {
		return nil, errors.New("topic: expected one")
	}
	s := newBrokerSubscriber(b, topic, h, broker.NewSubscribeOptions(opts...))
	ctx, cancel := context.WithTimeout(context.Background(), brokerTimeout)
	defer cancel()
	t, err := b.add(ctx, s)
	if err != nil {
		return nil, err
	}
	select {
	case <-t.listened:
		return s, nil
	case <-ctx.Done():
		return nil, errors.Join(errors.New("the broker: Redis does not answer"), s.Unsubscribe())
	}
}

func (b *Broker) add(ctx context.Context, s *brokerSubscriber) (*brokerTopic, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.connected {
		return nil, errNotConnected
	}
	t := b.topics[s.topic]
	if t == nil {
		t = &brokerTopic{listened: make(chan struct{})}
		b.topics[s.topic] = t
		if err := b.listen(ctx, s.topic); err != nil {
			delete(b.topics, s.topic)
			return nil, fmt.Errorf("the broker: Redis does not answer: %w", err)
		}
	}
	t.subscribers = append(t.subscribers, s)
	b.wg.Go(s.run)
	return t, nil
}

// listen has Redis tell of the messages of a topic. All topics share one connection, which mends itself.
func (b *Broker) listen(ctx context.Context, topic string) error {
	if b.pubsub != nil {
		return b.pubsub.Subscribe(ctx, brokerPrefix+topic)
	}
	pubsub := b.client.Subscribe(ctx)
	if err := pubsub.Subscribe(ctx, brokerPrefix+topic); err != nil {
		return errors.Join(err, pubsub.Close())
	}
	b.pubsub = pubsub
	// What is not heard of for 3 s is asked for a sign of life, and connected to again if it gives none.
	told := pubsub.ChannelWithSubscriptions(redis.WithChannelSize(1000))
	b.wg.Go(func() {
		for what := range told {
			b.take(what)
		}
	})
	return nil
}

// take takes in what Redis tells.
func (b *Broker) take(what any) {
	switch what := what.(type) {
	case *redis.Subscription:
		b.mu.Lock()
		defer b.mu.Unlock()
		t := b.topics[strings.TrimPrefix(what.Channel, brokerPrefix)]
		if t == nil || what.Kind != "subscribe" {
			return
		}
		select {
		case <-t.listened: // after a break
		default:
			close(t.listened)
		}
	case *redis.Message:
		b.mu.Lock()
		var all []*brokerSubscriber
		if t := b.topics[strings.TrimPrefix(what.Channel, brokerPrefix)]; t != nil {
			all = slices.Clone(t.subscribers)
		}
		b.mu.Unlock()
		for _, s := range all {
			s.add(what.Payload)
		}
	}
}

// remove takes a subscriber out.
func (b *Broker) remove(s *brokerSubscriber) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.end()
	t := b.topics[s.topic]
	if t == nil || !slices.Contains(t.subscribers, s) {
		return nil
	}
	t.subscribers = slices.DeleteFunc(slices.Clone(t.subscribers), func(other *brokerSubscriber) bool { return other == s })
	if len(t.subscribers) > 0 {
		return nil
	}
	delete(b.topics, s.topic)
	if b.pubsub == nil {
		return nil
	}
	if len(b.topics) == 0 {
		err := b.pubsub.Close()
		b.pubsub = nil
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), brokerTimeout)
	defer cancel()
	return b.pubsub.Unsubscribe(ctx, brokerPrefix+s.topic)
}
