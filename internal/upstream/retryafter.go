package upstream

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// maxRetryAfter is the longest wait that an upstream can ask of visitors.
const maxRetryAfter = time.Hour

// RetryAfter reads the Retry-After header (RFC 9110, § 10.2.3), which is a number of seconds or a date. It returns how
// long to wait from now on, at most one hour. ok is false if the header is missing or malformed.
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
