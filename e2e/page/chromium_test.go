package page

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/require"
)

// shared is the Chromium that tests share, because it takes longer to start than most tests take. It starts with the first test
// that needs it, and again if it has crashed.
var shared struct {
	mu    sync.Mutex
	tab   context.Context // its first tab, which no test uses
	close context.CancelFunc
}

// openShared opens a tab in the shared Chromium. The tab has cookies, storage, a cache and connections of its own.
func openShared(tb testing.TB) (tab context.Context, closeTab context.CancelFunc) {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.tab != nil && isLost(shared.tab) {
		shared.close()
		shared.tab = nil
	}
	if shared.tab == nil {
		shared.tab, shared.close = startChromium(tb)
	}
	return chromedp.NewContext(shared.tab, chromedp.WithNewBrowserContext())
}

// closeShared ends the shared Chromium.
func closeShared() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.tab != nil {
		shared.close()
	}
}

// isLost reports whether the Chromium of a tab is gone.
func isLost(tab context.Context) bool {
	select {
	case <-chromedp.FromContext(tab).Browser.LostConnection:
		return true
	default:
		return false
	}
}

// startChromium starts a Chromium, and returns its first tab.
func startChromium(tb testing.TB, options ...chromedp.ExecAllocatorOption) (tab context.Context, closeAll context.CancelFunc) {
	tb.Helper()
	options = slices.Concat(chromedp.DefaultExecAllocatorOptions[:], []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(require.Program(tb, "chromium", "chromium-browser", "google-chrome")),
		chromedp.NoSandbox, // for root, Chromium does not start with its sandbox, and the pages are ours
		chromedp.DisableGPU,
		chromedp.WindowSize(1280, 800),
	}, options)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	tab, closeTab := chromedp.NewContext(allocator)
	closeAll = func() {
		closeTab()
		cancel()
	}
	if _, err := chromedp.Run(tab, chromedp.Navigate("about:blank")); err != nil {
		closeAll()
		tb.Fatalf("starting Chromium: %v", err)
	}
	return tab, closeAll
}
