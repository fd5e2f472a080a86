package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	pb "github.com/micro/micro/v3/proto/broker"
	"github.com/micro/micro/v3/service/broker"
	"github.com/micro/micro/v3/service/logger"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
)

const (
	// maxBehind is how many messages a subscriber may be behind, and maxBehindBytes how many bytes they may have together.
	maxBehind, maxBehindBytes = 10_000, 64 << 20
	// claimLife is for how long a message that was claimed cannot be claimed again. Nobody claims one that is older than half
	// of it: clocks are not compared, only how long it has waited here.
	claimLife = time.Minute
)

// brokerSubscriber implements broker.Subscriber.
type brokerSubscriber struct {
	broker  *Broker
	topic   string
	handler broker.Handler
	options broker.SubscribeOptions

	mu      sync.Mutex
	waiting []brokerMessage
	bytes   int  // of what waits
	losing  bool // since the last one that was kept
	ended   bool
	cond    sync.Cond // of mu: something waits, or it has ended
}

func newBrokerSubscriber(b *Broker, topic string, h broker.Handler, options broker.SubscribeOptions) *brokerSubscriber {
	s := &brokerSubscriber{broker: b, topic: topic, handler: h, options: options}
	s.cond.L = &s.mu
	return s
}

// brokerMessage is a message and when it has arrived.
type brokerMessage struct {
	payload string
	since   time.Time
}

// Options returns the options of the subscription.
func (s *brokerSubscriber) Options() broker.SubscribeOptions { return s.options }

// Topic returns the topic.
func (s *brokerSubscriber) Topic() string { return s.topic }

// Unsubscribe ends the subscription. The handler is not called any more, but it may be running.
func (s *brokerSubscriber) Unsubscribe() error { return s.broker.remove(s) }

func (s *brokerSubscriber) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.waiting = true, nil
	s.cond.Signal()
}

// add adds a message that has arrived.
func (s *brokerSubscriber) add(payload string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) >= maxBehind || s.bytes+len(payload) > maxBehindBytes {
		if !s.losing {
			logger.Warnf("A subscriber of %s is %d messages behind, and loses what comes", s.topic, len(s.waiting))
		}
		s.losing = true
		return
	}
	s.losing = false
	s.waiting = append(s.waiting, brokerMessage{payload, time.Now()})
	s.bytes += len(payload)
	s.cond.Signal()
}

// next waits for the next message; false when the subscription has ended.
func (s *brokerSubscriber) next() (brokerMessage, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) == 0 && !s.ended {
		s.cond.Wait()
	}
	if s.ended {
		return brokerMessage{}, false
	}
	m := s.waiting[0]
	s.waiting[0] = brokerMessage{}
	s.waiting = s.waiting[1:]
	s.bytes -= len(m.payload)
	return m, true
}

// run handles messages until the subscription ends.
func (s *brokerSubscriber) run() {
	for {
		m, ok := s.next()
		if !ok {
			return
		}
		if err := s.handle(m); err != nil {
			logger.Warnf("A message of %s is left out: %v", s.topic, err)
		}
	}
}

// handle has a message handled, if it is for this subscriber. Each gets a copy of its own.
func (s *brokerSubscriber) handle(w brokerMessage) error {
	if len(w.payload) < len(uuid.UUID{}) {
		return errors.New("it is not one of this broker's")
	}
	id, text := w.payload[:len(uuid.UUID{})], w.payload[len(uuid.UUID{}):]
	var m pb.Message
	if err := proto.Unmarshal([]byte(text), protoadapt.MessageV2Of(&m)); err != nil {
		return fmt.Errorf("it is not one of this broker's: %w", err)
	}
	if s.options.Queue != "" {
		mine, err := s.claim(fmt.Sprintf("%x", id), w.since)
		if err != nil || !mine {
			return err
		}
	}
	message := &broker.Message{Header: m.Header, Body: m.Body}
	if message.Header == nil {
		message.Header = make(map[string]string)
	}
	if err := s.handler(message); err != nil && s.options.ErrorHandler != nil {
		s.options.ErrorHandler(message, err)
	}
	return nil
}

// claim tells whether a message is this subscriber's, and not that of another one with the same queue. One of which Redis has
// not said so is not: it might be somebody else's.
func (s *brokerSubscriber) claim(id string, since time.Time) (bool, error) {
	left := claimLife/2 - time.Since(since)
	ctx, cancel := context.WithTimeout(context.Background(), min(left, brokerTimeout))
	defer cancel()
	if left <= 0 {
		return false, nil
	}
	key := brokerPrefix + s.topic + ":" + s.options.Queue + ":" + id
	return s.broker.client.SetNX(ctx, key, "", claimLife).Result()
}
