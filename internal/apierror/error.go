package apierror

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/zap/zapcore"
)

// ErrVisitorGone ends an exchange whose visitor has left, so that no error can be delivered.
var ErrVisitorGone = errors.New("the visitor is gone")

// Error is an error as the visitor sees it. It has the same shape as the vendor's own errors:
// `{"error": "<text>", "code": "<type>:<context>"}`.
type Error struct {
	Status  int
	Code    Code
	Text    string            // for people: says what is wrong and holds no secret
	details map[string]string // field → text, from an upstream's validation error
	Header  http.Header       // response headers that are sent with the error
	Cause   error             // for the log only
	Hint    string            // for the log only: what the operator can do

	adopted    string        // the upstream's own code, sent instead of Code; "" means none
	Upstream   int           // the upstream's status; 0 means that it has not answered
	RetryAfter time.Duration // the pause that the upstream asked for; 0 means none
	Repeated   bool          // the error is that of another request, which has logged it
}

// Error returns the code, the text and the cause, for the log. It leaves out a text of the upstream.
func (e *Error) Error() string {
	text := e.LoggedCode()
	if e.adopted == "" {
		text += ": " + e.Text
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// SentCode returns the code that the visitor gets: the upstream's own if Adopt took it over, else Code.
func (e *Error) SentCode() string { return cmp.Or(e.adopted, e.Code.String()) }

// LoggedCode returns the code for the log. It is SentCode, unless that is the upstream's and has not the form of the
// API's codes: then it could be a text.
func (e *Error) LoggedCode() string { return loggedCode(e.adopted, e.Code) }

// loggedCode returns an adopted code if it has the form of a code, else ours.
func loggedCode(adopted string, ours Code) string {
	if ValidCode(adopted) {
		return adopted
	}
	return ours.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Because returns a copy of e with the given cause.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.Cause = cause
	return &c
}

// withHint sets what the operator can do, and returns e.
func (e *Error) withHint(hint string) *Error {
	e.Hint = hint
	return e
}

// Body returns the JSON that is sent for e.
func (e *Error) Body() []byte {
	// Marshal cannot fail: the upstream's text was decoded, which replaces invalid UTF-8.
	body, _ := json.Marshal(struct {
		Error   string            `json:"error"`
		Code    string            `json:"code"`
		Details map[string]string `json:"details,omitempty"`
	}{e.Text, e.SentCode(), e.details}, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	return body
}

// Level returns the log level of e: the more it concerns the operator, the higher.
func (e *Error) Level() zapcore.Level {
	switch {
	case e.Repeated:
		return zapcore.DebugLevel
	case e.Code == CodeOverloaded, e.Code == CodeForbiddenOrigin, e.Code == CodeBlockedUpstream:
		return zapcore.WarnLevel
	case e.Status < http.StatusInternalServerError, e.Code == codeShuttingDown:
		return zapcore.DebugLevel
	}
	return zapcore.ErrorLevel
}

// Label returns the code for metrics and the log. Unlike SentCode, it never holds the upstream's words.
func (e *Error) Label() string { return e.Code.String() }
