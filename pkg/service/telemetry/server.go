package telemetry

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Method is one endpoint that this process serves.
type Method struct {
	recorder *Recorder
	series   *series
	stream   bool
}

// Method returns what records the calls of an endpoint such as "Customers.Create" of a service. It is to be kept: one
// method has some twenty series. Streams are not called slow, as they may last.
func (r *Recorder) Method(service, endpoint string, stream bool) *Method {
	return &Method{recorder: r, series: r.server.of(service, endpoint), stream: stream}
}

// spanOptions are the attributes of a call, in the words of OpenTelemetry's conventions.
func spanOptions(kind trace.SpanKind, service, endpoint string) []trace.SpanStartOption {
	handler, method, _ := strings.Cut(endpoint, ".")
	return []trace.SpanStartOption{
		trace.WithSpanKind(kind),
		trace.WithAttributes(
			attribute.String("rpc.system", "grpc"),
			attribute.String("rpc.service", service+"."+handler),
			attribute.String("rpc.method", method),
		),
	}
}

// codeKey is the attribute of a span that has the code of the answer.
const codeKey = attribute.Key("rpc.micro.status_code")

// Call is a call that is being answered. It is the context of that call, which saves an allocation, and whoever has a
// context that was made of it finds it.
type Call struct {
	context.Context
	method *Method
	start  time.Time
	span   trace.Span // nil when there is no tracing
	trace  trace.SpanContext
	caller Caller

	mu               sync.Mutex
	reference, cause string
}

// Caller is what the log says of who calls: not who it is, if that is a person.
type Caller struct {
	// Kind is what the caller is, as "customer".
	Kind string
	// Service is the caller's name if it is a service.
	Service string
}

type callKey struct{}

// Begin says that a call has come. The trace is the caller's if the call carries one, else a new one.
func (m *Method) Begin(ctx context.Context) *Call {
	c := &Call{Context: ctx, method: m, start: time.Now(), trace: incoming(ctx)}
	m.series.inFlight.Inc()
	if m.recorder.tracer == nil {
		if !c.trace.IsValid() {
			c.trace = newTrace()
		}
		return c
	}
	if c.trace.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, c.trace)
	}
	c.Context, c.span = m.recorder.tracer.Start(ctx, m.series.span, m.series.options...)
	c.trace = c.span.SpanContext()
	return c
}

// Value finds the call itself, or what the context has.
func (c *Call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// CallFrom returns the call that a context belongs to; nil if it is none.
func CallFrom(ctx context.Context) *Call {
	c, _ := ctx.Value(callKey{}).(*Call)
	return c
}

// By says who makes the call, as soon as that is known.
func (c *Call) By(caller Caller) { c.caller = caller }

// Fail says why the call is going to fail, and the reference that the caller is told instead, if any. It is for the log alone.
func (c *Call) Fail(reference, cause string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reference, c.cause = reference, cause
}

// End says that the call was answered: with the code of a Micro error, or with 200. It has to be called once.
func (c *Call) End(code int) {
	took := time.Since(c.start)
	c.method.series.end(code, took)
	if c.span != nil {
		c.span.SetAttributes(codeKey.Int(code))
		if code >= 500 {
			c.span.SetStatus(codes.Error, "")
		}
		c.span.End()
	}
	c.write(code, took)
}

// write logs the call, if it is worth a line.
func (c *Call) write(code int, took time.Duration) {
	r, at, message, dropped := c.method.recorder, level(code), "call", 0
	switch {
	case code != ok:
		message = "call failed"
	case took >= r.slow && !c.method.stream:
		at, message = slog.LevelInfo, "slow call"
	}
	if !r.log.Enabled(c, at) {
		return
	}
	if at == slog.LevelInfo {
		var room bool
		if room, dropped = r.refused.take(c.start.Add(took)); !room {
			return
		}
	}
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs,
		slog.String("service", c.method.series.service),
		slog.String("endpoint", c.method.series.endpoint),
		slog.Int("code", code),
		slog.Float64("duration", took.Round(time.Microsecond).Seconds()),
		slog.String("trace", c.trace.TraceID().String()),
	)
	if c.caller.Kind != "" {
		attrs = append(attrs, slog.String("caller", c.caller.Kind))
	}
	if c.caller.Service != "" {
		attrs = append(attrs, slog.String("caller_service", c.caller.Service))
	}
	if dropped > 0 {
		attrs = append(attrs, slog.Int("not_logged", dropped))
	}
	c.mu.Lock()
	reference, cause := c.reference, c.cause
	c.mu.Unlock()
	if reference != "" {
		attrs = append(attrs, slog.String("reference", reference))
	}
	if cause != "" {
		attrs = append(attrs, slog.String("cause", cause))
	}
	r.log.LogAttrs(c, at, message, attrs...)
}
