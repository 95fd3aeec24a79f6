package illumichat

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// outcome is what became of a request.
type outcome string

const (
	outcomeRefused  outcome = "refused"  // not sent upstream
	outcomeFailed   outcome = "failed"   // there was no answer
	outcomeAnswered outcome = "answered" // to the upstream's finish
	outcomeBroken   outcome = "broken"   // the answer began, and has no finish of the upstream's
	outcomeLeft     outcome = "left"     // by the visitor, before the end
)

// The causes of an answer's end that are not told to the visitor.
const (
	causeLeft    = "left:visitor"
	causeStalled = "stalled:visitor" // did not read for write_timeout

	causePanic = "panic:proxy" // of a module around ours, or of ours
)

// maxLogged is how much of a word is logged that others have chosen, in bytes.
const maxLogged = 100

// record is what there is to say of one request when it is over. It is written by the handler's goroutine alone.
type record struct {
	start     time.Time
	outcome   outcome // empty until it is over
	admitted  bool
	label     string // of the assistant, in metrics
	assistant string // the id that is asked, once that is allowed
	alias     string // under which the page knows it
	continued bool   // an earlier chat

	tries          int
	upstreamStatus int           // of the last try that had an answer
	firstEvent     time.Duration // from the request's begin; 0: there was none
	events, bytes  int64         // that the visitor was sent
	finishReason   string
	cause          string        // of an end without the upstream's finish
	code           string        // of a refusal or error
	codeLabel      string        // the same in metrics: no words of the upstream's
	cancelled      time.Duration // after the visitor had left; 0: it was not so

	span  trace.Span    // of the upstream's part; nil: there is none
	asked time.Duration // when that began, from the request's begin
}

// newRecord puts a record on the request's line in the access log, and behind its placeholders.
func newRecord(r *http.Request) *record {
	c := &record{start: time.Now()}
	if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Add(zap.Object("illumichat", c)) // which is looked at when the request is over
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(c.placeholder)
	}
	return c
}

// ended notes an answer that was sent to its end.
func (c *record) ended(reason, cause string) {
	c.finishReason, c.cause = reason, cause
	switch cause {
	case "":
		c.outcome = outcomeAnswered
	case apierror.Stopped.Code.String():
		c.outcome = outcomeLeft
	default:
		c.outcome = outcomeBroken
	}
}

// left notes a visitor who left, or did not read.
func (c *record) left(err error) {
	c.outcome, c.cause, c.finishReason = outcomeLeft, causeLeft, ""
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.cause = causeStalled
	}
}

// mergeGaps adds the times between the events of the answer to those of all.
func (c *record) mergeGaps(g *gaps) { metrics.gaps.merge(g) }

// tried notes that a try is over: with the status of its answer, if there was one, and with the error that it failed with, if
// it did. ctx is that of the exchange.
func (c *record) tried(ctx context.Context, status int, err error) {
	label := tryLabel(ctx, err)
	metrics.tries.WithLabelValues(label).Inc()
	c.traceTry(status, label)
}

// over tells what became of the request to all who want to know.
func (c *record) over() {
	if c.outcome == "" { // something has panicked
		c.outcome, c.cause = outcomeFailed, causePanic
		if c.bytes > 0 {
			c.outcome = outcomeBroken
		}
	}
	c.endSpan()
	metrics.observe(c)
}

// recordFields are the names of what is known, in the log and as placeholders. A value is a string, an int64, or nil
// where there is none.
var recordFields = []struct {
	name  string
	value func(*record) any
}{
	{"outcome", func(c *record) any { return orNone(string(c.outcome)) }},
	{"assistant", func(c *record) any { return orNone(c.assistant) }},
	{"alias", func(c *record) any { return orNone(c.alias) }},
	{"chat", (*record).chat},
	{"tries", func(c *record) any { return ifPositive(int64(c.tries)) }},
	{"upstream_status", func(c *record) any { return ifPositive(int64(c.upstreamStatus)) }},
	{"first_event_ms", (*record).firstEventMillis},
	{"events", func(c *record) any { return ifPositive(c.events) }},
	{"bytes", func(c *record) any { return ifPositive(c.bytes) }},
	{"finish_reason", func(c *record) any { return orNone(c.finishReason) }},
	{"cause", func(c *record) any { return orNone(c.cause) }},
	{"code", func(c *record) any { return orNone(c.code) }},
}

func (c *record) firstEventMillis() any {
	if c.firstEvent == 0 {
		return nil
	}
	return c.firstEvent.Milliseconds()
}

func (c *record) chat() any {
	switch {
	case c.assistant == "":
		return nil
	case c.continued:
		return "continued"
	}
	return "new"
}

func orNone(s string) any {
	if s == "" {
		return nil
	}
	return shorten(s)
}

func ifPositive(n int64) any {
	if n <= 0 {
		return nil
	}
	return n
}

// shorten cuts what others have chosen.
func shorten(s string) string {
	if len(s) <= maxLogged {
		return s
	}
	return strings.ToValidUTF8(s[:maxLogged], "") + "…"
}

// MarshalLogObject leaves out what there is not.
func (c *record) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	for _, field := range recordFields {
		switch value := field.value(c).(type) {
		case string:
			enc.AddString(field.name, value)
		case int64:
			enc.AddInt64(field.name, value)
		}
	}
	return nil
}

// placeholder is the value of {http.illumichat.*}; empty where there is none.
func (c *record) placeholder(key string) (any, bool) {
	name, ok := strings.CutPrefix(key, "http.illumichat.")
	if !ok {
		return nil, false
	}
	for _, field := range recordFields {
		if field.name == name {
			return field.value(c), true
		}
	}
	return nil, false
}
