package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// recordLine is a line of the access log.
type recordLine struct {
	Illumichat map[string]any

	appended map[string]any // by log_append
	raw      string
}

// nextRecord waits for the n-th line of the access log, from 1, and returns it.
func nextRecord(t *testing.T, s *sitetest.Site, n int) recordLine {
	t.Helper()
	var line recordLine
	sitetest.Eventually(t, "the request is in the access log", func() bool {
		seen := 0
		for text := range strings.Lines(s.Log()) {
			if !strings.Contains(text, `"handled request"`) || !strings.HasSuffix(text, "\n") {
				continue
			}
			if seen++; seen == n {
				line = recordLine{raw: text}
				if err := json.Unmarshal([]byte(text), &line); err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal([]byte(text), &line.appended); err != nil {
					t.Fatal(err)
				}
				return true
			}
		}
		return false
	})
	return line
}

// The access log and the placeholders describe each kind of ending, with the same values. A preflight has no record,
// unless it is refused.
func TestRecord(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	var placeholders strings.Builder
	for _, name := range sitetest.RecordFields {
		fmt.Fprintf(&placeholders, "log_append appended_%s {http.illumichat.%[1]s}\n", name)
	}
	s := sitetest.Serve(t, "log\n"+placeholders.String()+
		sitetest.ChatTo(server, "alias help asst_demo\nroles user\nmax_messages 2\nheartbeat off\nidle_timeout 200ms\nwrite_timeout 200ms\nresponse_timeout 300ms\nretry {\nattempts 2\nbackoff 1ms\n}\nlimit 100 1h"))

	const asked = "assistant:asst_demo chat:new tries:1 upstream_status:200 "
	lines := 0
	for _, row := range []struct {
		name  string
		chat  string
		leave bool
		want  string
	}{
		{name: "an answer", chat: sitetest.Saying("/events 3"), want: "outcome:answered " + asked + "first_event_ms:_ events:4 bytes:_ finish_reason:stop"},
		{name: "an answer that is cut short", chat: sitetest.Saying("/length"), want: "outcome:answered " + asked + "first_event_ms:_ events:_ bytes:_ finish_reason:length"},
		{name: "an alias", chat: strings.Replace(sitetest.Saying("/events 1"), "asst_demo", "help", 1),
			want: "outcome:answered assistant:asst_demo alias:help chat:new tries:1 upstream_status:200 first_event_ms:_ events:2 bytes:_ finish_reason:stop"},
		{name: "two finishes", chat: sitetest.Saying("/two-finishes"), want: "outcome:answered " + asked + "first_event_ms:_ events:_ bytes:_ finish_reason:stop dropped:1"},
		{name: "a large event", chat: sitetest.Saying("/large 200000"), want: "outcome:answered " + asked + "first_event_ms:_ events:_ bytes:_ finish_reason:stop"},
		{name: "JSON", chat: sitetest.Saying("/json"), want: "outcome:answered " + asked + "bytes:_"},

		{name: "an assistant that is not allowed", chat: strings.Replace(sitetest.Hello, "asst_demo", "asst_else", 1), want: "outcome:refused code:forbidden:assistant"},
		{name: "a bad body", chat: "{}", want: "outcome:refused code:bad_request:chat"},

		{name: "a status", chat: sitetest.Saying("/status 503"), want: "outcome:failed assistant:asst_demo chat:new tries:2 upstream_status:503 code:overloaded:upstream"},
		{name: "a status that is not repeated", chat: sitetest.Saying("/status 400"), want: "outcome:failed assistant:asst_demo chat:new tries:1 upstream_status:400 code:bad_request:chat"},
		{name: "no answer", chat: sitetest.Saying("/hang"), want: "outcome:failed assistant:asst_demo chat:new tries:1 upstream_status:200 code:timeout:upstream"},

		{name: "a cut", chat: sitetest.Saying("/cut 2"), want: "outcome:broken " + asked + "first_event_ms:_ events:2 bytes:_ finish_reason:error cause:closed:upstream"},
		{name: "a stall", chat: sitetest.Saying("/stall"), want: "outcome:broken " + asked + "first_event_ms:_ events:_ bytes:_ finish_reason:error cause:stalled:upstream"},
		{name: "a leak", chat: sitetest.Saying("/echo-token"), want: "outcome:broken " + asked + "first_event_ms:_ events:_ bytes:_ finish_reason:error cause:leak:upstream"},
		{name: "a visitor who leaves", chat: sitetest.Saying("/stall"), leave: true, want: "outcome:left " + asked + "first_event_ms:_ events:_ bytes:_ cause:left:visitor"},
	} {
		t.Run(row.name, func(t *testing.T) {
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			resp := s.Send(sitetest.OneShot, sitetest.ChatRequest(t, s.Plain, row.chat).WithContext(ctx))
			if row.leave {
				sitetest.NextEvent(t, bufio.NewReader(resp.Body))
				leave()
			} else {
				sitetest.ReadAll(t, resp)
			}
			lines++
			line := nextRecord(t, s, lines)
			got := sitetest.Summary(line.Illumichat)
			if strings.Contains(row.want, "events:_") {
				got = regexp.MustCompile(`events:[1-9][0-9]*`).ReplaceAllString(got, "events:_")
			}
			if got = strings.Replace(got, "first_event_ms:0", "first_event_ms:_", 1); got != row.want {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
			// The placeholders have the same values.
			for _, name := range sitetest.RecordFields {
				got, want := line.appended["appended_"+name], line.Illumichat[name]
				if got != want && (got != "" || want != nil) {
					t.Errorf("{http.illumichat.%s} is %v, want %v", name, got, want)
				}
			}
			if strings.Contains(line.raw, sandbox.Token) {
				t.Error("the line holds the token")
			}
		})
	}

	// A chat that continues an earlier one.
	resp := s.Send(sitetest.OneShot, sitetest.ChatRequest(t, s.Plain, sitetest.Saying("/events 1")))
	sitetest.ReadAll(t, resp)
	id := resp.Header.Get("X-Chat-Id")
	continued := fmt.Sprintf(`{"assistantId":"asst_demo","chatId":%q,"messages":[{"role":"user","content":"/events 1"}]}`, id)
	sitetest.ReadAll(t, s.Send(sitetest.OneShot, sitetest.ChatRequest(t, s.Plain, continued)))
	if got := nextRecord(t, s, lines+2).Illumichat["chat"]; got != "continued" {
		t.Errorf("got the chat %v", got)
	}

	// A preflight that is not refused is no chat and has no record.
	req := sitetest.ChatRequest(t, s.Plain, "")
	req.Method = http.MethodOptions
	req.Header.Set("Origin", s.Plain)
	req.Header.Set("Access-Control-Request-Method", "POST")
	sitetest.ReadAll(t, s.Send(sitetest.OneShot, req))
	if line := nextRecord(t, s, lines+3); line.Illumichat != nil {
		t.Errorf("a preflight has a record: %s", line.raw)
	}
}

// An assistant id that visitors may choose freely is logged only if it has the form of one.
func TestRecordOfAnyAssistant(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, "log\n"+strings.Replace(sitetest.ChatToURL(upstream.URL, ""), "assistants asst_demo", "assistants *", 1))
	sitetest.ReadAll(t, s.Ask(strings.Replace(sitetest.Hello, "asst_demo", strings.Repeat("ü", 1000), 1)))
	if got := nextRecord(t, s, 1).Illumichat["assistant"]; got != "other" {
		t.Errorf("got the assistant %v", got)
	}
}
