package telemetry

import (
	"math"
	"math/bits"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// The upper bounds of the buckets double from 1/1024 s to 1024 s. One more bucket holds the longer gaps.
const (
	firstGap   = -10 // the first bound is 2^firstGap seconds
	lastGap    = 10  // the last bound is 2^lastGap seconds
	gapBuckets = lastGap - firstGap + 2
)

// Gaps counts the times between the events of one stream. Each stream has its own Gaps, so an event takes no lock and
// never waits for another stream.
type Gaps struct {
	events  int64         // how many have come
	last    time.Duration // when the last event came
	sum     time.Duration
	buckets [gapBuckets]uint32
}

// Note counts the events that have come since the last call. events is the total so far, at the time now. All new
// events count as simultaneous, because reading the clock for each event would be expensive. The caller passes a time
// that it has anyway.
func (g *Gaps) Note(now time.Duration, events int64) {
	came := events - g.events
	if came <= 0 {
		return
	}
	if g.events > 0 {
		g.buckets[gapBucket(now-g.last)]++
		g.sum += now - g.last
	}
	g.buckets[0] += uint32(came - 1)
	g.events, g.last = events, now
}

// gapBucket returns the first bucket whose bound is not less than gap.
func gapBucket(gap time.Duration) int {
	units := (uint64(max(gap, 1))<<-firstGap - 1) / uint64(time.Second) // whole units of 1/1024 s that gap exceeds
	return min(bits.Len64(units), gapBuckets-1)
}

// gapCollector is the histogram of the gaps of all streams. Prometheus can scrape it with classic buckets or as a
// native histogram of schema 0. The bounds of schema 0 are the powers of two.
type gapCollector struct {
	desc *prometheus.Desc

	mu      sync.Mutex
	sum     float64
	buckets [gapBuckets]uint64
}

func newGapCollector(name, help string) *gapCollector {
	return &gapCollector{desc: prometheus.NewDesc(name, help, nil, nil)}
}

// merge adds the gaps of one stream, at its end.
func (c *gapCollector) merge(g *Gaps) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum += g.sum.Seconds()
	for i, n := range g.buckets {
		c.buckets[i] += uint64(n)
	}
}

// Describe implements prometheus.Collector.
func (c *gapCollector) Describe(descs chan<- *prometheus.Desc) { descs <- c.desc }

// Collect implements prometheus.Collector. The collector is its own and only metric.
func (c *gapCollector) Collect(collected chan<- prometheus.Metric) { collected <- c }

// Desc implements prometheus.Metric.
func (c *gapCollector) Desc() *prometheus.Desc { return c.desc }

// Write implements prometheus.Metric. It writes classic and native buckets.
func (c *gapCollector) Write(metric *dto.Metric) error {
	c.mu.Lock()
	sum, buckets := c.sum, c.buckets
	c.mu.Unlock()

	h := &dto.Histogram{
		SampleSum: &sum,
		// Gaps up to the first bound count as zero in the native histogram.
		Schema:        new(int32),
		ZeroThreshold: ptr(math.Ldexp(1, firstGap)),
		ZeroCount:     ptr(buckets[0]),
		PositiveSpan:  []*dto.BucketSpan{{Offset: ptr(int32(firstGap + 1)), Length: ptr(uint32(gapBuckets - 1))}},
	}
	var count uint64
	var before int64
	for i, n := range buckets {
		count += n
		if i > 0 {
			h.PositiveDelta = append(h.PositiveDelta, int64(n)-before)
			before = int64(n)
		}
		if i < gapBuckets-1 {
			h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: ptr(math.Ldexp(1, firstGap+i)), CumulativeCount: ptr(count)})
		}
	}
	h.SampleCount = &count
	metric.Histogram = h
	return nil
}

func ptr[T any](v T) *T { return &v }
