package page

import (
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	cdpheap "github.com/chromedp/cdproto/heapprofiler"
	cdpperformance "github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// metrics returns Chromium's counters and measurements of the tab since it was opened, after a garbage collection.
func (b *browser) metrics() map[string]float64 {
	b.tb.Helper()
	call(b, cdpheap.CollectGarbage, cdp.Empty{})
	metrics := make(map[string]float64)
	for _, m := range call(b, cdpperformance.GetMetrics, cdp.Empty{}).Metrics {
		metrics[m.Name] = m.Value
	}
	return metrics
}

// Long answers do not block the page. However many there are, each leaves nothing in memory but its text and its buttons.
func TestBrowserTakesLongAnswers(t *testing.T) {
	b := openBrowser(t)
	call(b, cdpperformance.Enable, cdpperformance.EnableParams{})
	server := sandboxtest.NewServer(t, sandbox.Options{Pace: time.Millisecond})
	b.open(sitetest.Serve(t, examplePage(t, server.URL, "")).Plain)
	eval[chromedp.Void](b, `
		globalThis.longest = 0;
		new PerformanceObserver((tasks) => {
			longest = Math.max(longest, ...tasks.getEntries().map((task) => task.duration));
		}).observe({ type: "longtask" });
	`)

	before := b.metrics()
	for range 3 {
		// About two seconds of text, with many events per frame.
		b.say("/events 10000 /burst 10")
		if got := b.answered(); got != "" {
			t.Fatalf("the answer ends with %q", got)
		}
		text := b.text()
		if want := asShown(numberedText(10_000)); text != want {
			t.Errorf("the answer differs: %s", sitetest.FirstDifference(text, want))
		}
		after := b.metrics()
		grown := func(name string) float64 { return after[name] - before[name] }
		t.Logf("%.0f KiB of heap, %.0f nodes, %.0f listeners, %.2f s of layout, %.2f s of script; longest task %.0f ms",
			grown("JSHeapUsedSize")/1024, grown("Nodes"), grown("JSEventListeners"), grown("LayoutDuration"), grown("ScriptDuration"),
			eval[float64](b, `longest`))
		// The page keeps the text twice: in the DOM, which is not part of this heap, and in the history that it sends next.
		if grown("JSHeapUsedSize") > 1<<20 || grown("Nodes") > 300 || grown("JSEventListeners") > 5 {
			t.Error("the page has grown by more than the answer")
		}
		before = after
	}
	// Users notice a task of more than 50 ms, but on a noisy machine tasks take far longer.
	if got := eval[float64](b, `longest`); got > 500 {
		t.Errorf("a task took %.0f ms", got)
	}
}
