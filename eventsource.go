package illumichat

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/sse"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
)

// isEventSource reports whether a browser's EventSource sends r. It accepts event streams only (HTML Standard, § 9.2.2).
// It names the stream in the query, because it cannot set a header. Other clients that accept only event streams, such as
// fetch-event-source, can read a status.
func isEventSource(r *http.Request) bool {
	return r.Header.Get("Accept") == sse.MediaType && r.URL.Query().Has("stream")
}

// isTemporary reports whether the same request may succeed in a moment. It cannot if the answer itself has failed.
func isTemporary(e *apierror.Error) bool {
	return !e.Repeated && (e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable)
}

// sendRetry sends an empty event stream that asks an EventSource to come back later. After an error status, an
// EventSource would give up for good. The request counts as failed nevertheless.
func (m *resumer) sendRetry(w http.ResponseWriter, c *telemetry.Record, e *apierror.Error) {
	noteError(m.log, c, e)
	wait := time.Second
	if seconds, err := strconv.Atoi(e.Header.Get("Retry-After")); err == nil && seconds > 0 {
		wait = time.Duration(seconds) * time.Second
	}
	header := w.Header()
	header.Set("Content-Type", sse.MediaType)
	header.Set("Cache-Control", "no-store, no-transform")
	fmt.Fprintf(w, "retry: %d\n\n", wait.Milliseconds())
}
