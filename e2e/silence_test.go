package e2e

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// A comment of the upstream is a sign of life, before the first event and after it. So is any other byte.
func TestCommentsOfTheUpstreamAreSignsOfLife(t *testing.T) {
	const pause = 200 * time.Millisecond
	comments := []string{": working\n\n", ": working\n\n", ": work", "ing\n\n", ": working\n\n"}
	answers := map[string]http.HandlerFunc{
		"comments first":       writing(pause, append(comments, sitetest.Delta+sitetest.Finish)...),
		"comments in between":  writing(pause, append(append([]string{sitetest.Delta}, comments...), sitetest.Finish)...),
		"an event in pieces":   writing(pause, "data: {", `"type"`, `:"text-delta",`, `"textDelta"`, `:"Hello"}`, "\n\n", sitetest.Finish),
		"interim responses":    interim(pause, 5),
		"silence":              sitetest.Stalling(writing(0, ": working\n\n")),
		"silence after a word": sitetest.Stalling(writing(0, sitetest.Delta+": working\n\n")),
	}
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(answers))
	// Each answer takes about twice as long as either limit allows for a silence.
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "response_timeout 500ms\nidle_timeout 500ms"))
	for _, name := range []string{"comments first", "comments in between", "an event in pieces", "interim responses"} {
		resp := s.Ask(sitetest.Saying(name))
		body := sitetest.ReadAll(t, resp)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: got status %d: %s", name, resp.StatusCode, body)
		} else if got := sitetest.OnlyFinish(t, body); got.FinishReason != "stop" {
			t.Errorf("%s: got the finish %+v", name, got)
		}
		if asked := len(upstream.Take()); asked != 1 {
			t.Errorf("%s: the upstream was asked %d times", name, asked)
		}
	}
	sitetest.WantError(t, s.Ask(sitetest.Saying("silence")), http.StatusGatewayTimeout, "timeout:upstream")
	if asked := len(upstream.Take()); asked != 1 {
		t.Errorf("an attempt that ran into response_timeout, and may be paid for, was made %d times", asked)
	}
	if got := sitetest.OnlyFinish(t, sitetest.ReadAll(t, s.Ask(sitetest.Saying("silence after a word")))); got.Code != "stalled:upstream" {
		t.Errorf("got the finish %+v", got)
	}
}

// interim returns a handler that sends interim responses with pauses before its answer. net/http would send them, too, but
// only with a header of their own.
func interim(pause time.Duration, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err) // an HTTP/1.1 connection can always be hijacked
		}
		defer conn.Close()
		for range n {
			_, _ = io.WriteString(conn, "HTTP/1.1 102 Processing\r\n\r\n")
			time.Sleep(pause)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"+sitetest.Delta+sitetest.Finish)
	}
}
