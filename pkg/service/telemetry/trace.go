package telemetry

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"

	"go.opentelemetry.io/otel/trace"

	"github.com/m3o/backend/pkg/service/internal/lookup"
)

// Header is the name of the header in which a trace travels, by W3C Trace Context, as gRPC has it.
const Header = "traceparent"

// incoming returns the trace of a call that has come; one that is not valid if it carries none.
func incoming(ctx context.Context) trace.SpanContext {
	if v := lookup.Incoming(ctx)[Header]; len(v) == 1 {
		sc, _ := Parse(v[0])
		return sc
	}
	return trace.SpanContext{}
}

// TraceOf returns the trace that a context belongs to: that of its span if there is one, else that of the call being
// answered. It is not valid when there is neither.
func TraceOf(ctx context.Context) trace.SpanContext {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		return sc
	}
	if c := CallFrom(ctx); c != nil {
		return c.trace
	}
	return trace.SpanContext{}
}

// TraceID returns the id of the trace that a context belongs to, in hexadecimal, as log lines have it; empty if none.
func TraceID(ctx context.Context) string {
	if sc := TraceOf(ctx); sc.IsValid() {
		return sc.TraceID().String()
	}
	return ""
}

// newTrace begins a trace, which nobody records. A span id is part of the header even so.
func newTrace() trace.SpanContext {
	var t trace.TraceID
	var s trace.SpanID
	for !t.IsValid() || !s.IsValid() {
		// Anybody may know the id of a trace; it must only be nobody else's.
		binary.LittleEndian.PutUint64(t[:8], rand.Uint64()) //nolint:gosec // not a secret
		binary.LittleEndian.PutUint64(t[8:], rand.Uint64()) //nolint:gosec // not a secret
		binary.LittleEndian.PutUint64(s[:], rand.Uint64())  //nolint:gosec // not a secret
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: t, SpanID: s, TraceFlags: trace.FlagsRandom, Remote: true})
}

// Lengths and places in a header of version 00: "00-<32 digits>-<16 digits>-<2 digits>".
const (
	traceAt, spanAt, flagsAt = 3, 36, 53
	headerLength             = 55
)

// Parse reads a traceparent header. A version later than ours may have more at the end, of which nothing is known.
func Parse(header string) (trace.SpanContext, bool) {
	if len(header) < headerLength || header[traceAt-1] != '-' || header[spanAt-1] != '-' || header[flagsAt-1] != '-' {
		return trace.SpanContext{}, false
	}
	version, ok := octet(header[:2])
	if !ok || version == 0xff ||
		version == 0 && len(header) > headerLength ||
		len(header) > headerLength && header[headerLength] != '-' {
		return trace.SpanContext{}, false
	}
	id, err := trace.TraceIDFromHex(header[traceAt : spanAt-1])
	if err != nil {
		return trace.SpanContext{}, false
	}
	span, err := trace.SpanIDFromHex(header[spanAt : flagsAt-1])
	if err != nil {
		return trace.SpanContext{}, false
	}
	flags, ok := octet(header[flagsAt:headerLength])
	if !ok {
		return trace.SpanContext{}, false
	}
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: span, TraceFlags: trace.TraceFlags(flags) & (trace.FlagsSampled | trace.FlagsRandom), Remote: true,
	}), true
}

// octet reads two hexadecimal digits, of which the standard allows the lower case alone.
func octet(s string) (byte, bool) {
	var n byte
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			n = n<<4 | (c - '0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | (c - 'a' + 10)
		default:
			return 0, false
		}
	}
	return n, true
}

// Format writes a trace as a traceparent header.
func Format(sc trace.SpanContext) string {
	var b [headerLength]byte
	copy(b[:], "00-")
	id, span := sc.TraceID(), sc.SpanID()
	hex.Encode(b[traceAt:], id[:])
	b[spanAt-1] = '-'
	hex.Encode(b[spanAt:], span[:])
	b[flagsAt-1] = '-'
	hex.Encode(b[flagsAt:], []byte{byte(sc.TraceFlags())})
	return string(b[:])
}
