package gateway

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/m3o/backend/pkg/gateway/journal"
)

// metrics are what operators are shown of the gateway.
type metrics struct {
	calls      map[string]prometheus.Counter // by result
	unasked    *prometheus.CounterVec
	uncounted  prometheus.Counter
	recorded   prometheus.Counter
	duplicates prometheus.Counter
	batches    prometheus.Counter
	failed     prometheus.Counter
	setAside   prometheus.Counter
	damaged    prometheus.Counter
	// oldest is when the oldest call was made that is being handed on, in nanoseconds since 1970; 0 when there is none.
	oldest atomic.Int64
}

func newMetrics(registerer prometheus.Registerer, clock func() time.Time, j *journal.Journal) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "gateway_" + name + "_total", Help: help})
	}
	calls := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gateway_calls_total", Help: "Calls with an API key, by whether they were let through, or why not.",
	}, []string{"result"})
	m := &metrics{
		calls: make(map[string]prometheus.Counter),
		unasked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gateway_undecided_total", Help: "Calls that were not let through, by what could not be asked for.",
		}, []string{"about"}),
		uncounted:  counter("uncounted", "Calls that were answered by their service and could not be counted; their callers have no answer."),
		recorded:   counter("recorded", "Calls that usage has accepted."),
		duplicates: counter("duplicates", "Calls that usage knew already."),
		batches:    counter("batches", "Batches of calls that usage has taken."),
		failed:     counter("batches_failed", "Attempts to hand a batch on that are made again."),
		setAside:   counter("set_aside", "Calls that usage refuses, which are in a file and not counted."),
		damaged:    counter("damaged_bytes", "Bytes of the journal that could not be read: they are in a file, or still where they were, or have vanished."),
	}
	for _, result := range results {
		m.calls[result] = calls.WithLabelValues(result)
	}
	if registerer == nil {
		return m, nil
	}
	var err error
	for _, c := range []prometheus.Collector{
		calls, m.unasked, m.uncounted, m.recorded, m.duplicates, m.batches, m.failed, m.setAside, m.damaged,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gateway_journal_bytes", Help: "Bytes of the disk that are taken by calls which usage has not been told of, or promised to them.",
		}, func() float64 { return float64(j.Bytes()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gateway_journal_age_seconds", Help: "How old the oldest call is that usage has not been told of.",
		}, func() float64 { return m.age(clock()) }),
	} {
		err = errors.Join(err, registerer.Register(c))
	}
	return m, err
}

// age is how old the oldest call is that is being handed on, in seconds.
func (m *metrics) age(now time.Time) float64 {
	oldest := m.oldest.Load()
	if oldest == 0 {
		return 0
	}
	return now.Sub(time.Unix(0, oldest)).Seconds()
}

// unanswered counts a call about which something could not be asked for.
func (m *metrics) unanswered(about string) { m.unasked.WithLabelValues(about).Inc() }
