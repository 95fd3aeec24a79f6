package illumichat

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

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

// nextRecord waits for the n-th line of the access log.
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

// The values that depend on the time and on the sandbox's words.
var volatile = regexp.MustCompile(`(bytes|first_event_ms):[1-9][0-9]*`)

// summary is a record as name:value, in the order of recordFields.
func (l recordLine) summary() string {
	var words []string
	for _, field := range recordFields {
		if value, ok := l.Illumichat[field.name]; ok {
			words = append(words, fmt.Sprintf("%s:%v", field.name, value))
		}
	}
	return volatile.ReplaceAllString(strings.Join(words, " "), "$1:_")
}

// What the access log and the placeholders say after each kind of ending.
func TestRecord(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	var placeholders strings.Builder
	for _, field := range recordFields {
		fmt.Fprintf(&placeholders, "log_append appended_%s {http.illumichat.%[1]s}\n", field.name)
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
		{name: "two finishes", chat: sitetest.Saying("/two-finishes"), want: "outcome:answered " + asked + "first_event_ms:_ events:_ bytes:_ finish_reason:stop"},
		{name: "a large event", chat: sitetest.Saying("/large 200000"), want: "outcome:answered " + asked + "first_event_ms:_ events:_ bytes:_ finish_reason:stop"},
		{name: "JSON", chat: sitetest.Saying("/json"), want: "outcome:answered " + asked + "bytes:_"},

		{name: "an assistant that is not allowed", chat: strings.Replace(sitetest.Hello, "asst_demo", "asst_else", 1), want: "outcome:refused code:forbidden:assistant"},
		{name: "a bad body", chat: "{}", want: "outcome:refused code:bad_request:chat"},

		{name: "a status", chat: sitetest.Saying("/status 503"), want: "outcome:failed assistant:asst_demo chat:new tries:2 upstream_status:503 code:overloaded:upstream"},
		{name: "a status that is not repeated", chat: sitetest.Saying("/status 400"), want: "outcome:failed assistant:asst_demo chat:new tries:1 upstream_status:400 code:bad_request:chat"},
		{name: "no answer", chat: sitetest.Saying("/hang"), want: "outcome:failed assistant:asst_demo chat:new tries:2 upstream_status:200 code:timeout:upstream"},

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
			got := line.summary()
			if strings.Contains(row.want, "events:_") {
				got = regexp.MustCompile(`events:[1-9][0-9]*`).ReplaceAllString(got, "events:_")
			}
			if got = strings.Replace(got, "first_event_ms:0", "first_event_ms:_", 1); got != row.want {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
			// The placeholders have the same values.
			for _, field := range recordFields {
				got, want := line.appended["appended_"+field.name], line.Illumichat[field.name]
				if got != want && (got != "" || want != nil) {
					t.Errorf("{http.illumichat.%s} is %v, want %v", field.name, got, want)
				}
			}
			if strings.Contains(line.raw, sandbox.Token) {
				t.Error("the line holds the token")
			}
		})
	}

	// A chat that goes on.
	resp := s.Send(sitetest.OneShot, sitetest.ChatRequest(t, s.Plain, sitetest.Saying("/events 1")))
	sitetest.ReadAll(t, resp)
	id := resp.Header.Get("X-Chat-Id")
	continued := fmt.Sprintf(`{"assistantId":"asst_demo","chatId":%q,"messages":[{"role":"user","content":"/events 1"}]}`, id)
	sitetest.ReadAll(t, s.Send(sitetest.OneShot, sitetest.ChatRequest(t, s.Plain, continued)))
	if got := nextRecord(t, s, lines+2).Illumichat["chat"]; got != "continued" {
		t.Errorf("got the chat %v", got)
	}

	// What is no chat has no record.
	req := sitetest.ChatRequest(t, s.Plain, "")
	req.Method = http.MethodOptions
	req.Header.Set("Origin", "https://example.com")
	req.Header.Set("Access-Control-Request-Method", "POST")
	sitetest.ReadAll(t, s.Send(sitetest.OneShot, req))
	if line := nextRecord(t, s, lines+3); line.Illumichat != nil {
		t.Errorf("a preflight has a record: %s", line.raw)
	}
}

// What a visitor has chosen is cut where it is long.
func TestRecordOfAnyAssistant(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, "log\n"+strings.Replace(sitetest.ChatToURL(upstream.URL, ""), "assistants asst_demo", "assistants *", 1))
	sitetest.ReadAll(t, s.Ask(strings.Replace(sitetest.Hello, "asst_demo", strings.Repeat("ü", 1000), 1)))
	if got := nextRecord(t, s, 1).Illumichat["assistant"]; got != strings.Repeat("ü", maxLogged/2)+"…" {
		t.Errorf("got the assistant %v", got)
	}
}

