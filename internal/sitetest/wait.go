package sitetest

import (
	"context"
	"testing"
	"time"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

// Patience bounds a wait for what is expected to come soon.
const Patience = 10 * time.Second

// Eventually waits for a condition.
func Eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	Within(tb, Patience, what, condition)
}

// Within waits for a condition that may take longer than others.
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
