package events

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what operators are shown of the events of a service.
type metrics struct {
	waiting   prometheus.Gauge
	published prometheus.Counter
	handled   *prometheus.CounterVec
	repeated  *prometheus.CounterVec
	retried   *prometheus.CounterVec
	died      *prometheus.CounterVec
	late      *prometheus.CounterVec
	gaps      *prometheus.CounterVec
	delay     *prometheus.HistogramVec
	letters   *prometheus.GaugeVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "events_" + name + "_total", Help: help}, []string{"consumer"})
	}
	m := &metrics{
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "events_outbox_waiting", Help: "Events that are not published yet.",
		}),
		published: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "events_published_total", Help: "Events that were published, those among them that were published again.",
		}),
		handled:  counter("handled", "Events whose effect was committed."),
		repeated: counter("repeated", "Events that had been taken in before and were passed over."),
		retried:  counter("retried", "Attempts that failed and are made again later."),
		died:     counter("died", "Events that were given up."),
		late:     counter("late", "Events that came after others that were to come after them."),
		gaps:     counter("gaps", "Events whose predecessor has not come in time."),
		delay: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "events_delay_seconds", Help: "How old the oldest of the events handled at once was when it was handled.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .5, 1, 5, 30, 300, 3600},
		}, []string{"consumer"}),
		letters: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "events_letters", Help: "Events that are kept by a consumer: too early, to be tried again, or dead.",
		}, []string{"consumer", "state"}),
	}
	if registerer == nil {
		return m, nil
	}
	var err error
	for _, c := range []prometheus.Collector{
		m.waiting, m.published, m.handled, m.repeated, m.retried, m.died, m.late, m.gaps, m.delay, m.letters,
	} {
		err = errors.Join(err, registerer.Register(c))
	}
	return m, err
}
