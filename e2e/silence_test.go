package e2e

import (
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
		"silence":              sitetest.Stalling(writing(0, ": working\n\n")),
		"silence after a word": sitetest.Stalling(writing(0, sitetest.Delta+": working\n\n")),
	}
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(answers))
	// Each answer takes about twice as long as either limit allows for a silence.
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "response_timeout 500ms\nidle_timeout 500ms"))
	for _, name := range []string{"comments first", "comments in between", "an event in pieces"} {
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
