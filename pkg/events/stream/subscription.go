package stream

import (
	"context"
	stderrors "errors"
	"io"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/client"

	pb "github.com/m3o/backend/pkg/events/stream/proto"
)

const (
	// farewell is how long Close waits for the service to have seen the last acknowledgements.
	farewell = 5 * time.Second
	// maxTags is how many tags are sent in a message.
	maxTags = 10000
)

// Subscribe implements Stream.
func (c *Client) Subscribe(ctx context.Context, options Options) (Subscription, error) {
	options, err := options.Complete()
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	// The stream outlives ctx by as long as it takes to tell what was acknowledged before it ended.
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	opened, err := c.batch.Subscribe(lasting, client.WithAuthToken(), client.WithStreamTimeout(0))
	if err != nil {
		cancel()
		return nil, fromRPC(ctx, err)
	}
	s := &subscription{
		stream: opened, cancel: cancel,
		come: make(chan struct{}, 1), opened: make(chan struct{}), closing: make(chan struct{}), ended: make(chan struct{}),
	}
	if !c.running.begin(func() {
		defer cancel()
		defer close(s.ended)
		s.err = fromRPC(lasting, s.receive())
	}) {
		cancel()
		return nil, ErrClosed
	}
	// Where Send fails, the answer says why.
	_ = s.send(&pb.SubscribeRequest{Open: openOf(options)})
	select {
	case <-s.opened:
	case <-s.ended:
		if s.err != nil && !stderrors.Is(s.err, io.EOF) {
			return nil, s.err
		}
		return nil, &PassingError{Detail: "the events service ended the subscription"}
	case <-ctx.Done():
		cancel()
		return nil, ctx.Err()
	case <-c.done:
		cancel()
		return nil, ErrClosed
	}
	if !c.running.begin(func() {
		select {
		case <-ctx.Done():
		case <-c.done:
		case <-s.ended:
			return
		}
		_ = s.Close() // it has ended then
	}) {
		cancel()
		return nil, ErrClosed
	}
	return s, nil
}

func openOf(o Options) *pb.Open {
	open := &pb.Open{
		Topic: o.Topic, Group: o.Group, AckWait: int64(o.AckWait),
		MaxInFlight: int32(o.MaxInFlight), RetryLimit: int32(max(min(o.RetryLimit, 1<<30), -1)),
	}
	switch {
	case o.Offset.IsZero():
	case o.Offset.After(latest):
		open.Offset = 1<<63 - 1
	case o.Offset.Before(time.Unix(0, 1)):
		open.Offset = 1
	default:
		open.Offset = o.Offset.UnixNano()
	}
	return open
}

// subscription is a member of a group that is elsewhere.
type subscription struct {
	stream pb.Batch_SubscribeService
	cancel context.CancelFunc
	opened chan struct{} // closed when the service has said so
	ended  chan struct{} // closed when nothing more comes
	err    error         // why; for after ended

	sending sync.Mutex
	begin   sync.Once
	waiting sync.Mutex
	// here is what has come and nobody has asked for yet. There is never more of it than may be in flight.
	here    []Delivery
	come    chan struct{} // has one element when there may be something
	closing chan struct{} // closed when nobody wants any more
}

// receive takes what comes until the stream ends.
func (s *subscription) receive() error {
	for first := true; ; first = false {
		m, err := s.stream.Recv()
		if err != nil {
			return err
		}
		if first {
			close(s.opened)
		}
		if len(m.Deliveries) == 0 {
			continue
		}
		batch := make([]Delivery, len(m.Deliveries))
		for i, d := range m.Deliveries {
			batch[i] = Delivery{Event: FromProto(d.Event), Tag: d.Tag, Attempt: int(d.Attempt)}
		}
		s.waiting.Lock()
		s.here = append(s.here, batch...)
		s.waiting.Unlock()
		s.signal()
	}
}

func (s *subscription) signal() {
	select {
	case s.come <- struct{}{}:
	default:
	}
}

// take returns what has come, as much as Next may return: the events of many messages of the service, which sends each as
// soon as it can.
func (s *subscription) take() []Delivery {
	s.waiting.Lock()
	defer s.waiting.Unlock()
	n, size := 0, 0
	for n < len(s.here) && n < MaxBatch {
		if size += Size(s.here[n].Event); size > MaxBatchBytes && n > 0 {
			break
		}
		n++
	}
	batch := s.here[:n:n]
	if s.here = s.here[n:]; len(s.here) == 0 {
		s.here = nil
	} else {
		s.signal()
	}
	return batch
}

// Next implements Subscription.
func (s *subscription) Next(ctx context.Context) ([]Delivery, error) {
	for {
		select {
		case <-s.closing:
			return nil, ErrClosed
		default:
		}
		if batch := s.take(); len(batch) > 0 {
			return batch, nil
		}
		select {
		case <-s.come:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.closing:
		case <-s.ended:
			return nil, s.broken()
		}
	}
}

// broken is why a subscription has ended.
func (s *subscription) broken() error {
	select {
	case <-s.closing:
		return ErrClosed
	default:
	}
	if s.err == nil || stderrors.Is(s.err, io.EOF) {
		return &PassingError{Detail: "the events service has ended the subscription"}
	}
	return s.err
}

// Ack implements Subscription.
func (s *subscription) Ack(tags ...uint64) error {
	for len(tags) > 0 {
		n := min(len(tags), maxTags)
		if err := s.send(&pb.SubscribeRequest{Ack: tags[:n]}); err != nil {
			return err
		}
		tags = tags[n:]
	}
	return nil
}

// Nack implements Subscription.
func (s *subscription) Nack(delay time.Duration, tags ...uint64) error {
	if err := ValidDelay(delay); err != nil {
		return err
	}
	if len(tags) == 0 {
		return nil
	}
	return s.send(&pb.SubscribeRequest{Nack: []*pb.Nack{{Tags: tags, Delay: int64(delay)}}})
}

// Extend implements Subscription.
func (s *subscription) Extend(tags ...uint64) error {
	if len(tags) == 0 {
		return nil
	}
	return s.send(&pb.SubscribeRequest{Extend: tags})
}

func (s *subscription) send(m *pb.SubscribeRequest) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	select {
	case <-s.closing:
		return ErrClosed
	case <-s.ended:
		return s.broken()
	default:
	}
	err := s.stream.Send(m)
	if stderrors.Is(err, io.EOF) { // why is what the service answers
		<-s.ended
		return s.broken()
	}
	return err
}

// Close implements Subscription. It returns when the service has got all acknowledgements, if it answers.
func (s *subscription) Close() error {
	s.begin.Do(func() {
		s.sending.Lock()
		close(s.closing)
		s.sending.Unlock()
		_ = s.stream.Close() // if it fails, the stream has ended
		timer := time.NewTimer(farewell)
		defer timer.Stop()
		select {
		case <-s.ended:
		case <-timer.C:
		}
		s.cancel()
	})
	<-s.ended
	return nil
}
