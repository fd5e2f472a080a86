package stream

import (
	"context"
	stderrors "errors"
	"net/http"
	"strings"
	"sync"

	"github.com/micro/micro/v3/service/client"
	merrors "github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/events"

	"github.com/m3o/backend/pkg/errors"
	pb "github.com/m3o/backend/pkg/events/stream/proto"
)

// serviceName is the name of the events service.
const serviceName = "events"

// ErrClosed is the error of what was closed.
var ErrClosed = stderrors.New("the event stream is closed")

// errNoWrite is the error of Write.
var errNoWrite = stderrors.New("an event gets into the store by being published: use Publish")

// Client is the Stream of the events service. Close ends it.
type Client struct {
	batch     pb.BatchService
	lanes     *lanes
	publisher *Publisher
	consumers *Consumers
	done      chan struct{}
	close     sync.Once
	running   group
}

// NewClient returns a client that calls the events service with c.
func NewClient(c client.Client) *Client {
	s := &Client{batch: pb.NewBatchService(serviceName, c), done: make(chan struct{})}
	s.lanes = newLanes(s.batch, c.Options().CallOptions.RequestTimeout)
	s.publisher = NewPublisher(s.publish)
	s.consumers = &Consumers{Subscribe: s.Subscribe, Done: s.done}
	return s
}

// Close ends all subscriptions, and what is kept open to publish over, and returns when they have ended.
func (c *Client) Close() error {
	c.close.Do(func() { close(c.done) })
	c.consumers.Wait()
	c.running.wait()
	c.lanes.close()
	return nil
}

// group is goroutines of which none begins once they are waited for.
type group struct {
	sync.WaitGroup
	mu    sync.Mutex
	ended bool
}

// begin runs f in a goroutine; false when it is too late.
func (g *group) begin(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return false
	}
	g.Go(f)
	return true
}

func (g *group) wait() {
	g.mu.Lock()
	g.ended = true
	g.mu.Unlock()
	g.Wait()
}

// Publish implements events.Stream. It returns when the event is in the stream. Those that publish to a topic at the same
// time share a batch, and who publishes often needs no RPC for each (see the package).
func (c *Client) Publish(topic string, message any, opts ...events.PublishOption) error {
	e, err := New(topic, message, opts...)
	if err != nil {
		return err
	}
	if err := Prepare(e); err != nil {
		return err
	}
	return c.publisher.Publish(e)
}

// Consume implements events.Stream; see Consumers.Consume.
func (c *Client) Consume(topic string, opts ...events.ConsumeOption) (<-chan events.Event, error) {
	return c.consumers.Consume(topic, opts...)
}

// PublishBatch implements Stream.
func (c *Client) PublishBatch(ctx context.Context, batch []*events.Event) (string, error) {
	if err := PrepareAll(batch); err != nil {
		return "", err
	}
	rsp, err := c.batch.Publish(ctx, requestOf(batch), client.WithAuthToken())
	if err != nil {
		return "", fromRPC(ctx, err)
	}
	return rsp.Epoch, nil
}

// publish publishes events that are prepared and that nobody has put in a batch.
func (c *Client) publish(batch []*events.Event) error {
	req, ctx := requestOf(batch), context.Background()
	done, err := c.lanes.publish(req)
	if !done {
		if _, err = c.batch.Publish(ctx, req, client.WithAuthToken()); err == nil {
			c.lanes.answered()
		}
	}
	if err != nil {
		return fromRPC(ctx, err)
	}
	return nil
}

// requestOf is the request to publish events that are prepared.
func requestOf(batch []*events.Event) *pb.PublishRequest {
	req := &pb.PublishRequest{Events: make([]*pb.Event, len(batch))}
	for i, e := range batch {
		req.Events[i] = ToProto(e)
	}
	return req
}

// Read implements events.Store: it returns what the stream still has of a topic, the oldest first, at most MaxBatch and
// MaxBatchBytes of it, and 250 events unless it is told how many. The offset is counted from the oldest that there is.
func (c *Client) Read(topic string, opts ...events.ReadOption) ([]*events.Event, error) {
	if topic == "" {
		return nil, events.ErrMissingTopic
	}
	limit, offset := ReadOptions(opts...)
	ctx := context.Background()
	rsp, err := c.batch.Read(ctx, &pb.ReadRequest{Topic: topic, Limit: uint32(limit), Offset: offset}, client.WithAuthToken())
	if err != nil {
		return nil, fromRPC(ctx, err)
	}
	found := make([]*events.Event, len(rsp.Events))
	for i, m := range rsp.Events {
		found[i] = FromProto(m)
	}
	return found, nil
}

// Write implements events.Store; it is not supported.
func (c *Client) Write(*events.Event, ...events.WriteOption) error { return errNoWrite }

// fromRPC is the error of a call as a Stream has it: the events are to blame for what the service says is wrong with the
// request, and for nothing else.
func fromRPC(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e, ok := stderrors.AsType[*merrors.Error](err)
	if !ok {
		return err
	}
	switch e.Code {
	case http.StatusBadRequest:
		if field, detail, ok := strings.Cut(e.Detail, ": "); ok && !strings.ContainsRune(field, ' ') {
			return errors.Invalid(field, "%s", detail)
		}
		return errors.Invalid("", "%s", e.Detail)
	case http.StatusRequestEntityTooLarge:
		return errors.Invalid("events", "%s", e.Detail)
	case http.StatusTooManyRequests:
		return errors.TooMany("%s", e.Detail)
	case http.StatusServiceUnavailable:
		return &PassingError{Detail: e.Detail, Cause: e}
	}
	return e
}
