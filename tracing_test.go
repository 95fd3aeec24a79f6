package illumichat

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// traced runs a chat whose request is traced, and returns the spans that have ended.
func traced(t *testing.T, c *fakeChat) []sdktrace.ReadOnlySpan {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	if c.ctx == nil {
		c.ctx = t.Context()
	}
	var parent trace.Span
	c.ctx, parent = provider.Tracer("test").Start(c.ctx, "request")
	c.run(t)
	parent.End()
	return recorder.Ended()
}

// describe returns a span as text: its name, status, attributes and events.
func describe(span sdktrace.ReadOnlySpan) string {
	var lines []string
	for _, attribute := range span.Attributes() {
		lines = append(lines, fmt.Sprintf("%s=%s", attribute.Key, attribute.Value.String()))
	}
	slices.Sort(lines)
	for _, event := range span.Events() {
		var words []string
		for _, attribute := range event.Attributes {
			words = append(words, fmt.Sprintf("%s=%s", attribute.Key, attribute.Value.String()))
		}
		lines = append(lines, event.Name+" "+strings.Join(words, " "))
	}
	return fmt.Sprintf("%s %s %s\n%s", span.Name(), span.Status().Code, span.Status().Description, strings.Join(lines, "\n"))
}

func TestSpans(t *testing.T) {
	const always = `gen_ai.agent.id=asst_demo
gen_ai.operation.name=invoke_agent
gen_ai.provider.name=illumichat
`
	const where = `server.address=beta.illumichat.com
url.full=https://beta.illumichat.com/api/chat
`
	for _, row := range []struct {
		name    string
		answers []fakeAnswer
		leaves  time.Duration
		status  codes.Code
		want    string // in the description of the span
	}{
		{"an answer", []fakeAnswer{{wait: time.Second, steps: []step{{data: sitetest.Delta + sitetest.Finish}}}}, 0, codes.Unset,
			" Unset \n" + always + "gen_ai.response.finish_reasons=[\"stop\"]\ngen_ai.response.time_to_first_chunk=1\nhttp.request.method=POST\n" +
				"http.response.status_code=200\nillumichat.outcome=answered\n" + where + "try http.request.resend_count=0 http.response.status_code=200"},
		{"a text as the reason", []fakeAnswer{{steps: []step{{data: "data: {\"type\":\"finish\",\"finishReason\":\"private words\"}\n\n"}}}}, 0, codes.Unset,
			"gen_ai.response.finish_reasons=[\"other\"]"},
		{"an answer at the third try", []fakeAnswer{refusing(503), {err: errReset}, accepted(step{data: sitetest.Delta + sitetest.Finish})}, 0, codes.Unset,
			"\ntry http.request.resend_count=0 http.response.status_code=503 error.type=server_error" +
				"\ntry http.request.resend_count=1 error.type=unreachable" +
				"\ntry http.request.resend_count=2 http.response.status_code=200"},
		{"no answer", []fakeAnswer{refusing(400)}, 0, codes.Error,
			" Error bad_request:upstream\nerror.type=bad_request:upstream\n" + always + "http.request.method=POST\nhttp.response.status_code=400\nillumichat.outcome=failed\n" + where +
				"try http.request.resend_count=0 http.response.status_code=400 error.type=client_error"},
		{"a broken answer", []fakeAnswer{accepted(step{data: sitetest.Delta}, step{err: errReset})}, 0, codes.Error, "error.type=closed:upstream"},
		{"a visitor who leaves", []fakeAnswer{accepted(step{data: sitetest.Delta}, step{wait: 20 * time.Second})}, time.Second, codes.Unset, "illumichat.outcome=left"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &fakeChat{answers: row.answers, subdirectives: "heartbeat off"}
				// The time that the visitor takes for the request does not count as the upstream's.
				c.body = &script{ctx: t.Context(), steps: []step{{wait: 3 * time.Second, data: sitetest.Hello}}}
				if row.leaves > 0 {
					var leave context.CancelFunc
					c.ctx, leave = context.WithTimeout(t.Context(), 3*time.Second+row.leaves)
					defer leave()
				}
				spans := traced(t, c)
				if len(spans) != 2 {
					t.Fatalf("%d spans are over, want ours and the request's", len(spans))
				}
				ours, request := spans[0], spans[1]
				if ours.Parent().SpanID() != request.SpanContext().SpanID() || ours.SpanKind() != trace.SpanKindClient {
					t.Error("our span is no client's within the request's")
				}
				got := describe(ours)
				if ours.Name() != "invoke_agent asst_demo" || ours.Status().Code != row.status || !strings.Contains(got, row.want) {
					t.Errorf("got\n%s\nwant\n%s", got, row.want)
				}
				for _, try := range c.tries {
					for name := range try.header {
						if strings.HasPrefix(strings.ToLower(name), "trace") || strings.EqualFold(name, "baggage") {
							t.Errorf("the upstream got %s, which was not asked for", name)
						}
					}
				}
			})
		})
	}
}

// A refused request is not sent upstream, so there is nothing to trace.
func TestNoSpanOfARefusal(t *testing.T) {
	c := &fakeChat{body: strings.NewReader("{}")}
	if spans := traced(t, c); len(spans) != 1 || c.visitor.status != http.StatusBadRequest {
		t.Errorf("got status %d and %d spans", c.visitor.status, len(spans))
	}
}

// The upstream gets the trace in a Traceparent header if the operator turns on propagate_trace.
func TestPropagateTrace(t *testing.T) {
	c := &fakeChat{answers: []fakeAnswer{refusing(500), accepted()}, subdirectives: "propagate_trace\nretry {\nbackoff 1ms\n}"}
	spans := traced(t, c)
	span := spans[0].SpanContext()
	want := fmt.Sprintf("00-%s-%s-01", span.TraceID(), span.SpanID())
	for _, try := range c.tries {
		if got := try.header.Get("Traceparent"); got != want {
			t.Errorf("got Traceparent: %s, want %s", got, want)
		}
	}
	if len(c.tries) != 2 {
		t.Errorf("there were %d tries", len(c.tries))
	}

	untraced := &fakeChat{answers: []fakeAnswer{accepted()}, subdirectives: "propagate_trace"}
	untraced.run(t)
	if got := untraced.tries[0].header.Get("Traceparent"); got != "" {
		t.Errorf("without a trace: got Traceparent: %s", got)
	}
}
