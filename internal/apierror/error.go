package apierror

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/zap/zapcore"
)

// ErrVisitorGone ends an exchange whose visitor left: there is nobody to tell.
var ErrVisitorGone = errors.New("the visitor is gone")

// Error is an error as the visitor sees it, in the shape that the vendor's own errors have:
// `{"error": "<text>", "code": "<type>:<context>"}`.
type Error struct {
	Status  int
	Code    Code
	Text    string            // for people: it names what is wrong, and no secret
	details map[string]string // field → text, of an upstream's validation error
	Header  http.Header       // sent along
	Cause   error             // for the log alone
	Hint    string            // for the log alone: what the operator can do

	adopted    string        // the upstream's own code, which the visitor gets; "" for code
	Upstream   int           // the upstream's status, where it has answered
	RetryAfter time.Duration // the pause that the upstream asked for; 0: none
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return e.SentCode() + ": " + e.Text + ": " + e.Cause.Error()
	}
	return e.SentCode() + ": " + e.Text
}

// SentCode is the code that the visitor gets.
func (e *Error) SentCode() string { return cmp.Or(e.adopted, e.Code.String()) }

func (e *Error) Unwrap() error { return e.Cause }

// Because returns a copy of e that remembers its cause.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.Cause = cause
	return &c
}

// withHint returns e, with what the operator can do.
func (e *Error) withHint(hint string) *Error {
	e.Hint = hint
	return e
}

// Body is e as it is sent.
func (e *Error) Body() []byte {
	// Text of the upstream is valid UTF-8, or it would not have been taken over: nothing here can fail.
	body, _ := json.Marshal(struct {
		Error   string            `json:"error"`
		Code    string            `json:"code"`
		Details map[string]string `json:"details,omitempty"`
	}{e.Text, e.SentCode(), e.details}, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	return body
}

// Level is how much an error is the operator's matter.
func (e *Error) Level() zapcore.Level {
	switch {
	case e.Status < http.StatusInternalServerError, e.Code == codeShuttingDown:
		return zapcore.DebugLevel
	case e.Code == CodeOverloaded:
		return zapcore.WarnLevel
	}
	return zapcore.ErrorLevel
}

// Label is the code, without words of the upstream's.
func (e *Error) Label() string { return e.Code.String() }

// WithoutAddress keeps a visitor's address out of the log, which net's errors would tell.
func WithoutAddress(err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	return err
}
