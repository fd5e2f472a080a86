package brokertest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/broker"
	"golang.org/x/sync/errgroup"

	"github.com/m3o/backend/pkg/internal/casetest"
)

// Cases are all cases.
func Cases() []Case {
	return []Case{
		{"keeps header and body", keeps},
		{"tells all subscribers", tellsAll},
		{"tells topics apart", tellsApart},
		{"keeps each publisher's order", order},
		{"shares messages among the members of a queue", queues},
		{"gives a busy member's share to others", busy},
		{"goes on when a member of a queue leaves", leaves},
		{"does not wait for a slow subscriber", slow},
		{"tells errors of a handler, and goes on", handlerErrors},
		{"ends a subscription", unsubscribes},
		{"ends a subscription out of its handler", unsubscribesItself},
		{"forgets what nobody was there for", forgets},
		{"gives each subscriber a copy", copies},
		{"takes large messages", large},
		{"is used by many at once", concurrent},
		{"connects and disconnects more than once", connects},
		{"keeps the options it had", options},
	}
}

func keeps(open func() broker.Broker) error {
	topic := newTopic("keeps")
	in, err := subscribe(open(), topic)
	if err != nil {
		return err
	}
	from := open()
	header := map[string]string{"Micro-Id": "1", "empty": "", "ключ": "значение"}
	err = casetest.First(
		from.Publish(topic, &broker.Message{Header: header, Body: []byte{0, 255, '\n'}}),
		from.Publish(topic, &broker.Message{}), exactly(2, in),
	)
	if err != nil {
		return err
	}
	all := in.all()
	for key, value := range header {
		got, ok := all[0].Header[key]
		if err := casetest.Expect(ok && got == value, "header %v: expected %v", all[0].Header, header); err != nil {
			return err
		}
	}
	return casetest.First(
		casetest.Expect(bytes.Equal(all[0].Body, []byte{0, 255, '\n'}), "body %v", all[0].Body),
		casetest.Expect(len(all[1].Body) == 0, "body %v: expected none", all[1].Body),
		casetest.Expect(in.Topic() == topic, "topic %s: expected %s", in.Topic(), topic), leave(in),
	)
}

func tellsAll(open func() broker.Broker) error {
	topic, a, b := newTopic("all"), open(), open()
	one, err1 := subscribe(a, topic)
	two, err2 := subscribe(a, topic)
	three, err3 := subscribe(b, topic)
	return casetest.First(err1, err2, err3, publish(b, topic, 10), each(10, one), each(10, two), each(10, three), leave(one, two, three))
}

func tellsApart(open func() broker.Broker) error {
	topic, b := newTopic("apart"), open()
	one, err1 := subscribe(b, topic)
	two, err2 := subscribe(b, topic+"-2")
	three, err3 := subscribe(b, "*")
	return casetest.First(err1, err2, err3, publish(b, topic, 3), each(3, one), exactly(0, two, three), leave(one, two, three))
}

func order(open func() broker.Broker) error {
	const n = 500
	topic := newTopic("order")
	in, err := subscribe(open(), topic)
	if err := casetest.First(err, publish(open(), topic, n), exactly(n, in)); err != nil {
		return err
	}
	for i, m := range in.all() {
		if want := fmt.Sprint(i); string(m.Body) != want {
			return fmt.Errorf("message %s is received: expected %s", m.Body, want)
		}
	}
	return leave(in)
}

