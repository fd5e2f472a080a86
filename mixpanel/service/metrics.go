package service

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what operators are shown beside those of events.
type metrics struct {
	events   *prometheus.CounterVec
	requests *prometheus.CounterVec
	duration prometheus.Histogram
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mixpanel_events_total", Help: "Events as Mixpanel counts them, by topic and by what has become of them; refused are those of the platform.",
		}, []string{"topic", "result"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mixpanel_requests_total", Help: "Requests to Mixpanel, by the code of the answer; 0 when there was none.",
		}, []string{"code"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mixpanel_request_seconds", Help: "How long requests to Mixpanel have taken.",
			Buckets: []float64{.005, .025, .1, .25, .5, 1, 2.5, 5, 10},
		}),
	}
	if registerer == nil {
		return m, nil
	}
	return m, errors.Join(registerer.Register(m.events), registerer.Register(m.requests), registerer.Register(m.duration))
}
