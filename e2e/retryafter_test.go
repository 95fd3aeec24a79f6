package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// An upstream that says in any documented way how long to wait is not asked again before that. The visitor is told the
// same, in whole seconds.
func TestRetryAfterIsObeyed(t *testing.T) {
	const theirs = "Sun, 01 Mar 2026 12:00:00 GMT" // their clock is wrong
	for i, row := range []struct {
		name        string
		header      []string // names and values
		least, most int      // what the visitor is told
	}{
		{"seconds", []string{"Retry-After", "120"}, 120, 120},
		{"a fraction", []string{"Retry-After", "299.997"}, 300, 300},
		{"a fraction of nothing", []string{"Retry-After", "20.0"}, 20, 20},
		{"a list", []string{"Retry-After", "120, 60"}, 120, 120},
		{"a list that begins empty", []string{"Retry-After", ", 120"}, 120, 120},
		{"several fields", []string{"Retry-After", "120", "Retry-After", "60"}, 120, 120},
		{"several fields, the first one empty", []string{"Retry-After", "", "Retry-After", "120"}, 120, 120},
		{"a date", []string{"Date", theirs, "Retry-After", "Sun, 01 Mar 2026 12:00:30 GMT"}, 30, 30},
		{"a list of dates", []string{"Date", theirs, "Retry-After", "Sun, 01 Mar 2026 12:00:30 GMT, Sun, 01 Mar 2026 12:01:00 GMT"}, 30, 30},
		{"a date of the second form", []string{"Date", theirs, "Retry-After", "Sunday, 01-Mar-26 12:00:30 GMT"}, 30, 30},
		{"a date of the third form", []string{"Date", theirs, "Retry-After", "Sun Mar  1 12:00:30 2026"}, 30, 30},
		{"a date far away", []string{"Date", theirs, "Retry-After", "Mon, 02 Mar 2026 12:00:00 GMT"}, 3600, 3600},
		{"a date without a clock", []string{"Date", "soon", "Retry-After", time.Now().UTC().Add(100 * time.Second).Format(http.TimeFormat)}, 40, 100},
	} {
		t.Run(row.name, func(t *testing.T) {
			upstream := sitetest.NewUpstream(t, sitetest.Answering(http.StatusTooManyRequests, sitetest.Theirs, row.header...))
			s := sitetest.Serve(t, sitetest.ChatToURL(fmt.Sprintf("%s/%d", upstream.URL, i), "retry {\nattempts 3\nbackoff 10ms 1s\n}"))
			first := s.Ask(sitetest.Hello)
			sitetest.WantError(t, first, http.StatusTooManyRequests, "their_code:chat")
			sitetest.CheckRetryAfter(t, first.Header, []int{row.least, row.most})
			second := s.Ask(sitetest.Hello)
			sitetest.WantError(t, second, http.StatusTooManyRequests, "rate_limit:chat") // a cool-down is on
			sitetest.CheckRetryAfter(t, second.Header, []int{1, row.most})
			if got := len(upstream.Take()); got != 1 {
				t.Errorf("the upstream was asked %d times, want 1", got)
			}
		})
	}
}
