package telemetry

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// Outcome is how a request ended.
type Outcome string

const (
	OutcomeRefused  Outcome = "refused"  // not sent upstream
	OutcomeFailed   Outcome = "failed"   // no answer
	OutcomeAnswered Outcome = "answered" // up to the upstream's finish
	OutcomeBroken   Outcome = "broken"   // the answer began, but has no finish from the upstream
	OutcomeLeft     Outcome = "left"     // the visitor left before the end
)

// The causes of an answer's end that the visitor does not see.
const (
	CauseLeft    = "left:visitor"    // disconnected
	CauseStalled = "stalled:visitor" // did not read for write_timeout

	causePanic = "panic:proxy" // in this module, or in another one of the middleware chain
)

// maxLogged is how many bytes are logged of a value that visitors or the upstream choose.
const maxLogged = 100

// Record collects what is logged and measured of one request. Only one goroutine writes a Record: the handler's, or the
// one that records an answer.
type Record struct {
	Start     time.Time // of the request
	Outcome   Outcome   // empty until the request has ended
	Admitted  bool      // the limits let the request pass
	Label     string    // of the assistant, in metrics
	Assistant string    // its id, once it is allowed
	Alias     string    // the name under which the page knows it
	Continued bool      // the chat continues an earlier one

	Tries          int           // requests to the upstream
	UpstreamStatus int           // of the last attempt that had an answer
	FirstEvent     time.Duration // from the request's start; 0: there was none
	Events, Bytes  int64         // sent to the visitor
	FinishReason   string        // of the finish that the visitor was sent
	Dropped        int64         // events that the visitor was not sent, because they follow the finish
	Cut            bool          // the upstream's stream went on for too long after the finish
	Cause          string        // of an end without the upstream's finish
	Code           string        // of a refusal or error
	CodeLabel      string        // the same in metrics, without the upstream's words
	Cancelled      time.Duration // how long after the visitor's disconnect; 0: not cancelled

	span  trace.Span    // of the request to the upstream; nil: none
	asked time.Duration // when the span began, from the request's start
}

// NewRecord returns the record of r. It adds the record to r's line in the access log, and to r's placeholders.
func NewRecord(r *http.Request) *Record {
	c := &Record{Start: time.Now()}
	if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Add(zap.Object("illumichat", c)) // encoded only when the request has ended
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(c.placeholder)
	}
	return c
}

// Ended notes that an answer was sent to its end. reason is that of its finish. cause is why the upstream did not send
// that finish; it is empty if the upstream did.
func (c *Record) Ended(reason, cause string) {
	c.FinishReason, c.Cause = reason, cause
	switch cause {
	case "":
		c.Outcome = OutcomeAnswered
	case apierror.Stopped.Code.String():
		c.Outcome = OutcomeLeft
	default:
		c.Outcome = OutcomeBroken
	}
}

// CutOff notes that the server or this process ended an answer before the visitor could get a finish. cause says why.
func (c *Record) CutOff(cause string) {
	c.Outcome, c.Cause, c.FinishReason = OutcomeBroken, cause, ""
}

// Left notes that the visitor left. If err is os.ErrDeadlineExceeded, the visitor did not read for write_timeout.
func (c *Record) Left(err error) {
	c.Outcome, c.Cause, c.FinishReason = OutcomeLeft, CauseLeft, ""
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.Cause = CauseStalled
	}
}

// MergeGaps adds the times between the events of the answer to the metrics.
func (c *Record) MergeGaps(g *Gaps) { metrics.gaps.merge(g) }

// Tried notes that an attempt has ended. status is that of its answer, or 0 if there was none. err is why the attempt
// failed, or nil. ctx is the context of the exchange.
func (c *Record) Tried(ctx context.Context, status int, err error) {
	label := tryLabel(ctx, err)
	metrics.tries.WithLabelValues(label).Inc()
	c.traceTry(status, label)
}