// recordOf runs a chat and returns what its placeholders say when it is over.
func recordOf(t *testing.T, c *fakeChat) string {
	t.Helper()
	repl := caddy.NewReplacer()
	if c.ctx == nil {
		c.ctx = t.Context()
	}
	c.ctx = context.WithValue(c.ctx, caddy.ReplacerCtxKey, repl)
	func() {
		defer func() { _ = recover() }()
		c.run(t)
	}()
	line := recordLine{Illumichat: make(map[string]any)}
	for _, field := range recordFields {
		if value, ok := repl.Get("http.illumichat." + field.name); ok && value != nil {
			line.Illumichat[field.name] = value
		}
	}
	return line.summary()
}

// Only what the visitor was sent counts as sent, and a finish that was sent is the end.
func TestRecordOfWhatWasSent(t *testing.T) {
	leak := "data: " + sandbox.Token + "\n\n"
	const upstreams = "assistant:asst_demo chat:new tries:1 upstream_status:200 "
	for _, row := range []struct {
		name  string
		steps []step
		more  string // subdirectives
		fails int    // the visitor's write that fails; 0: none
		panic bool
		want  string
	}{
		{name: "the token after an event", steps: []step{{data: sitetest.Delta + leak + sitetest.Delta + sitetest.Finish}},
			want: "outcome:broken " + upstreams + "first_event_ms:1000 events:1 bytes:_ finish_reason:error cause:leak:upstream"},
		{name: "the token in the first event", steps: []step{{data: leak + sitetest.Delta + sitetest.Finish}},
			want: "outcome:failed " + upstreams + "code:bad_gateway:upstream"},
		{name: "a second finish and what follows it", steps: []step{{data: sitetest.Delta + sitetest.Finish + sitetest.Finish + sitetest.Delta}},
			want: "outcome:answered " + upstreams + "first_event_ms:1000 events:3 bytes:_ finish_reason:stop"},
		{name: "a write that fails", steps: []step{{data: sitetest.Delta}, {data: sitetest.Delta + sitetest.Delta + sitetest.Finish}}, fails: 2,
			want: "outcome:left " + upstreams + "first_event_ms:1000 events:1 bytes:_ cause:left:visitor"},
		{name: "a write that fails after the finish", steps: []step{{data: sitetest.Delta + sitetest.Finish}, {wait: time.Second, data: sitetest.Delta}}, fails: 2,
			want: "outcome:answered " + upstreams + "first_event_ms:1000 events:2 bytes:_ finish_reason:stop"},
		{name: "no event after the head", steps: []step{{wait: 20 * time.Second}}, more: "commit_after 1s\nresponse_timeout 10s",
			want: "outcome:broken " + upstreams + "bytes:_ finish_reason:error cause:timeout:upstream"},
		{name: "the token as a reason", steps: []step{{data: `data: {"type":"finish","finishReason":"\u0069` + sandbox.Token[1:] + "\"}\n\n"}},
			want: "outcome:answered " + upstreams + "first_event_ms:1000 events:1 bytes:_"},
		{name: "a panic", steps: []step{{data: sitetest.Delta}, {data: sitetest.Delta}}, fails: 2, panic: true,
			want: "outcome:broken " + upstreams + "first_event_ms:1000 events:1 bytes:_ cause:panic:proxy"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				writes := 0
				c := &fakeChat{
					subdirectives: "heartbeat off\nretry {\nattempts 1\n}\n" + row.more,
					answers:       []fakeAnswer{{wait: time.Second, steps: row.steps}},
				}
				c.visitor.block = func([]byte) error {
					if writes++; writes == row.fails {
						if row.panic {
							panic("a writer around the handler")
						}
						return errReset
					}
					return nil
				}
				if got := recordOf(t, c); got != strings.Replace(row.want, "first_event_ms:1000", "first_event_ms:_", 1) {
					t.Errorf("got  %s\nwant %s", got, row.want)
				}
			})
		})
	}
}

// What was not sent is no try.
func TestRecordOfAVisitorWhoHasLeft(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	leave()
	c := &fakeChat{ctx: ctx}
	if got, want := recordOf(t, c), "outcome:left assistant:asst_demo chat:new cause:left:visitor"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
