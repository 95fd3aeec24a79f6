package sitetest

import (
	"context"
	"testing"
	"time"
)

// Patience is how long tests wait for something that should happen soon.
const Patience = 10 * time.Second

// Eventually waits until condition returns true, for at most Patience. If it does not, the test fails and names what.
func Eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	Within(tb, Patience, what, condition)
}

// Within is like Eventually, but waits for at most limit.
func Within(tb testing.TB, limit time.Duration, what string, condition func() bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), limit)
	defer cancel()
	for !condition() {
		select {
		case <-ctx.Done():
			tb.Fatalf("this did not happen in %s: %s", limit, what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}
