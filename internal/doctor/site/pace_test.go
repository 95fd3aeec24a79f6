package site

import (
	"slices"
	"testing"
	"time"
)

// every returns the times of n events, the first after wait and the others with pauses in turn.
func every(sent time.Time, n int, wait time.Duration, pauses ...time.Duration) []time.Time {
	at := []time.Time{sent.Add(wait)}
	for i := 1; i < n; i++ {
		at = append(at, at[i-1].Add(pauses[(i-1)%len(pauses)]))
	}
	return at
}

func TestRhythm(t *testing.T) {
	const ms = time.Millisecond
	sent := time.Now()
	nine := slices.Repeat([]time.Duration{0}, 9)
	flood := slices.Repeat([]time.Duration{8 * ms}, 99)
	for name, tc := range map[string]struct {
		arrivals []time.Time
		want     rhythm
	}{
		"nothing":                      {nil, unclear},
		"only a finish":                {every(sent, 1, 3*time.Second), unclear},
		"a few events at once":         {every(sent, 4, 3*time.Second, 0), unclear},
		"a fast upstream":              {every(sent, 100, 2*ms, 0), unclear},
		"fast after a short wait":      {every(sent, 20, 700*ms, 0), unclear},
		"thinking, then writing fast":  {every(sent, 12, 2*time.Second, 3*ms), unclear},
		"an assistant":                 {every(sent, 40, 400*ms, 30*ms), oneByOne},
		"a slow one":                   {every(sent, 10, 2*time.Second, time.Second), oneByOne},
		"a long flood":                 {every(sent, 1000, 10*ms, 2*ms), oneByOne},
		"a flood with hiccups":         {every(sent, 300, 10*ms, append(flood, 600*ms)...), oneByOne},
		"a few events in each batch":   {every(sent, 40, 400*ms, 0, 0, 120*ms), oneByOne},
		"held back to the end":         {every(sent, 31, 1300*ms, 0), allAtOnce},
		"a long one over several hops": {every(sent, 400, 10*time.Second, 100*time.Microsecond), allAtOnce},
		"batches of ten":               {every(sent, 60, 700*ms, append(nine, 700*ms)...), inBatches},
		"batches of ten, soon":         {every(sent, 60, 100*ms, append(nine, 100*ms)...), oneByOne},
	} {
		if got := paceOf(sent, tc.arrivals).rhythm(); got != tc.want {
			t.Errorf("%s: got %d, want %d: %+v", name, got, tc.want, paceOf(sent, tc.arrivals))
		}
	}
}
