package upstream

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter is the longest wait that an upstream can ask of visitors.
const maxRetryAfter = time.Hour

// RetryAfter reads the Retry-After header (RFC 9110, § 10.2.3), which is a number of seconds or a date. It returns how
// long to wait from now on, at most one hour. ok is false if the header is missing or malformed.
//
// A date counts from the response's own Date, because the upstream's clock may be wrong. It counts from now if there is
// no such Date. The first of several values is used: a proxy on the way may have added its own.
func RetryAfter(header http.Header, now time.Time) (wait time.Duration, ok bool) {
	value, next := firstValue(header.Values("Retry-After"))
	if wait, ok := readSeconds(value); ok {
		return wait, true
	}
	at, ok := readDate(value)
	if !ok {
		at, ok = readDate(value + ", " + next) // the comma follows a weekday
	}
	if !ok {
		return 0, false
	}
	if sent, ok := readDate(header.Get("Date")); ok {
		now = sent
	}
	return min(max(at.Sub(now), 0), maxRetryAfter), true
}

// firstValue returns the first element of a header's comma-separated lists, and the element after it in the same list.
// It skips empty elements, as RFC 9110, § 5.6.1, demands.
func firstValue(lists []string) (value, next string) {
	for _, rest := range lists {
		for more := true; more; {
			value, rest, more = strings.Cut(rest, ",")
			if value = strings.Trim(value, " \t"); value != "" {
				next, _, _ = strings.Cut(rest, ",")
				return value, strings.Trim(next, " \t")
			}
		}
	}
	return "", ""
}

// readSeconds reads a number of seconds. It accepts a decimal fraction, which real upstreams send, and rounds it up to
// a whole second. It refuses signs, exponents and units: the RFC has none, and a guess could be wrong.
func readSeconds(value string) (wait time.Duration, ok bool) {
	whole, fraction, _ := strings.Cut(value, ".")
	if whole+fraction == "" || !isDigits(whole) || !isDigits(fraction) {
		return 0, false
	}
	const longest = uint64(maxRetryAfter / time.Second)
	seconds := uint64(0)
	if whole != "" {
		seconds, _ = strconv.ParseUint(whole, 10, 64) // the largest number there is, if it has more than 64 bits
	}
	if seconds < longest && strings.Trim(fraction, "0") != "" {
		seconds++
	}
	return time.Duration(min(seconds, longest)) * time.Second, true
}

func isDigits(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < '0' || r > '9' })
}

// readDate reads a date in one of the three forms of RFC 9110, § 5.6.7. All of them are in GMT. Only the form of asctime
// does not say so. http.ParseTime would read the name of another zone as GMT.
func readDate(value string) (at time.Time, ok bool) {
	for _, zone := range []string{" +0000", " -0000", " UTC"} { // some libraries write GMT so
		if rest, ok := strings.CutSuffix(value, zone); ok {
			value = rest + " GMT"
		}
	}
	at, err := http.ParseTime(value)
	if err != nil || strings.Contains(value, ",") && !strings.HasSuffix(value, " GMT") {
		return time.Time{}, false
	}
	return at, true
}
