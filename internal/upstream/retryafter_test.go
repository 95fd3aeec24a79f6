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

// malformed stands for a Retry-After that says nothing.
const malformed = -time.Second

// TestRetryAfter reads what upstreams send, and what they might.
func TestRetryAfter(t *testing.T) {
	const second = time.Second
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"0":                    0,
		"7":                    7 * second,
		"007":                  7 * second,
		"3599":                 time.Hour - second,
		"3601":                 time.Hour,
		"18446744073709551616": time.Hour, // more than 64 bits

		// A fraction is rounded up.
		"2.0": 2 * second, "2.": 2 * second, "299.997": 300 * second, "0.2": second, ".2": second, "0.0": 0, "00.000": 0,
		"1.00000000000000000000000000000000000001": 2 * second,
		"3599.5": time.Hour, "3600.5": time.Hour, "18446744073709551615.9": time.Hour, "18446744073709551616.0": time.Hour,

		// The first of several is used. Empty ones do not count.
		"120, 120": 120 * second, "120,60": 120 * second, "1.5 ,7": 2 * second, " 7\t": 7 * second, ", ,7": 7 * second, "7,": 7 * second,
		"7, Sun, 01 Mar 2026 12:01:30 GMT":                             7 * second,
		"Sun, 01 Mar 2026 12:01:30 GMT, 7":                             90 * second,
		"Sun, 01 Mar 2026 12:01:30 GMT, Sun, 01 Mar 2026 12:02:30 GMT": 90 * second,
		"Sun Mar  1 12:01:30 2026,7":                                   90 * second,
		"soon, 7":                                                      malformed,

		"Sun, 01 Mar 2026 12:01:30 GMT":  90 * second,
		"Sunday, 01-Mar-26 12:01:30 GMT": 90 * second, // the two obsolete forms
		"Sun Mar  1 12:01:30 2026":       90 * second,
		"Sun,01 Mar 2026 12:01:30 GMT":   90 * second,
		"Sun, 01 Mar 2026 13:00:01 GMT":  time.Hour,
		"Fri, 31 Dec 9999 23:59:59 GMT":  time.Hour,
		"Sun, 01 Mar 2026 11:59:59 GMT":  0, // it is past
		"Tue, 01 Mar 2026 12:01:30 GMT":  90 * second,

		"": malformed, ",": malformed, ".": malformed, "-7": malformed, "-99999999999999999999": malformed, "+7": malformed,
		"1.2.3": malformed, "1.-5": malformed, "1e3": malformed, "0x7": malformed, "1_000": malformed, "٧": malformed, "NaN": malformed,
		"Infinity": malformed, "7s": malformed, "7 s": malformed, "7 8": malformed, "7;slow": malformed, `"7"`: malformed, "soon": malformed,
		"2026-03-01T12:01:30Z": malformed, "Sun, 01 Mar 2026 12:01:30 CET": malformed, "Sunday, 01-Mar-26 12:01:30 CET": malformed,
		"Sunday, 01-Mar-26 12:01:30 GMT+3": malformed, "Sun, 30 Feb 2026 12:01:30 GMT": malformed, "Sun": malformed, "Sun,": malformed,
	} {
		got, ok := RetryAfter(http.Header{"Retry-After": {value}}, now)
		if ok == (want == malformed) || got != max(want, 0) {
			t.Errorf("%q: got %v, %t", value, got, ok)
		}
	}
	if got, ok := RetryAfter(nil, now); ok || got != 0 {
		t.Errorf("without the header: got %v, %t", got, ok)
	}
}

// Of several header fields, the first one that is not empty is used.
func TestRetryAfterOfSeveralFields(t *testing.T) {
	for _, test := range []struct {
		fields []string
		want   time.Duration
	}{
		{[]string{"7", "8"}, 7 * time.Second},
		{[]string{"", "8"}, 8 * time.Second},
		{[]string{" , ", "8, 9"}, 8 * time.Second},
		{[]string{"soon", "8"}, malformed},
		{[]string{"Sun", "01 Mar 2026 12:01:30 GMT"}, malformed},
		{[]string{"", ""}, malformed},
	} {
		got, ok := RetryAfter(http.Header{"Retry-After": test.fields}, time.Now())
		if ok == (test.want == malformed) || got != max(test.want, 0) {
			t.Errorf("%q: got %v, %t", test.fields, got, ok)
		}
	}
}

// A date counts from the response's own Date, whatever our clock says. A malformed Date does not count.
func TestRetryAfterCountsFromDate(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	for date, want := range map[string]time.Duration{
		"Sun, 01 Mar 2026 12:10:00 GMT":  30 * time.Second, // the upstream's clock is ahead
		"Sunday, 01-Mar-26 12:10:00 GMT": 30 * time.Second,
		"Sun Mar  1 12:10:00 2026":       30 * time.Second,
		"Sun, 01 Mar 2026 12:10:31 GMT":  0,
		"Sun, 01 Mar 2020 12:00:00 GMT":  time.Hour,
		"":                               630 * time.Second,
		"now":                            630 * time.Second,
		"Sunday, 01-Mar-26 12:10:00 CET": 630 * time.Second,
		"1772366400":                     630 * time.Second,
	} {
		got, ok := RetryAfter(http.Header{"Retry-After": {"Sun, 01 Mar 2026 12:10:30 GMT"}, "Date": {date}}, now)
		if !ok || got != want {
			t.Errorf("Date: %s: got %v, %t, want %v", date, got, ok, want)
		}
	}
	header := http.Header{"Retry-After": {"30"}, "Date": {"Sun, 01 Mar 2026 12:10:00 GMT"}}
	if got, ok := RetryAfter(header, now); !ok || got != 30*time.Second {
		t.Errorf("a number of seconds: got %v, %t", got, ok)
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