// Done ends the span and updates the metrics, when the request has ended. If nothing has set the outcome, a panic ended
// the request.
func (c *Record) Done() {
	if c.Outcome == "" { // a panic ended the request
		c.Outcome, c.Cause = OutcomeFailed, causePanic
		if c.Bytes > 0 {
			c.Outcome = OutcomeBroken
		}
	}
	c.EndSpan()
	metrics.observe(c)
}

// recordFields are the fields of a Record in the access log and as placeholders. A value is a string, an int64, or nil
// if there is none.
var recordFields = []struct {
	name  string
	value func(*Record) any
}{
	{"outcome", func(c *Record) any { return orNone(string(c.Outcome)) }},
	{"assistant", func(c *Record) any { return orNone(c.LoggedAssistant()) }},
	{"alias", func(c *Record) any { return orNone(c.Alias) }},
	{"chat", (*Record).chat},
	{"tries", func(c *Record) any { return ifPositive(int64(c.Tries)) }},
	{"upstream_status", func(c *Record) any { return ifPositive(int64(c.UpstreamStatus)) }},
	{"first_event_ms", (*Record).firstEventMillis},
	{"events", func(c *Record) any { return ifPositive(c.Events) }},
	{"bytes", func(c *Record) any { return ifPositive(c.Bytes) }},
	{"finish_reason", func(c *Record) any { return orNone(c.loggedReason()) }},
	{"dropped", func(c *Record) any { return ifPositive(c.Dropped) }},
	{"after_finish", (*Record).afterFinish},
	{"cause", func(c *Record) any { return orNone(c.Cause) }},
	{"code", func(c *Record) any { return orNone(c.Code) }},
}

func (c *Record) firstEventMillis() any {
	if c.FirstEvent == 0 {
		return nil
	}
	return c.FirstEvent.Milliseconds()
}

func (c *Record) afterFinish() any {
	if !c.Cut {
		return nil
	}
	return "cut"
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

// LoggedAssistant returns the assistant's id for the log. If the config allows any assistant, the id is the visitor's
// word. Then it is "other" unless it has the form of an id: it could be a text.
func (c *Record) LoggedAssistant() string {
	if c.Assistant != "" && c.Assistant != c.Label && c.Alias == "" && !idForm.MatchString(c.Assistant) {
		return otherWord
	}
	return shorten(c.Assistant)
}

// AssistantField returns the log's field for the assistant. A visitor who goes on with an answer names no assistant, so
// the field then has the label. The field is empty if no assistant is known.
func (c *Record) AssistantField() zap.Field {
	assistant := cmp.Or(c.LoggedAssistant(), c.Label)
	if assistant == "" {
		return zap.Skip()
	}
	return zap.String("assistant", assistant)
}

// loggedReason returns the finish's reason for the log. It is "other" unless it has the form of a reason: the upstream
// could send a text.
func (c *Record) loggedReason() string {
	if c.FinishReason != "" && !reasonForm.MatchString(c.FinishReason) {
		return otherWord
	}
	return c.FinishReason
}

// otherWord stands for a word of a visitor or the upstream that is not logged.
const otherWord = "other"

// The forms of words that visitors and the upstream choose. No API token has the form of a reason.
var (
	idForm     = regexp.MustCompile(`^[0-9A-Za-z._:-]{1,64}$`)
	reasonForm = regexp.MustCompile(`^[A-Za-z_-]{1,32}$`)
)

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

// shorten returns s if it has at most 100 bytes. Otherwise it returns the first 100 bytes without invalid UTF-8, and an
// ellipsis. It is for values that visitors or the upstream choose.
func shorten(s string) string {
	if len(s) <= maxLogged {
		return s
	}
	return strings.ToValidUTF8(s[:maxLogged], "") + "…"
}

// MarshalLogObject encodes the fields that have a value.
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

// placeholder returns the value of a placeholder {http.illumichat.*}, and false for all others. A field without a value
// is nil, which becomes an empty string.
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
