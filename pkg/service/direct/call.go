package direct

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/micro/micro/v3/service/client"
	"github.com/micro/micro/v3/util/codec/bytes"
	"google.golang.org/grpc/metadata"
)

const (
	// maxTimes is how often a call is made at most that may be repeated.
	maxTimes = 3
	// repeatAfter is how long is waited before the first repetition, on average; before each other twice as long.
	repeatAfter = 20 * time.Millisecond
	// stoppingFor is how long others are preferred to a node that said it is stopping.
	stoppingFor = time.Second
)

// Call implements client.Client. It makes the call and decodes the answer into rsp. Errors are Micro errors: those of the
// service as it made them, and those of the call with the id ErrorID and the code 408 when the deadline has passed or the
// caller has given up, 413 when the request has more than MaxMessage bytes, 415 for an unknown content type, 503 when no
// node can be reached or the connection is lost, else 500.
func (c *Client) Call(ctx context.Context, req client.Request, rsp any, opts ...client.CallOption) error {
	if req == nil || rsp == nil {
		return failure(http.StatusInternalServerError, "a call needs a request and a place for the answer")
	}
	out := &outgoing{req: req, rsp: rsp, settings: *c.settings.Load(), path: path(req.Service(), req.Endpoint())}
	for _, o := range opts {
		o(&out.settings)
	}
	var room [2 * usualHeader]string
	header := c.header(ctx, req.Service(), out.settings.AuthToken, room[:0])
	if deadline, ok := ctx.Deadline(); ok {
		out.settings.RequestTimeout = time.Until(deadline)
	} else {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, out.settings.RequestTimeout)
		defer cancel()
	}
	if ctx.Err() != nil {
		return ended(ctx)
	}
	var err error
	if out.encoding, out.body, err = encodeBody(req); err != nil {
		return err
	}
	t, err := c.find(req.Service(), out.settings.Address)
	if err != nil {
		return failure(http.StatusServiceUnavailable, err.Error())
	}
	c.budget.earn()
	return c.try(metadata.AppendToOutgoingContext(ctx, header...), &t, out)
}

// outgoing is a call that is ready to be made.
type outgoing struct {
	req      client.Request
	rsp      any
	encoding *encoding
	body     *bytes.Frame
	settings client.CallOptions
	path     string
}

// invoke makes the call once.
func (o *outgoing) invoke(ctx context.Context, p *peer) error {
	if len(o.settings.CallWrappers) == 0 {
		return p.conn.Invoke(ctx, o.path, o.body, o.rsp, o.encoding.options...)
	}
	f := client.CallFunc(func(ctx context.Context, _ string, _ client.Request, rsp any, _ client.CallOptions) error {
		return p.conn.Invoke(ctx, o.path, o.body, rsp, o.encoding.options...)
	})
	for i := len(o.settings.CallWrappers) - 1; i >= 0; i-- {
		f = o.settings.CallWrappers[i](f)
	}
	return f(ctx, p.addr, o.req, o.rsp, o.settings)
}

// try makes a call until it has an answer, as long as that is safe.
func (c *Client) try(ctx context.Context, t *target, o *outgoing) error {
	var a attempts
	for times := 1; ; {
		p, err := c.next(ctx, t, &a)
		if err != nil {
			return err
		}
		err = o.invoke(t.visible(ctx), p)
		p.release()
		if err == nil {
			return nil
		}
		switch fateOf(ctx, err) {
		case untouched:
			if !notSent(err) {
				p.setAside(stoppingFor)
			}
			a.tried = append(a.tried, p)
		case unknown:
			if times == maxTimes || o.settings.Retries == 0 || !c.mayRepeat(t, o.req) || !c.budget.take() ||
				!pause(ctx, jittered(repeatAfter<<(times-1)), nil) {
				return microError(ctx, o.req.Service(), o.req.Endpoint(), err)
			}
			a.tried = append(a.tried[:0], p)
			times++
		default:
			return microError(ctx, o.req.Service(), o.req.Endpoint(), err)
		}
	}
}

// attempts are the nodes that one call has tried, and until when it goes on trying.
type attempts struct {
	tried []*peer
	until time.Time // zero as long as it has not had to wait
}

// next returns the node to call next, with a reference. When all have been tried, it waits for one to become reachable, as
// long as the caller has time and the client patience.
func (c *Client) next(ctx context.Context, t *target, a *attempts) (*peer, error) {
	var changed <-chan struct{}
	for {
		p := choose(t.nodes(), a.tried)
		switch {
		case p != nil && p.acquire():
			return p, nil
		case p != nil: // it has left at this moment
			a.tried = append(a.tried, p)
		case changed == nil:
			// Looked at once more after this, so that no change is missed in between.
			changed = c.directory.pool.signal.next()
		default:
			if err := c.wait(ctx, t, a, changed); err != nil {
				return nil, err
			}
			changed = nil
		}
	}
}

// wait waits until there may be a node to call.
func (c *Client) wait(ctx context.Context, t *target, a *attempts, changed <-chan struct{}) error {
	if a.until.IsZero() {
		a.until = time.Now().Add(c.config.Patience)
	}
	var first <-chan struct{}
	if t.entry != nil && len(t.nodes()) == 0 {
		select {
		case <-t.entry.answered:
			if !t.entry.existed.Load() {
				return failure(http.StatusServiceUnavailable, "there is no node of a service "+t.service)
			}
		default:
			first = t.entry.answered
		}
	}
	timer := time.NewTimer(time.Until(a.until))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ended(ctx)
	case <-timer.C:
		return errUnreachable(t.service)
	case <-first:
	case <-changed:
	}
	a.tried = a.tried[:0]
	return nil
}

// mayRepeat tells whether a call may be made once more that may have been carried out.
func (c *Client) mayRepeat(t *target, req client.Request) bool {
	var levels map[string]string
	if t.entry != nil {
		levels = *t.entry.levels.Load()
	}
	return repeatable(req.Service(), req.Endpoint(), req.Body(), levels)
}

func jittered(d time.Duration) time.Duration {
	return d/2 + rand.N(d) //nolint:gosec // no secret
}

// encodeBody encodes the message of a request.
func encodeBody(req client.Request) (*encoding, *bytes.Frame, error) {
	enc, err := encodingOf(req)
	if err != nil {
		return nil, nil, err
	}
	body, err := encodeMessage(enc, req.Body())
	return enc, body, err
}

func encodingOf(req client.Request) (*encoding, error) {
	enc, ok := encodings[req.ContentType()]
	if !ok {
		return nil, failure(http.StatusUnsupportedMediaType, "the content type of the request is not known")
	}
	return enc, nil
}

// encodeMessage encodes one message and makes sure that it can be sent.
func encodeMessage(enc *encoding, v any) (*bytes.Frame, error) {
	body, err := enc.encode(v)
	if err != nil {
		return nil, failure(http.StatusInternalServerError, "the request cannot be encoded: "+err.Error())
	}
	if len(body.Data) > MaxMessage {
		return nil, failure(http.StatusRequestEntityTooLarge, "the request is larger than the 32 MiB that a message may have")
	}
	return body, nil
}

// path is what gRPC calls an endpoint: the registered name of the service stands where the proto package would.
func path(service, endpoint string) string {
	handler, method, ok := strings.Cut(endpoint, ".")
	switch {
	case !ok || endpoint[0] == '/' || strings.Contains(method, "."):
		return endpoint
	case service == "":
		return "/" + handler + "/" + method
	}
	return "/" + service + "." + handler + "/" + method
}
