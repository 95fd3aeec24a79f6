package telemetry

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
)

func TestGapBucket(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	check := func(gap time.Duration) {
		t.Helper()
		want := 0
		// In 1/1024 ns, the bounds are whole numbers.
		for want < gapBuckets-1 && uint64(gap)*1024 > uint64(time.Second)<<want {
			want++
		}
		if got := gapBucket(gap); got != want {
			t.Errorf("%v: got bucket %d, want %d", gap, got, want)
		}
	}
	for bound := range gapBuckets {
		gap := time.Second << bound / 1024
		for _, near := range []time.Duration{-1, 0, 1} {
			check(gap + near)
		}
	}
	check(0)
	check(time.Hour)
	for range 10_000 {
		check(time.Duration(random.Int64N(1 << random.IntN(42))))
	}
}

// Classic and native buckets show the same gaps.
func TestGapCollector(t *testing.T) {
	c := newGapCollector("gap_seconds", "")
	var one, other Gaps
	one.Note(5*time.Second, 1)           // the first event has no gap
	one.Note(5*time.Second, 1)           // no new event
	one.Note(6*time.Second, 2)           // 1 s
	one.Note(6*time.Second+1, 5)         // 1 ns, then two gaps of 0
	one.Note(3006*time.Second, 6)        // 3000 s, longer than the last bound
	other.Note(time.Second, 3)           // the first event, then two gaps of 0
	other.Note(1500*time.Millisecond, 4) // 0.5 s
	c.merge(&one)
	c.merge(&other)
	c.merge(new(Gaps))

	var metric dto.Metric
	if err := c.Write(&metric); err != nil {
		t.Fatal(err)
	}
	h := metric.Histogram
	if h.GetSampleCount() != 8 || math.Abs(h.GetSampleSum()-3001.5) > 1e-6 {
		t.Errorf("got %d gaps of %v s", h.GetSampleCount(), h.GetSampleSum())
	}
	for _, bucket := range h.Bucket {
		want := uint64(5)
		if bucket.GetUpperBound() >= 0.5 {
			want++
		}
		if bucket.GetUpperBound() >= 1 {
			want++
		}
		if bucket.GetCumulativeCount() != want {
			t.Errorf("%d gaps are not above %v s, want %d", bucket.GetCumulativeCount(), bucket.GetUpperBound(), want)
		}
	}
	if first, last := h.Bucket[0].GetUpperBound(), h.Bucket[len(h.Bucket)-1].GetUpperBound(); first != 1.0/1024 || last != 1024 {
		t.Errorf("the bounds are %v to %v", first, last)
	}

	if h.GetSchema() != 0 || h.GetZeroThreshold() != 1.0/1024 || h.GetZeroCount() != 5 || len(h.PositiveSpan) != 1 {
		t.Errorf("the native histogram is %v", h)
	}
	native := make(map[float64]int64) // by upper bound
	n := int64(0)
	for i, delta := range h.PositiveDelta {
		if n += delta; n > 0 {
			native[math.Ldexp(1, int(h.PositiveSpan[0].GetOffset())+i)] = n
		}
	}
	if len(native) != 3 || native[0.5] != 1 || native[1] != 1 || native[2048] != 1 {
		t.Errorf("the native buckets are %v", native)
	}
	if int(h.PositiveSpan[0].GetLength()) != len(h.PositiveDelta) {
		t.Errorf("there are %d native buckets, want %d", len(h.PositiveDelta), h.PositiveSpan[0].GetLength())
	}
}

// BenchmarkGaps measures what telemetry adds to the cost of an event, apart from two sums.
func BenchmarkGaps(b *testing.B) {
	var g Gaps
	b.ReportAllocs()
	now, events := time.Duration(0), int64(0)
	for b.Loop() {
		now += 20 * time.Millisecond
		events++
		g.Note(now, events)
	}
}
