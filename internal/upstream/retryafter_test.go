package upstream

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"0":                    0,
		"7":                    7 * time.Second,
		"007":                  7 * time.Second,
		"3599":                 time.Hour - time.Second,
		"3601":                 time.Hour,
		"18446744073709551616": time.Hour, // more than 64 bits

		"Sun, 01 Mar 2026 12:01:30 GMT":  90 * time.Second,
		"Sunday, 01-Mar-26 12:01:30 GMT": 90 * time.Second, // the two obsolete forms
		"Sun Mar  1 12:01:30 2026":       90 * time.Second,
		"Sun, 01 Mar 2026 13:00:01 GMT":  time.Hour,
		"Fri, 31 Dec 9999 23:59:59 GMT":  time.Hour,
		"Sun, 01 Mar 2026 11:59:59 GMT":  0, // it is past

		"": -1, "-7": -1, "-99999999999999999999": -1, "+7": -1, "1.5": -1, "7s": -1, "7, 8": -1, "0x7": -1, "soon": -1,
		"2026-03-01T12:01:30Z": -1, "Sun, 01 Mar 2026 12:01:30 CET": -1,
	} {
		got, ok := RetryAfter(http.Header{"Retry-After": {value}}, now)
		if malformed := want < 0; ok == malformed || got != max(want, 0) {
			t.Errorf("%q: got %v, %t", value, got, ok)
		}
	}
	if got, ok := RetryAfter(nil, now); ok || got != 0 {
		t.Errorf("without the header: got %v, %t", got, ok)
	}
}

// An error passes on the upstream's Retry-After as seconds from now on, and tells the log the upstream's status.
func TestErrorRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		date := time.Now().UTC().Add(90 * time.Second).Format(http.TimeFormat)
		for value, want := range map[string]string{"7": "7", "0": "0", date: "90", "soon": ""} {
			_, e, _ := accept(503, http.Header{"Retry-After": {value}}, strings.NewReader(""))
			if e == nil || e.Upstream != 503 || e.Cause.Error() != "status 503" {
				t.Fatalf("%s: got %+v", value, e)
			}
			if got := e.Header.Get("Retry-After"); got != want || strconv.Itoa(int(e.RetryAfter.Seconds())) != cmp.Or(want, "0") {
				t.Errorf("%s: got %q and a pause of %v", value, got, e.RetryAfter)
			}
		}
	})
}
