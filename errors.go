package illumichat

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// statusClientClosed is what Caddy and nginx log for a client that left before the answer.
const statusClientClosed = 499

// errVisitorGone ends an exchange whose visitor left: there is nobody to tell.
var errVisitorGone = errors.New("the visitor is gone")

// chatError is an error as the visitor sees it, in the shape that the vendor's own errors have:
// `{"error": "<text>", "code": "<type>:<context>"}`.
type chatError struct {
	status  int
	code    string
	text    string            // for people: it names what is wrong, and no secret
	details map[string]string // field → text, of an upstream's validation error
	header  http.Header       // sent along
	cause   error             // for the log alone
	hint    string            // for the log alone: what the operator can do

	upstream   int           // the upstream's status, where it has answered
	retryAfter time.Duration // the pause that the upstream asked for; 0: none
}

func (e *chatError) Error() string {
	if e.cause != nil {
		return e.code + ": " + e.text + ": " + e.cause.Error()
	}
	return e.code + ": " + e.text
}

func (e *chatError) Unwrap() error { return e.cause }

// because returns a copy of e that remembers its cause.
func (e *chatError) because(cause error) *chatError {
	c := *e
	c.cause = cause
	return &c
}

// withHint returns e, with what the operator can do.
func (e *chatError) withHint(hint string) *chatError {
	e.hint = hint
	return e
}

// body is e as it is sent.
func (e *chatError) body() []byte {
	// Text of the upstream is valid UTF-8, or it would not have been taken over: nothing here can fail.
	body, _ := json.Marshal(struct {
		Error   string            `json:"error"`
		Code    string            `json:"code"`
		Details map[string]string `json:"details,omitempty"`
	}{e.text, e.code, e.details}, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	return body
}

// writeError answers with err. Nothing may have been sent before.
func (h *Handler) writeError(w http.ResponseWriter, c *record, err error) {
	var e *chatError
	if !errors.As(err, &e) {
		c.outcome, c.cause = outcomeLeft, causeLeft
		w.WriteHeader(statusClientClosed)
		return
	}
	c.code, c.codeLabel = e.code, e.label()
	c.outcome = outcomeRefused
	if c.admitted {
		c.outcome = outcomeFailed
	}
	h.logError(e)

	header := w.Header()
	maps.Copy(header, e.header.Clone()) // the original is everybody's, and other directives may edit this
	header.Set("Content-Type", typeJSON)
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(e.status)
	_, _ = w.Write(e.body()) // whoever does not take it is gone
}

// logError tells the operator of failures that are not the visitor's.
func (h *Handler) logError(e *chatError) {
	fields := []zap.Field{zap.Int("status", e.status), zap.String("code", shorten(e.code)), zap.NamedError("cause", e.cause)}
	if level := e.level(); level > zapcore.DebugLevel {
		h.troubles.tell(level, e.label()+" "+e.hint, "the chat failed", e.hint, fields...)
	} else if c := h.logger.Check(level, "the chat failed"); c != nil {
		c.Write(fields...)
	}
}

// level is how much an error is the operator's matter.
func (e *chatError) level() zapcore.Level {
	switch {
	case e.status < http.StatusInternalServerError, e.label() == errShuttingDown.code:
		return zapcore.DebugLevel
	case e.label() == errStreams.code:
		return zapcore.WarnLevel
	}
	return zapcore.ErrorLevel
}

// label is the code, without words of the upstream's.
func (e *chatError) label() string {
	if e.upstream != 0 {
		return statusError(e.upstream).code
	}
	return e.code
}

// breakOff is why an answer has no finish of its own. It is told as a finish where the stream has begun,
// and as an error where nothing was sent.
type breakOff struct {
	code   string
	text   string
	before *chatError
	again  bool   // another try may do better
	try    string // what a try is called in metrics that ends like this
	cause  error  // for the log alone
}

func (b *breakOff) Error() string {
	if b.cause != nil {
		return b.code + ": " + b.text + ": " + b.cause.Error()
	}
	return b.code + ": " + b.text
}

func (b *breakOff) Unwrap() error { return b.cause }

// finishReason is that of the finish. What a visitor wanted is no error.
func (b *breakOff) finishReason() string {
	if b.code == errStopped.code {
		return "stop"
	}
	return "error"
}

// level is how much it is the operator's matter.
func (b *breakOff) level() zapcore.Level {
	switch b.code {
	case errShuttingDown.code, errStopped.code, errAbandoned.code:
		return zapcore.DebugLevel
	case errLeak.code:
		return zapcore.ErrorLevel
	}
	return zapcore.WarnLevel
}

// because returns a copy of b that remembers its cause.
func (b *breakOff) because(cause error) *breakOff {
	c := *b
	c.cause = cause
	return &c
}

// The ways an answer can break off.
var (
	errUnreachable = &breakOff{
		code: "closed:upstream", text: "the assistant cannot be reached",
		before: statusError(http.StatusBadGateway).withHint("see whether this machine can reach the endpoint"),
		again:  true,
		try:    "unreachable",
	}
	errClosed = &breakOff{
		code: "closed:upstream", text: "the answer broke off",
		before: &chatError{status: http.StatusBadGateway, code: "bad_gateway:upstream", text: "the assistant did not answer",
			hint: "the upstream, or something on the way to it, closes connections before the answer is complete"},
		again: true,
		try:   "broken",
	}
	errStalled = &breakOff{
		code: "stalled:upstream", text: "the answer stalled",
		before: statusError(http.StatusGatewayTimeout).withHint("raise idle_timeout if the assistant pauses for longer"),
		try:    "stalled",
	}
	errResponseTimeout = &breakOff{
		code: "timeout:upstream", text: "the assistant took too long to answer",
		before: statusError(http.StatusGatewayTimeout).withHint("raise response_timeout if the assistant takes longer to begin"),
		again:  true,
		try:    "timeout",
	}
	errMaxDuration = &breakOff{
		code: "max_duration:upstream", text: "the answer took too long",
		before: statusError(http.StatusGatewayTimeout).withHint("raise max_duration if answers take longer"),
		try:    "max_duration",
	}
	errLeak = &breakOff{
		code: "leak:upstream", text: "the answer was stopped",
		before: &chatError{
			status: http.StatusBadGateway, code: "bad_gateway:upstream", text: "the answer was stopped",
			hint: "the upstream sent the API token back: revoke it, and tell IllumiChat",
		},
		try: "leak",
	}
	errShuttingDown = &breakOff{
		code: "shutting_down:proxy", text: "the server is restarting; please try again",
		before: &chatError{
			status: http.StatusServiceUnavailable, code: "shutting_down:proxy",
			text: "the server is restarting; please try again", header: retryAfterHeader(time.Second),
		},
		try: "shutting_down",
	}
	// These two can only be of a stream that has begun.
	errStopped   = &breakOff{code: "stopped:visitor", before: errClosed.before, try: "left"}
	errAbandoned = &breakOff{code: "abandoned:visitor", text: "nobody listened to the answer", before: errClosed.before, try: "left"}

	// This one is of a stream that another instance has written, and told to whoever listens here.
	errLost = &breakOff{code: "lost:instance", text: "the rest of the answer is lost"}
)

// errWithheld stands for an error that the log may not have.
var errWithheld = errors.New("withheld, because it holds the API token, which the upstream sent back")

// errLingered ends the reading of what follows a finish.
var errLingered = errors.New("the finish was a while ago")

// withoutAddress keeps a visitor's address out of the log, which net's errors would tell.
func withoutAddress(err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	return err
}
