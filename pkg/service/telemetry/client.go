package telemetry

import (
	"context"
	"errors"
	"time"

	microerrors "github.com/micro/micro/v3/service/errors"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// maxTargets bounds the endpoints whose calls are counted apart. What is called comes from our own code, but a mistake
// there must not fill the memory: further ones are counted together.
const maxTargets = 1000

// target is an endpoint of another service.
type target struct{ service, endpoint string }

// ClientCall is a call that this process makes.
type ClientCall struct {
	series *series
	start  time.Time
	span   trace.Span // nil when there is no tracing
	trace  trace.SpanContext
}

// Client says that a call to an endpoint such as "Customers.Create" of a service begins. The context that it returns is
// the one to make the call with. The endpoint must be a name of code, or have been looked up: not what somebody sent.
//
//	ctx, call := recorder.Client(ctx, "customers", "Customers.Create")
//	header.Set(telemetry.Header, call.Traceparent())
//	err := invoke(ctx)
//	call.End(err)
func (r *Recorder) Client(ctx context.Context, service, endpoint string) (context.Context, ClientCall) {
	c := ClientCall{series: r.target(service, endpoint), start: time.Now()}
	c.series.inFlight.Inc()
	c.trace = TraceOf(ctx)
	if r.tracer != nil {
		ctx, c.span = r.tracer.Start(ctx, c.series.span, c.series.options...)
		c.trace = c.span.SpanContext()
	} else if !c.trace.IsValid() {
		c.trace = newTrace()
	}
	return ctx, c
}

// Traceparent is the header that the call has to carry.
func (c ClientCall) Traceparent() string { return Format(c.trace) }

// End says that the call was answered, or failed. It has to be called once.
func (c ClientCall) End(err error) {
	code := codeOf(err)
	c.series.end(code, time.Since(c.start))
	if c.span != nil {
		c.span.SetAttributes(codeKey.Int(code))
		if code != ok {
			c.span.SetStatus(codes.Error, "")
		}
		c.span.End()
	}
}

// codeOf is the code of an error that a client returns.
func codeOf(err error) int {
	if err == nil {
		return ok
	}
	if e, is := errors.AsType[*microerrors.Error](err); is {
		return int(e.Code)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return 408
	}
	return 500
}

// target returns the series of an endpoint. Reading takes no lock, as almost every call finds what it looks for.
func (r *Recorder) target(service, endpoint string) *series {
	t := target{service, endpoint}
	if s, ok := (*r.targets.Load())[t]; ok {
		return s
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	known := *r.targets.Load()
	if s, ok := known[t]; ok {
		return s
	}
	if len(known) >= maxTargets {
		t = target{Unknown, Unknown}
		if s, ok := known[t]; ok {
			return s
		}
	}
	next := make(map[target]*series, len(known)+1)
	for k, v := range known {
		next[k] = v
	}
	next[t] = r.client.of(t.service, t.endpoint)
	r.targets.Store(&next)
	return next[t]
}

// connectionStates are the states that a connection can be in and still be there.
var connectionStates = []string{"IDLE", "CONNECTING", "READY", "TRANSIENT_FAILURE"}

// Connection says that a connection to a service has changed from one state to another, such as "READY" in the words of
// gRPC's connectivity package. One that is new has no state before, one that is gone has none after: "".
func (r *Recorder) Connection(service, before, after string) {
	if before != "" {
		r.connects.WithLabelValues(service, before).Dec()
	} else { // a state that no connection has been seen in is 0, not missing
		for _, state := range connectionStates {
			r.connects.WithLabelValues(service, state)
		}
	}
	if after != "" {
		r.connects.WithLabelValues(service, after).Inc()
	}
}
