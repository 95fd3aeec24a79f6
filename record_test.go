package illumichat

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// recordOf runs a chat and returns the summary of its placeholders afterwards.
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
	record := make(map[string]any)
	for _, name := range sitetest.RecordFields {
		if value, ok := repl.Get("http.illumichat." + name); ok && value != nil {
			record[name] = value
		}
	}
	return sitetest.Summary(record)
}

// Only what the visitor was sent is recorded as sent. Once a finish was sent, the outcome is answered, whatever follows.
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
			want: "outcome:answered " + upstreams + "first_event_ms:1000 events:3 bytes:_ finish_reason:stop dropped:1"},
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

// A chat that was not sent upstream has no attempt.
func TestRecordOfAVisitorWhoHasLeft(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	leave()
	c := &fakeChat{ctx: ctx}
	if got, want := recordOf(t, c), "outcome:left assistant:asst_demo chat:new cause:left:visitor"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// The time to cancel is measured from when the visitor leaves.
func TestCancelTime(t *testing.T) {
	cancels := func() (n uint64, seconds float64) {
		registry := prometheus.NewRegistry()
		if err := telemetry.Register(registry, telemetry.Sources{OpenStreams: openChats, CoolDowns: runningHandlers.coolDowns}); err != nil {
			t.Fatal(err)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == "caddy_illumichat_cancel_seconds" {
				histogram := family.GetMetric()[0].GetHistogram()
				return histogram.GetSampleCount(), histogram.GetSampleSum()
			}
		}
		t.Fatal("there is no such metric")
		return 0, 0
	}
	synctest.Test(t, func(t *testing.T) {
		n, sum := cancels()
		ctx, leave := context.WithTimeout(t.Context(), 10*time.Second)
		defer leave()
		c := &fakeChat{ctx: ctx, answers: []fakeAnswer{accepted(step{data: sitetest.Delta}, step{wait: 20 * time.Second})}}
		c.run(t)
		if after, sumAfter := cancels(); after != n+1 || sumAfter-sum > 1 {
			t.Errorf("%d were cancelled, in %v s", after-n, sumAfter-sum)
		}
	})
}
