package upstream

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// maxRetryAfter is the most that an upstream may have visitors wait.
const maxRetryAfter = time.Hour

// RetryAfter reads a Retry-After (RFC 9110, § 10.2.3): how long to wait, and whether the upstream said so.
func RetryAfter(header http.Header, now time.Time) (wait time.Duration, ok bool) {
	value := header.Get("Retry-After")
	if n, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(n, uint64(maxRetryAfter/time.Second))) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter), true
	}
	return 0, false
}
