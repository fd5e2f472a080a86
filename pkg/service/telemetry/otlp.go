package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// The variables that switch tracing on. The SDK and its exporter read them and the others of OpenTelemetry's
// specification (sampler, headers, certificates, batches) themselves.
const (
	otlpEndpoint       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	otlpTracesEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
)

// flushTimeout is how long a process that ends waits for its last spans to be taken.
const flushTimeout = 3 * time.Second

// Tracing exports spans by OTLP over HTTP.
type Tracing struct {
	provider *sdk.TracerProvider
	log      *slog.Logger
}

// StartTracing starts to export the spans of a service, when the environment says where to: OTEL_EXPORTER_OTLP_ENDPOINT
// or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT. Else it returns nil, which is a Tracing whose Tracer is nil. A collector that is
// away delays nothing: spans are kept for a while and then dropped, and the log says so.
func StartTracing(ctx context.Context, service, version string, log *slog.Logger) (*Tracing, error) {
	set := false
	for _, name := range []string{otlpEndpoint, otlpTracesEndpoint} {
		value := os.Getenv(name)
		if value == "" {
			continue
		}
		set = true
		// The exporter would go to its default address, without a word.
		if u, err := url.Parse(value); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("%s: expected a URL such as http://127.0.0.1:4318", name)
		}
	}
	if !set {
		return nil, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, errors.New("setting up the OTLP exporter failed: check the OTEL_ environment variables")
	}
	described, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithFromEnv(), resource.WithAttributes(
		attribute.String("service.name", service), attribute.String("service.version", version)))
	if err != nil {
		return nil, errors.New("OTEL_RESOURCE_ATTRIBUTES: expected key=value pairs, separated by commas")
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("spans were not exported", "cause", err)
	}))
	return &Tracing{provider: sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(described)), log: log}, nil
}

// Tracer is what makes the spans; nil when there is no tracing.
func (t *Tracing) Tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer("github.com/m3o/backend/pkg/service/telemetry")
}

// Stop exports what has not been, for a few seconds at most. What cannot be exported is lost, which is no failure of the
// process.
func (t *Tracing) Stop() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn("the last spans were not exported", "cause", err)
	}
}
