package redisstore

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the metrics of all stores of the process. Each config has a registry of its own, which collects these
// same metrics.
var metrics = newMetricSet()

type metricSet struct {
	up       prometheus.GaugeFunc
	failures prometheus.Counter
	givenUp  prometheus.Counter
}

func newMetricSet() *metricSet {
	return &metricSet{
		up: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: metricName("redis_up"), Help: "Whether every Redis that is used can be reached.",
		}, allUp),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: metricName("redis_failures_total"), Help: "Calls to Redis that have failed.",
		}),
		givenUp: prometheus.NewCounter(prometheus.CounterOpts{
			Name: metricName("redis_unshared_total"), Help: "Answers that could not be resumed at other instances, because Redis did not take them.",
		}),
	}
}

func metricName(name string) string { return prometheus.BuildFQName("caddy", "illumichat", name) }

// register lets a config's registry collect the metrics. Another store of the same config may have done so already.
func (m *metricSet) register(registry *prometheus.Registry) error {
	for _, collector := range []prometheus.Collector{m.up, m.failures, m.givenUp} {
		err := registry.Register(collector)
		if _, registered := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !registered {
			return err
		}
	}
	return nil
}

// allUp returns 1 if every store can reach its Redis, else 0.
func allUp() float64 {
	up := 1.0
	stores.Range(func(_, value any) bool {
		if value.(*redisStore).link.anyDown() {
			up = 0
		}
		return true
	})
	return up
}
