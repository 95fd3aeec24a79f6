package site

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Caddy logs each request to the admin API, so the check sends few.
func TestAwaitAsksSeldom(t *testing.T) {
	var asked atomic.Int64
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, `[{"streams":{"open":0}}]`)
	}))
	defer admin.Close()
	c := newChecker(target{}, Options{Admin: strings.TrimPrefix(admin.URL, "http://")}, new(collected))
	ctx, cancel := context.WithTimeout(t.Context(), 350*time.Millisecond)
	defer cancel()
	if _, ok := c.await(ctx, func([]int) bool { return false }); ok {
		t.Error("the condition is true")
	}
	if n := asked.Load(); n < 1 || n > 4 {
		t.Errorf("the admin API was asked %d times in 350 ms", n)
	}
}