// members subscribes a number of members of a queue.
func members(b broker.Broker, topic, queue string, n int, h broker.Handler) ([]*inbox, error) {
	all := make([]*inbox, n)
	for i := range all {
		var err error
		if all[i], err = handle(b, topic, h, broker.Queue(queue)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func nothing(*broker.Message) error { return nil }

func queues(open func() broker.Broker) error {
	const n = 200
	topic, a, b := newTopic("queues"), open(), open()
	one, err1 := members(a, topic, "q", 2, nothing)
	two, err2 := members(b, topic, "q", 2, nothing)
	other, err3 := members(b, topic, "another", 2, nothing)
	alone, err4 := subscribe(a, topic)
	if err := casetest.First(err1, err2, err3, err4); err != nil {
		return err
	}
	all := append(one, two...)
	return casetest.First(publish(a, topic, n), each(n, all...), each(n, other...), each(n, alone), leave(append(append(all, other...), alone)...))
}

func busy(open func() broker.Broker) error {
	topic, release := newTopic("busy"), make(chan struct{})
	var once sync.Once
	defer once.Do(func() { close(release) })
	waits, err1 := members(open(), topic, "q", 1, func(*broker.Message) error { <-release; return nil })
	free, err2 := members(open(), topic, "q", 1, nothing)
	err := casetest.First(err1, err2, inTime(func() error { return publish(open(), topic, 20) }), atLeast(19, free...))
	once.Do(func() { close(release) })
	return casetest.First(err, each(20, waits[0], free[0]), leave(waits[0], free[0]))
}

func leaves(open func() broker.Broker) error {
	topic, a, b := newTopic("leaves"), open(), open()
	one, err1 := members(a, topic, "q", 1, nothing)
	two, err2 := members(b, topic, "q", 1, nothing)
	if err := casetest.First(err1, err2, leave(one...)); err != nil {
		return err
	}
	time.Sleep(quiet) // some take a moment
	return casetest.First(publish(a, topic, 20), each(20, two...), leave(two...))
}

// inTime makes sure that something is done soon. It may be done later than that.
func inTime(do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-time.After(soon):
		return errors.New("publishing takes too long")
	}
}

func slow(open func() broker.Broker) error {
	topic, b, release := newTopic("slow"), open(), make(chan struct{})
	var once sync.Once
	defer once.Do(func() { close(release) })
	waits, err1 := handle(b, topic, func(*broker.Message) error { <-release; return nil })
	free, err2 := subscribe(b, topic)
	err := casetest.First(err1, err2, inTime(func() error { return publish(b, topic, 20) }), each(20, free))
	once.Do(func() { close(release) })
	return casetest.First(err, each(20, waits), leave(waits, free))
}

func handlerErrors(open func() broker.Broker) error {
	topic, b, wrong := newTopic("errors"), open(), errors.New("wrong")
	told := make(chan string, 10)
	in, err := handle(b, topic, func(*broker.Message) error { return wrong }, broker.HandleError(func(m *broker.Message, err error) {
		if errors.Is(err, wrong) {
			told <- string(m.Body)
		}
	}))
	silent, err2 := handle(b, topic, func(*broker.Message) error { return wrong })
	if err := casetest.First(err, err2, publish(b, topic, 2), each(2, in), each(2, silent)); err != nil {
		return err
	}
	for i := range 2 {
		select {
		case body := <-told:
			if want := fmt.Sprint(i); body != want {
				return fmt.Errorf("the error of message %s is told: expected %s", body, want)
			}
		case <-time.After(soon):
			return errors.New("an error is not told")
		}
	}
	return leave(in, silent)
}

func unsubscribes(open func() broker.Broker) error {
	topic, a, b := newTopic("unsubscribes"), open(), open()
	one, err1 := subscribe(a, topic)
	two, err2 := subscribe(a, topic)
	if err := casetest.First(err1, err2, publish(b, topic, 1), exactly(1, one), leave(one), leave(one)); err != nil {
		return err
	}
	time.Sleep(quiet) // some take a moment
	if err := casetest.First(publish(b, topic, 5), exactly(1, one), exactly(6, two), leave(two)); err != nil {
		return err
	}
	again, err := subscribe(a, topic)
	return casetest.First(err, publish(b, topic, 3), each(3, again), leave(again))
}

func unsubscribesItself(open func() broker.Broker) error {
	topic, b := newTopic("itself"), open()
	self := make(chan broker.Subscriber, 1)
	in, err := handle(b, topic, func(*broker.Message) error { return (<-self).Unsubscribe() })
	if err != nil {
		return err
	}
	self <- in.Subscriber
	if err := casetest.First(inTime(func() error { return publish(b, topic, 1) }), exactly(1, in)); err != nil {
		return err
	}
	return casetest.First(inTime(func() error { return publish(b, topic, 1) }), exactly(1, in))
}

func forgets(open func() broker.Broker) error {
	topic, b := newTopic("forgets"), open()
	if err := publish(b, topic, 3); err != nil {
		return err
	}
	in, err := subscribe(b, topic)
	return casetest.First(err, exactly(0, in), publish(b, topic, 2), each(2, in), leave(in))
}

func copies(open func() broker.Broker) error {
	topic, b := newTopic("copies"), open()
	spoil := func(m *broker.Message) error {
		if m.Header["Key"] != "value" || string(m.Body) != "0" {
			return errors.New("spoilt")
		}
		m.Header["Key"], m.Body[0] = "spoilt", 'x'
		return nil
	}
	spoilt := make(chan struct{}, 10)
	note := broker.HandleError(func(*broker.Message, error) { spoilt <- struct{}{} })
	one, err1 := handle(b, topic, spoil, note)
	two, err2 := handle(b, topic, spoil, note)
	if err := casetest.First(err1, err2); err != nil {
		return err
	}
	given := message("0")
	if err := casetest.First(b.Publish(topic, given), exactly(2, one, two)); err != nil {
		return err
	}
	return casetest.First(
		casetest.Expect(len(spoilt) == 0, "a subscriber gets what another one has changed"),
		casetest.Expect(given.Header["Key"] == "value" && string(given.Body) == "0", "the publisher's message is changed"), leave(one, two),
	)
}

func large(open func() broker.Broker) error {
	topic, body := newTopic("large"), bytes.Repeat([]byte("large"), 200_000)
	in, err := subscribe(open(), topic)
	if err := casetest.First(err, open().Publish(topic, &broker.Message{Body: body}), exactly(1, in)); err != nil {
		return err
	}
	return casetest.First(casetest.Expect(bytes.Equal(in.all()[0].Body, body), "the body is another one"), leave(in))
}

func concurrent(open func() broker.Broker) error {
	topic, b := newTopic("concurrent"), open()
	in, err := subscribe(b, topic)
	if err != nil {
		return err
	}
	var users errgroup.Group
	for i := range 10 {
		users.Go(func() error {
			for j := range 20 {
				if err := b.Publish(topic, message(fmt.Sprint(i, j))); err != nil {
					return err
				}
				other, err := subscribe(b, newTopic("other"))
				if err := casetest.First(err, other.Unsubscribe()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return casetest.First(users.Wait(), each(200, in), leave(in))
}

func connects(open func() broker.Broker) error {
	topic, b := newTopic("connects"), open()
	in, err := subscribe(b, topic)
	if err := casetest.First(err, b.Connect(), b.Connect(), publish(b, topic, 1), exactly(1, in), b.Disconnect(), b.Disconnect()); err != nil {
		return err
	}
	failed := b.Publish(topic, message("0"))
	if err := casetest.First(b.Connect(), casetest.Expect(failed != nil, "a broker that is not connected publishes")); err != nil {
		return err
	}
	for deadline := time.Now().Add(soon); total(in) < 2; time.Sleep(10 * time.Millisecond) {
		if err := casetest.First(publish(b, topic, 1), casetest.Expect(time.Now().Before(deadline), "nothing is received after another Connect")); err != nil {
			return err
		}
	}
	return leave(in)
}

func options(open func() broker.Broker) error {
	topic, b := newTopic("options"), open()
	if err := casetest.First(b.Init(broker.Addrs("127.0.0.1:1")), b.Init(), b.Init(broker.Secure(true))); err != nil {
		return err
	}
	in, err := subscribe(b, topic)
	return casetest.First(
		casetest.Expect(len(b.Options().Addrs) == 1 && b.Options().Secure, "the options are %+v", b.Options()),
		casetest.Expect(b.String() != "", "it has no name"),
		err, publish(b, topic, 1), each(1, in), leave(in),
	)
}
