package telemetry

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// metrics are the metrics of all handlers of the process. Caddy has a registry for each config. All registries get the
// same metrics, so a reload loses no counts.
var metrics = newMetricSet()

type metricSet struct {
	requests   *prometheus.CounterVec
	firstEvent *prometheus.HistogramVec
	duration   *prometheus.HistogramVec
	gaps       *gapCollector
	events     *prometheus.CounterVec
	bytes      *prometheus.CounterVec
	finishes   *prometheus.CounterVec
	tries      *prometheus.CounterVec
	refusals   *prometheus.CounterVec
	resumes    *prometheus.CounterVec
	abandoned  prometheus.Counter
	cancel     prometheus.Histogram
	streams    prometheus.GaugeFunc
	coolDown   coolDownCollector
	sources    atomic.Pointer[Sources]
}

// Sources provide the values of gauges when the metrics are collected.
type Sources struct {
	OpenStreams func() int         // how many chats are open
	CoolDowns   iter.Seq[CoolDown] // one for each assistant of a handler, even if it has no cool-down
}

// CoolDown says how long an assistant's cool-down still lasts.
type CoolDown struct {
	CoolDownLabels
	Left time.Duration // 0: there is none
}

// CoolDownLabels are the labels of a cool-down in metrics. Several cool-downs may have the same labels.
type CoolDownLabels struct {
	Endpoint  string // without the parts that could hold a secret
	Assistant string // its configured name, or "other"
}

func newMetricSet() *metricSet {
	m := new(metricSet)
	*m = metricSet{
		requests:   newCounter("requests_total", "Requests, by outcome.", "assistant", "outcome"),
		firstEvent: newHistogram("first_event_seconds", "Time from a request to the first event of its answer.", []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30}, "assistant"),
		duration:   newHistogram("duration_seconds", "Time from a request to its end.", []float64{.1, .5, 1, 2.5, 5, 10, 30, 60, 120}, "assistant", "outcome"),
		gaps:       newGapCollector(metricName("event_gap_seconds"), "Time between two events of an answer, counted at its end."),
		events:     newCounter("events_total", "Events sent to visitors.", "assistant"),
		bytes:      newCounter("bytes_total", "Bytes of answers sent to visitors.", "assistant"),
		finishes:   newCounter("finishes_total", "Finishes sent to visitors; those of the upstream have no cause.", "reason", "cause"),
		tries:      newCounter("tries_total", "Requests to the upstream, by outcome.", "outcome"),
		refusals:   newCounter("refusals_total", "Errors sent to visitors instead of an answer.", "code"),
		resumes:    newCounter("resumes_total", "Visitors who came back to an answer, by outcome.", "outcome"),
		abandoned: prometheus.NewCounter(prometheus.CounterOpts{
			Name: metricName("abandoned_total"), Help: "Answers that were cancelled because nobody came back to them.",
		}),
		cancel: prometheus.NewHistogram(histogramOpts("cancel_seconds", "Time between a visitor's disconnect and the cancellation of the upstream request.",
			prometheus.ExponentialBuckets(.0001, 4, 8))),
		streams: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: metricName("streams"), Help: "Chats that are open.",
		}, func() float64 { return float64(m.sources.Load().OpenStreams()) }),
		coolDown: coolDownCollector{m, prometheus.NewDesc(metricName("cool_down_seconds"),
			"Time until the upstream is asked again for an assistant, after it has limited the rate; 0 if there is no cool-down.",
			[]string{"endpoint", "assistant"}, nil)},
	}
	m.begin()
	return m
}

// begin creates the series that alerts use, at 0: Prometheus sees no increase in a series that begins with 1.
func (m *metricSet) begin() {
	for _, code := range apierror.Codes() {
		m.refusals.WithLabelValues(code.String())
	}
	for _, label := range []string{tryAnswered, "unauthorized", "blocked", "no_chat", "rate_limited", "server_error", "client_error", "left"} {
		m.tries.WithLabelValues(label)
	}
	for _, i := range apierror.Interruptions() {
		if i.TryLabel != "" {
			m.tries.WithLabelValues(i.TryLabel)
		}
		if i != apierror.Abandoned { // nobody gets the finish of an abandoned answer
			m.finishes.WithLabelValues(i.FinishReason(), i.Code.String())
		}
	}
	for _, reason := range []string{"stop", "length", "error", "other"} {
		m.finishes.WithLabelValues(reason, "")
	}
	for _, label := range []string{ResumeGoesOn, ResumeEnded, ResumeUnknown} {
		m.resumes.WithLabelValues(label)
	}
}

// BeginAssistants creates the series of requests to a handler's assistants, at 0. Prometheus sees no increase in a
// series that begins with 1. labels are the assistants' labels.
func BeginAssistants(labels []string) {
	for _, label := range labels {
		for _, o := range []Outcome{OutcomeRefused, OutcomeFailed, OutcomeAnswered, OutcomeBroken, OutcomeLeft} {
			metrics.requests.WithLabelValues(label, string(o))
		}
	}
}

