package illumichat

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

// errVisitorGone ends an exchange whose visitor left: there is nobody to tell.
var errVisitorGone = errors.New("the visitor is gone")

// chatError is an error as the visitor sees it, in the shape that the vendor's own errors have:
// `{"error": "<text>", "code": "<type>:<context>"}`.
type chatError struct {
	status  int
	code    errorCode
	text    string            // for people: it names what is wrong, and no secret
	details map[string]string // field → text, of an upstream's validation error
	header  http.Header       // sent along
	cause   error             // for the log alone
	hint    string            // for the log alone: what the operator can do

	adopted    string        // the upstream's own code, which the visitor gets; "" for code
	upstream   int           // the upstream's status, where it has answered
	retryAfter time.Duration // the pause that the upstream asked for; 0: none
}

func (e *chatError) Error() string {
	if e.cause != nil {
		return e.sentCode() + ": " + e.text + ": " + e.cause.Error()
	}
	return e.sentCode() + ": " + e.text
}

// sentCode is the code that the visitor gets.
func (e *chatError) sentCode() string { return cmp.Or(e.adopted, e.code.String()) }

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
	}{e.text, e.sentCode(), e.details}, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	return body
}

// level is how much an error is the operator's matter.
func (e *chatError) level() zapcore.Level {
	switch {
	case e.status < http.StatusInternalServerError, e.code == codeShuttingDown:
		return zapcore.DebugLevel
	case e.code == codeOverloaded:
		return zapcore.WarnLevel
	}
	return zapcore.ErrorLevel
}

// label is the code, without words of the upstream's.
func (e *chatError) label() string { return e.code.String() }

// withoutAddress keeps a visitor's address out of the log, which net's errors would tell.
func withoutAddress(err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	return err
}
