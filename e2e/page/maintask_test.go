package page

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	cdptracing "github.com/chromedp/cdproto/tracing"
	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// traceEvent is what Chromium records about one thing that a thread did.
type traceEvent struct {
	Name    string `json:"name"`
	Process int    `json:"pid"`
	Thread  int    `json:"tid"`
	CPU     int64  `json:"tdur"` // µs that the thread ran for it, without what other threads and programs took
	Args    struct {
		Name string `json:"name"`
	} `json:"args"`
}

// longestTask returns how long pages ran at a time, at most, without letting the browser draw or react, while do ran. It counts
// the time on the processor, so it does not depend on what else the machine does.
func (b *browser) longestTask(do func()) time.Duration {
	b.tb.Helper()
	var mu sync.Mutex
	var events []traceEvent
	complete := make(chan struct{})
	listening, stopListening := context.WithCancel(b.tab)
	defer stopListening()
	if err := chromedp.Listen(listening, func(event any) {
		switch e := event.(type) {
		case *cdptracing.EventDataCollected:
			mu.Lock()
			defer mu.Unlock()
			for _, value := range e.Value {
				var event traceEvent
				if json.Unmarshal(value, &event) == nil {
					events = append(events, event)
				}
			}
		case *cdptracing.EventTracingComplete:
			close(complete)
		}
	}); err != nil {
		b.tb.Fatal(err)
	}
	call(b, cdptracing.Start, cdptracing.StartParams{TraceConfig: &cdptracing.TraceConfig{IncludedCategories: []string{"toplevel", "devtools.timeline", "__metadata"}}})
	do()
	call(b, cdptracing.End, cdp.Empty{})
	sitetest.Within(b.tb, time.Minute, "Chromium completes its trace", func() bool {
		select {
		case <-complete:
			return true
		default:
			return false
		}
	})

	mu.Lock()
	defer mu.Unlock()
	type thread struct{ process, thread int }
	pages := make(map[thread]bool)
	for _, e := range events {
		if e.Name == "thread_name" && e.Args.Name == "CrRendererMain" {
			pages[thread{e.Process, e.Thread}] = true
		}
	}
	var longest int64
	tasks := 0
	for _, e := range events {
		if pages[thread{e.Process, e.Thread}] && e.CPU > 0 {
			tasks++
			longest = max(longest, e.CPU)
		}
	}
	if tasks == 0 {
		b.tb.Fatalf("the trace has no task of a page among %d events", len(events))
	}
	return time.Duration(longest) * time.Microsecond
}

// calibration is JavaScript that takes 1 ms on the machine for which the limits of these tests were chosen. It returns how many
// ms it takes here: the least of many attempts, each shorter than what the system gives a thread at a time. So it does not depend
// on what else the machine does.
const calibration = `(() => {
	const once = () => {
		const start = performance.now();
		let sum = 0;
		for (let i = 0; i < 500_000; i++) sum = (sum * 31 + i) | 0;
		return [performance.now() - start, sum];
	};
	return Math.min(...Array.from({ length: 300 }, () => once()[0]));
})()`

// slowness returns how many times slower this machine is than the one for which the limits of these tests were chosen.
func (b *browser) slowness() float64 {
	b.tb.Helper()
	return max(1, eval[float64](b, calibration))
}
