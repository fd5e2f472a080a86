package telemetry

import (
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/trace"
)

// Unknown is the label value of what has no name of its own: an endpoint that does not exist, a code that is none.
const Unknown = "unknown"

// defaultSlow is how long a call may take before it is logged although it succeeds.
const defaultSlow = time.Second

// buckets are the upper bounds of the histograms in seconds: from what a call costs when nothing is done to Micro's
// timeout.
var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// Config says where a Recorder writes to. The zero value is good.
type Config struct {
	// Log takes a line for each call that failed or was slow, and at debug for every call; slog's default when nil.
	Log *slog.Logger
	// Tracer makes the spans; when nil none are made, and trace ids travel on all the same.
	Tracer trace.Tracer
	// Slow is how long a call may take before it is logged; a second when 0.
	Slow time.Duration
}

// Recorder records the calls that one process answers and makes. It is safe for concurrent use.
type Recorder struct {
	log      *slog.Logger
	tracer   trace.Tracer
	slow     time.Duration
	refused  limiter
	registry *prometheus.Registry
	server   vectors
	client   vectors
	connects *prometheus.GaugeVec

	mu      sync.Mutex // for adding a target
	targets atomic.Pointer[map[target]*series]
}

// New returns a Recorder that has recorded nothing.
func New(cfg Config) *Recorder {
	r := &Recorder{
		log: cfg.Log, tracer: cfg.Tracer, slow: cfg.Slow,
		registry: prometheus.NewRegistry(),
		server:   newVectors(trace.SpanKindServer, "answered", "service"),
		client:   newVectors(trace.SpanKindClient, "made", "target"),
		connects: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "rpc_client_connections", Help: "Connections to other services, by what they are doing.",
		}, []string{"target", "state"}),
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	if r.slow == 0 {
		r.slow = defaultSlow
	}
	r.targets.Store(&map[target]*series{})
	r.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
		r.server.calls, r.server.duration, r.server.inFlight,
		r.client.calls, r.client.duration, r.client.inFlight,
		r.connects,
	)
	return r
}

// Registry is where a service registers metrics of its own. Their labels must have few values: no ids, nothing personal.
func (r *Recorder) Registry() *prometheus.Registry { return r.registry }

// vectors are the metrics of one direction.
type vectors struct {
	kind     trace.SpanKind
	calls    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
}

func newVectors(kind trace.SpanKind, verb, peer string) vectors {
	prefix, labels := "rpc_"+kind.String(), []string{peer, "endpoint"}
	return vectors{
		kind: kind,
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "_calls_total", Help: "Calls that were " + verb + ", by the code of the answer; 200 is success.",
		}, append(labels[:2:2], "code")),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "_duration_seconds", Help: "How long calls that were " + verb + " took; a stream as long as it is open.",
			Buckets: buckets,
		}, labels),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "_in_flight", Help: "Calls that are going on.",
		}, labels),
	}
}

// series are the metrics of one endpoint, looked up once: finding them by their labels costs more than counting. The
// same goes for what its spans are made with.
type series struct {
	service, endpoint string
	span              string
	options           []trace.SpanStartOption
	calls             *prometheus.CounterVec
	ok                prometheus.Counter
	duration          prometheus.Observer
	inFlight          prometheus.Gauge
}

func (v vectors) of(service, endpoint string) *series {
	return &series{
		service: service, endpoint: endpoint,
		span: service + "/" + endpoint, options: spanOptions(v.kind, service, endpoint),
		calls:    v.calls,
		ok:       v.calls.WithLabelValues(service, endpoint, "200"),
		duration: v.duration.WithLabelValues(service, endpoint),
		inFlight: v.inFlight.WithLabelValues(service, endpoint),
	}
}

// end counts a call that has ended.
func (s *series) end(code int, took time.Duration) {
	s.inFlight.Dec()
	s.duration.Observe(took.Seconds())
	switch {
	case code == ok:
		s.ok.Inc()
	case code >= 400 && code < 600:
		s.calls.WithLabelValues(s.service, s.endpoint, strconv.Itoa(code)).Inc()
	default: // a foreign service may answer with any number
		s.calls.WithLabelValues(s.service, s.endpoint, Unknown).Inc()
	}
}

// ok is the code of a call that succeeded.
const ok = 200

// limiter lets a number of log lines a second through.
type limiter struct {
	mu      sync.Mutex
	second  int64
	lines   int
	dropped int
}

// maxRefusedLines is how many calls that were refused are logged in a second. Whoever is refused may call on as fast as
// they can; the metrics count all of it.
const maxRefusedLines = 100

// take tells whether there is room for a line, and how many lines had none since the last one.
func (l *limiter) take(now time.Time) (room bool, dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if second := now.Unix(); second != l.second {
		l.second, l.lines = second, 0
	}
	if l.lines >= maxRefusedLines {
		l.dropped++
		return false, 0
	}
	l.lines++
	dropped, l.dropped = l.dropped, 0
	return true, dropped
}

// level is where a call belongs in the log, by its code.
func level(code int) slog.Level {
	switch {
	case code == ok:
		return slog.LevelDebug
	case code >= 400 && code < 500:
		return slog.LevelInfo
	default:
		return slog.LevelError
	}
}