func metricName(name string) string { return prometheus.BuildFQName("caddy", "illumichat", name) }

func newCounter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricName(name), Help: help}, labels)
}

func newHistogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(histogramOpts(name, help, buckets), labels)
}

// histogramOpts returns the options of a histogram that Prometheus can scrape with classic buckets or as a native one.
func histogramOpts(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: metricName(name), Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

// Register adds the metrics to a config's registry. It is not an error if another handler of the config has added them.
// The sources are those of the process, the same at each call.
func Register(registry *prometheus.Registry, sources Sources) error {
	m := metrics
	m.sources.Store(&sources)
	for _, collector := range []prometheus.Collector{
		m.requests, m.firstEvent, m.duration, m.gaps, m.events, m.bytes, m.finishes, m.tries, m.refusals, m.resumes, m.abandoned, m.cancel, m.streams, m.coolDown,
	} {
		err := registry.Register(collector)
		if _, registered := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !registered {
			return err
		}
	}
	return nil
}

// observe counts a request that has ended.
func (m *metricSet) observe(c *Record) {
	m.requests.WithLabelValues(c.Label, string(c.Outcome)).Inc()
	m.duration.WithLabelValues(c.Label, string(c.Outcome)).Observe(time.Since(c.Start).Seconds())
	if c.Code != "" {
		m.refusals.WithLabelValues(c.CodeLabel).Inc()
	}
	if c.FirstEvent > 0 {
		m.firstEvent.WithLabelValues(c.Label).Observe(c.FirstEvent.Seconds())
	}
	if c.Bytes > 0 {
		m.events.WithLabelValues(c.Label).Add(float64(c.Events))
		m.bytes.WithLabelValues(c.Label).Add(float64(c.Bytes))
	}
	if c.Outcome == OutcomeBroken && c.FinishReason != "" || c.Outcome == OutcomeAnswered && c.FirstEvent > 0 || c.Cause == apierror.Stopped.Code.String() {
		m.finishes.WithLabelValues(reasonLabel(c.FinishReason), c.Cause).Inc()
	}
	if c.Cancelled > 0 {
		m.cancel.Observe(c.Cancelled.Seconds())
	}
}

// reasonLabel returns a finishReason if the API documents it, else "other", so that the labels are a closed set.
func reasonLabel(reason string) string {
	switch reason {
	case "stop", "length", "error":
		return reason
	}
	return "other"
}

// The labels of visitors who come back to an answer, for [Resumed].
const (
	ResumeGoesOn  = "resumed"   // the visitor gets the rest
	ResumeEnded   = "ended"     // nothing is left of the answer
	ResumeUnknown = "not_found" // the visitor has no such answer
)

// tryAnswered is the label of an attempt whose answer is passed on.
const tryAnswered = "answered"

// Resumed counts a visitor who came back to an answer. outcome is ResumeGoesOn, ResumeEnded or ResumeUnknown.
func Resumed(outcome string) { metrics.resumes.WithLabelValues(outcome).Inc() }

// Abandoned counts an answer that was cancelled because no visitor came back to it.
func Abandoned() { metrics.abandoned.Inc() }

// tryLabel returns the label of an attempt that ended with err, or was answered if err is nil. ctx is the context of
// the exchange.
func tryLabel(ctx context.Context, err error) string {
	if cause := context.Cause(ctx); cause != nil {
		if _, ours := errors.AsType[*apierror.Interruption](cause); !ours {
			return "left"
		}
	}
	if b, ok := errors.AsType[*apierror.Interruption](err); ok {
		return b.TryLabel
	}
	e, ok := errors.AsType[*apierror.Error](err)
	switch {
	case !ok:
		return tryAnswered
	case e.Upstream == 0 && e.Code == apierror.CodeUnauthorizedUpstream:
		return "unauthorized"
	case e.Upstream == 0 && e.Code == apierror.CodeBlockedUpstream:
		return "blocked"
	case e.Upstream == 0:
		return "no_chat"
	case e.Upstream == http.StatusTooManyRequests:
		return "rate_limited"
	case e.Upstream >= 500:
		return "server_error"
	}
	return "client_error"
}

// coolDownCollector collects how long the cool-down of each assistant still lasts.
type coolDownCollector struct {
	metrics *metricSet
	desc    *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c coolDownCollector) Describe(descs chan<- *prometheus.Desc) { descs <- c.desc }

// Collect implements prometheus.Collector. It sends one value for each endpoint and assistant: the longest, if
// several handlers or tokens have the same ones.
func (c coolDownCollector) Collect(collected chan<- prometheus.Metric) {
	longest := make(map[CoolDownLabels]time.Duration)
	for coolDown := range c.metrics.sources.Load().CoolDowns {
		longest[coolDown.CoolDownLabels] = max(longest[coolDown.CoolDownLabels], coolDown.Left)
	}
	for labels, left := range longest {
		collected <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, left.Seconds(), labels.Endpoint, labels.Assistant)
	}
}
