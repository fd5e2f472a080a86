package stream

import (
	"context"
	stderrors "errors"
	"io"
	"net/http"
	"sync"
	"time"

	merrors "github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/events"

	"github.com/m3o/backend/pkg/errors"
	pb "github.com/m3o/backend/pkg/events/stream/proto"
)

// Handler answers the RPCs of Batch with a Stream.
type Handler struct {
	stream Stream
	// within is how long PublishEach takes requests.
	within time.Duration
	done   chan struct{}
	once   sync.Once
}

var _ pb.BatchHandler = (*Handler)(nil)

// NewHandler returns a handler of s.
func NewHandler(s Stream) *Handler {
	return &Handler{stream: s, within: servedFor, done: make(chan struct{})}
}

// End ends all subscriptions, and whatever else does not end by itself: a server that stops waits for it.
func (h *Handler) End() { h.once.Do(func() { close(h.done) }) }

// Publish implements pb.BatchHandler.
func (h *Handler) Publish(ctx context.Context, req *pb.PublishRequest, rsp *pb.PublishResponse) error {
	batch := make([]*events.Event, len(req.Events))
	for i, m := range req.Events {
		batch[i] = FromProto(m)
	}
	var err error
	rsp.Epoch, err = h.stream.PublishBatch(ctx, batch)
	return ToRPC(err)
}

// servedFor is how long PublishEach takes requests. Who makes them is only looked at when it is called.
const servedFor = time.Minute

// PublishEach implements pb.BatchHandler.
func (h *Handler) PublishEach(ctx context.Context, rpc pb.Batch_PublishEachStream) error {
	working := make(chan struct{}, 1) // full as long as a request is being answered, and at the end
	ended := make(chan error, 1)
	go func() { ended <- h.publishEach(ctx, rpc, working) }() // ends with the RPC
	tooLong := time.NewTimer(h.within)
	defer tooLong.Stop()
	select {
	case err := <-ended:
		return err
	case <-h.done:
	case <-tooLong.C:
	}
	select {
	case working <- struct{}{}: // what has been begun is answered, and nothing else is going to be begun
		return nil
	case err := <-ended:
		return err
	case <-time.After(farewell): // the caller does not take its answers
		return nil
	}
}

func (h *Handler) publishEach(ctx context.Context, rpc pb.Batch_PublishEachStream, working chan struct{}) error {
	for {
		req, err := rpc.Recv()
		if stderrors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case working <- struct{}{}:
		default:
			return nil // it came too late
		}
		rsp := new(pb.PublishResponse)
		if err := h.Publish(ctx, req, rsp); err != nil {
			return err
		}
		if err := rpc.Send(rsp); err != nil {
			return err
		}
		<-working
	}
}

// Read implements pb.BatchHandler.
func (h *Handler) Read(_ context.Context, req *pb.ReadRequest, rsp *pb.ReadResponse) error {
	if err := ValidName("topic", req.Topic); err != nil {
		return err
	}
	if req.Limit > MaxBatch {
		return errors.Invalid("limit", "must be at most %d", MaxBatch)
	}
	found, err := h.stream.Read(req.Topic, events.ReadLimit(uint(req.Limit)), events.ReadOffset(uint(req.Offset)))
	for _, e := range found {
		rsp.Events = append(rsp.Events, ToProto(e))
	}
	return ToRPC(err)
}

// Subscribe implements pb.BatchHandler.
func (h *Handler) Subscribe(ctx context.Context, rpc pb.Batch_SubscribeStream) error {
	first, err := rpc.Recv()
	if err != nil {
		return err
	}
	if first.Open == nil {
		return errors.Invalid("open", "expected in the first message")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sub, err := h.stream.Subscribe(ctx, optionsOf(first.Open))
	if err != nil {
		return ToRPC(err)
	}
	defer sub.Close() //nolint:errcheck // it ends whatever it says
	if err := rpc.Send(new(pb.SubscribeResponse)); err != nil {
		return err
	}
	go func() { cancel(settle(rpc, sub)) }() // ends with the RPC
	go func() {
		select {
		case <-h.done:
			cancel(&PassingError{Detail: "the events service is stopping: subscribe again"})
		case <-ctx.Done():
		}
	}()
	for {
		batch, err := sub.Next(ctx)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if stderrors.Is(err, io.EOF) { // the caller has closed it
			return nil
		}
		if err != nil {
			return ToRPC(err)
		}
		m := &pb.SubscribeResponse{Deliveries: make([]*pb.Delivery, len(batch))}
		for i, d := range batch {
			m.Deliveries[i] = &pb.Delivery{Event: ToProto(d.Event), Tag: d.Tag, Attempt: int32(d.Attempt)}
		}
		if err := rpc.Send(m); err != nil {
			return err
		}
	}
}

// settle does what a caller says of deliveries, until it says no more.
func settle(rpc pb.Batch_SubscribeStream, sub Subscription) error {
	for {
		m, err := rpc.Recv()
		if err != nil {
			return err
		}
		if m.Open != nil {
			return errors.Invalid("open", "expected in the first message only")
		}
		if err := sub.Ack(m.Ack...); err != nil {
			return err
		}
		if err := sub.Extend(m.Extend...); err != nil {
			return err
		}
		for _, n := range m.Nack {
			if err := sub.Nack(time.Duration(n.Delay), n.Tags...); err != nil {
				return err
			}
		}
	}
}

func optionsOf(o *pb.Open) Options {
	options := Options{
		Topic: o.Topic, Group: o.Group, AckWait: time.Duration(o.AckWait),
		MaxInFlight: int(o.MaxInFlight), RetryLimit: int(o.RetryLimit),
	}
	if o.Offset != 0 {
		options.Offset = time.Unix(0, o.Offset)
	}
	return options
}

// ToRPC is the error of a Stream as its service answers it.
func ToRPC(err error) error {
	if e, ok := stderrors.AsType[*PassingError](err); ok {
		return merrors.New("", e.Detail, http.StatusServiceUnavailable)
	}
	if stderrors.Is(err, ErrClosed) {
		return merrors.New("", "the events service is stopping: try again", http.StatusServiceUnavailable)
	}
	return err
}
