package site

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// An answer that this check gives up is not the site's fault, so it is skipped.
func TestAnswerBeyondBounds(t *testing.T) {
	begin := func(w http.ResponseWriter, text string) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
	}
	for name, tc := range map[string]struct {
		bounds bounds
		answer http.HandlerFunc
		check  string
		words  string
	}{
		"no headers in time": {
			bounds{chat: 250 * time.Millisecond}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			checkChat, "stops reading after 250ms",
		},
		"no events in time": {
			bounds{chat: 250 * time.Millisecond, stream: 1 << 10}, func(w http.ResponseWriter, r *http.Request) { begin(w, ":\n"); <-r.Context().Done() },
			checkFinish, "stops reading after 250ms",
		},
		"no end in time": {
			bounds{chat: 250 * time.Millisecond, stream: 1 << 10}, func(w http.ResponseWriter, r *http.Request) { begin(w, "data: Hi\n\n"); <-r.Context().Done() },
			checkFinish, "stops reading after 250ms",
		},
		"a long answer": {
			bounds{chat: time.Minute, stream: 1 << 10}, func(w http.ResponseWriter, _ *http.Request) { begin(w, strings.Repeat("data: Hi\n\n", 1000)+finish) },
			checkFinish, "stops reading after 1.0 KiB",
		},
	} {
		c, found := serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			tc.answer(w, r)
		})
		c.probes = map[protocol]*answer{http1Protocol: {}}
		c.client.bounds = tc.bounds
		c.checkChats(t.Context())
		var got []doctor.Finding
		for _, f := range *found {
			if f.Level == doctor.Wrong {
				t.Errorf("%s: the site is blamed: %+v", name, f)
			}
			if f.Check == tc.check {
				got = append(got, f)
			}
		}
		if len(got) != 1 || got[0].Level != doctor.Skipped || !strings.Contains(got[0].Found, tc.words) || got[0].Do == "" {
			t.Errorf("%s: got %+v", name, *found)
		}
	}
}

// The check of resume blames nobody for its own bounds, either.
func TestBrokenResume(t *testing.T) {
	if f := brokenResume("the answer broke", &gaveUp{"this check stops reading"}, "See the proxy."); f.Level != doctor.Skipped || f.Do != askShorter {
		t.Errorf("got %+v", f)
	}
	if f := brokenResume("the answer broke", errors.New("reset"), "See the proxy."); f.Level != doctor.Wrong || f.Found != "the answer broke: reset" {
		t.Errorf("got %+v", f)
	}
}

// An answer that drips for too long is none, whether its headers arrive or not.
func TestAskWithinBounds(t *testing.T) {
	for _, answer := range []string{"", "slow"} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if answer != "" {
				_, _ = io.WriteString(w, answer)
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
		})
		c.client.bounds.request = 100 * time.Millisecond
		if _, err := c.client.ask(t.Context(), http1Protocol, invalidChat); err == nil || err.Error() != "no answer within 100ms" {
			t.Errorf("after %q: got %v", answer, err)
		}
	}
}

// An answer without events says nothing about their pace, their bytes or the limit.
func TestAnswerWithoutEvents(t *testing.T) {
	c, found := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/event-stream") })
	c.probes = map[protocol]*answer{http1Protocol: {}}
	c.checkChats(t.Context())
	var checks []string
	for _, f := range *found {
		checks = append(checks, string(f.Level)+" "+f.Check)
	}
	if got := strings.Join(checks, ", "); got != "note cost, skipped error_pages, wrong finish" {
		t.Errorf("got %s", got)
	}
}
