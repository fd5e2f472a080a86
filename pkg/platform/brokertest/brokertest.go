// Package brokertest is what holds for every broker, as cases that an engine or a client is put to. They need nothing but
// Micro's own interface, so that they can be put to Micro's brokers as well.
package brokertest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/broker"

	"github.com/m3o/backend/pkg/internal/casetest"
)

const (
	// soon is within what time something has to happen that is to happen at once.
	soon = 3 * time.Second
	// quiet is for how long nothing may happen that is not to happen.
	quiet = 300 * time.Millisecond
)

// Case is something that holds for every broker. It takes topics of its own, so that cases can run at the same time. Each call
// of open returns a connected broker of another process, as it were: what is published with one is received with all.
type Case struct {
	Name string
	Run  func(open func() broker.Broker) error
}

// Run puts brokers to all cases.
func Run(t *testing.T, open func() broker.Broker) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if err := c.Run(open); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Failing returns the names of the cases that brokers fail.
func Failing(open func() broker.Broker) []string {
	var failing []string
	for _, c := range Cases() {
		if c.Run(open) != nil {
			failing = append(failing, c.Name)
		}
	}
	return failing
}

func newTopic(what string) string { return what + "-" + uuid.NewString() }

func message(body string) *broker.Message {
	return &broker.Message{Header: map[string]string{"Key": "value"}, Body: []byte(body)}
}

// inbox is what a subscriber has received.
type inbox struct {
	broker.Subscriber

	mu       sync.Mutex
	received []*broker.Message
	arrived  chan struct{}
}

// subscribe subscribes with a handler that keeps what it gets.
func subscribe(b broker.Broker, topic string, opts ...broker.SubscribeOption) (*inbox, error) {
	return handle(b, topic, func(*broker.Message) error { return nil }, opts...)
}

// handle subscribes with a handler; what it has handled is kept.
func handle(b broker.Broker, topic string, h broker.Handler, opts ...broker.SubscribeOption) (*inbox, error) {
	in := &inbox{arrived: make(chan struct{}, 1)}
	s, err := b.Subscribe(topic, func(m *broker.Message) error {
		err := h(m)
		in.mu.Lock()
		in.received = append(in.received, m)
		in.mu.Unlock()
		select {
		case in.arrived <- struct{}{}:
		default:
		}
		return err
	}, opts...)
	in.Subscriber = s
	return in, err
}

func (in *inbox) all() []*broker.Message {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]*broker.Message(nil), in.received...)
}

// total is how many messages were received by all.
func total(all ...*inbox) int {
	n := 0
	for _, in := range all {
		n += len(in.all())
	}
	return n
}

// exactly makes sure that so many messages come, and no more.
func exactly(n int, all ...*inbox) error {
	if err := atLeast(n, all...); err != nil {
		return err
	}
	time.Sleep(quiet)
	return casetest.Expect(total(all...) == n, "%d messages are received: expected %d", total(all...), n)
}

func atLeast(n int, all ...*inbox) error {
	for deadline := time.Now().Add(soon); total(all...) < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d messages are received: expected %d", total(all...), n)
		}
	}
	return nil
}

// each makes sure that every one of the messages 0 to n-1 is received once.
func each(n int, all ...*inbox) error {
	if err := exactly(n, all...); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for _, in := range all {
		for _, m := range in.all() {
			if seen[string(m.Body)] {
				return fmt.Errorf("message %s is received twice", m.Body)
			}
			seen[string(m.Body)] = true
		}
	}
	return nil
}

// publish publishes the messages 0 to n-1.
func publish(b broker.Broker, topic string, n int) error {
	for i := range n {
		if err := b.Publish(topic, message(fmt.Sprint(i))); err != nil {
			return err
		}
	}
	return nil
}

func leave(all ...*inbox) error {
	var errs []error
	for _, in := range all {
		errs = append(errs, in.Unsubscribe())
	}
	return errors.Join(errs...)
}
