package telemetry

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
	OutcomeRefused  outcome = "refused"  // not sent upstream
	OutcomeFailed   outcome = "failed"   // there was no answer
	OutcomeAnswered outcome = "answered" // to the upstream's finish
	outcomeBroken   outcome = "broken"   // the answer began, and has no finish of the upstream's
	OutcomeLeft     outcome = "left"     // by the visitor, before the end
)

// The causes of an answer's end that are not told to the visitor.
const (
	CauseLeft    = "left:visitor"
	CauseStalled = "stalled:visitor" // did not read for write_timeout

	causePanic = "panic:proxy" // of a module around ours, or of ours
)

// maxLogged is how much of a word is logged that others have chosen, in bytes.
const maxLogged = 100

// Record is what there is to say of one request when it is over. It is written by the handler's goroutine alone.
type Record struct {
	Start     time.Time
	Outcome   outcome // empty until it is over
	Admitted  bool
	Label     string // of the assistant, in metrics
	Assistant string // the id that is asked, once that is allowed
	Alias     string // under which the page knows it
	Continued bool   // an earlier chat

	Tries          int
	UpstreamStatus int           // of the last try that had an answer
	FirstEvent     time.Duration // from the request's begin; 0: there was none
	Events, Bytes  int64         // that the visitor was sent
	FinishReason   string
	Cause          string        // of an end without the upstream's finish
	Code           string        // of a refusal or error
	CodeLabel      string        // the same in metrics: no words of the upstream's
	Cancelled      time.Duration // after the visitor had left; 0: it was not so

	span  trace.Span    // of the upstream's part; nil: there is none
	asked time.Duration // when that began, from the request's begin
}

// NewRecord puts a record on the request's line in the access log, and behind its placeholders.
func NewRecord(r *http.Request) *Record {
	c := &Record{Start: time.Now()}
	if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Add(zap.Object("illumichat", c)) // which is looked at when the request is over
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(c.placeholder)
	}
	return c
}

// Ended notes an answer that was sent to its end.
func (c *Record) Ended(reason, cause string) {
	c.FinishReason, c.Cause = reason, cause
	switch cause {
	case "":
		c.Outcome = OutcomeAnswered
	case apierror.Stopped.Code.String():
		c.Outcome = OutcomeLeft
	default:
		c.Outcome = outcomeBroken
	}
}

// Left notes a visitor who left, or did not read.
func (c *Record) Left(err error) {
	c.Outcome, c.Cause, c.FinishReason = OutcomeLeft, CauseLeft, ""
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.Cause = CauseStalled
	}
}

// MergeGaps adds the times between the events of the answer to those of all.
func (c *Record) MergeGaps(g *Gaps) { metrics.gaps.merge(g) }

// Tried notes that a try is over: with the status of its answer, if there was one, and with the error that it failed with, if
// it did. ctx is that of the exchange.
func (c *Record) Tried(ctx context.Context, status int, err error) {
	label := tryLabel(ctx, err)
	metrics.tries.WithLabelValues(label).Inc()
	c.traceTry(status, label)
}

// Done tells what became of the request to all who want to know.
func (c *Record) Done() {
	if c.Outcome == "" { // something has panicked
		c.Outcome, c.Cause = OutcomeFailed, causePanic
		if c.Bytes > 0 {
			c.Outcome = outcomeBroken
		}
	}
	c.EndSpan()
	metrics.observe(c)
}

// recordFields are the names of what is known, in the log and as placeholders. A value is a string, an int64, or nil
// where there is none.
var recordFields = []struct {
	name  string
	value func(*Record) any
}{
	{"outcome", func(c *Record) any { return orNone(string(c.Outcome)) }},
	{"assistant", func(c *Record) any { return orNone(c.Assistant) }},
	{"alias", func(c *Record) any { return orNone(c.Alias) }},
	{"chat", (*Record).chat},
	{"tries", func(c *Record) any { return ifPositive(int64(c.Tries)) }},
	{"upstream_status", func(c *Record) any { return ifPositive(int64(c.UpstreamStatus)) }},
	{"first_event_ms", (*Record).firstEventMillis},
	{"events", func(c *Record) any { return ifPositive(c.Events) }},
	{"bytes", func(c *Record) any { return ifPositive(c.Bytes) }},
	{"finish_reason", func(c *Record) any { return orNone(c.FinishReason) }},
	{"cause", func(c *Record) any { return orNone(c.Cause) }},
	{"code", func(c *Record) any { return orNone(c.Code) }},
}

func (c *Record) firstEventMillis() any {
	if c.FirstEvent == 0 {
		return nil
	}
	return c.FirstEvent.Milliseconds()
}

func (c *Record) chat() any {
	switch {
	case c.Assistant == "":
		return nil
	case c.Continued:
		return "continued"
	}
	return "new"
}

func orNone(s string) any {
	if s == "" {
		return nil
	}
	return Shorten(s)
}

func ifPositive(n int64) any {
	if n <= 0 {
		return nil
	}
	return n
}

// Shorten cuts what others have chosen.
func Shorten(s string) string {
	if len(s) <= maxLogged {
		return s
	}
	return strings.ToValidUTF8(s[:maxLogged], "") + "…"
}

// MarshalLogObject leaves out what there is not.
func (c *Record) MarshalLogObject(enc zapcore.ObjectEncoder) error {
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
func (c *Record) placeholder(key string) (any, bool) {
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
