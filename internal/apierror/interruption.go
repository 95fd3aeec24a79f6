package apierror

import (
	"net/http"
	"time"

	"go.uber.org/zap/zapcore"
)

// Interruption is why an answer has no finish of its own. It is told as a finish where the stream has begun,
// and as an error where nothing was sent.
type Interruption struct {
	Code      Code
	Text      string
	before    *Error // where nothing was sent; nil: that cannot be
	Retryable bool   // another try may do better
	TryLabel  string // the label of a try that ends like this, in metrics
	Cause     error  // for the log alone
}

func (b *Interruption) Error() string {
	if b.Cause != nil {
		return b.Code.String() + ": " + b.Text + ": " + b.Cause.Error()
	}
	return b.Code.String() + ": " + b.Text
}

func (b *Interruption) Unwrap() error { return b.Cause }

// Before returns the error for a visitor who was sent nothing yet.
func (b *Interruption) Before() *Error {
	if b.before == nil {
		return Closed.before
	}
	return b.before
}

// FinishReason is that of the finish. What a visitor wanted is no error.
func (b *Interruption) FinishReason() string {
	if b.Code == codeStopped {
		return "stop"
	}
	return "error"
}

// Level is how much it is the operator's matter.
func (b *Interruption) Level() zapcore.Level {
	switch b.Code {
	case codeShuttingDown, codeStopped, codeAbandoned:
		return zapcore.DebugLevel
	case codeLeak:
		return zapcore.ErrorLevel
	}
	return zapcore.WarnLevel
}

// Because returns a copy of b that remembers its cause.
func (b *Interruption) Because(cause error) *Interruption {
	c := *b
	c.Cause = cause
	return &c
}

// The ways an answer can break off.
var (
	Unreachable = &Interruption{
		Code: codeClosed, Text: "the assistant cannot be reached",
		before:    FromStatus(http.StatusBadGateway).withHint("see whether this machine can reach the endpoint"),
		Retryable: true,
		TryLabel:  "unreachable",
	}
	Closed = &Interruption{
		Code: codeClosed, Text: "the answer broke off",
		before: &Error{Status: http.StatusBadGateway, Code: CodeBadGateway, Text: "the assistant did not answer",
			Hint: "the upstream, or something on the way to it, closes connections before the answer is complete"},
		Retryable: true,
		TryLabel:  "broken",
	}
	Stalled = &Interruption{
		Code: codeStalled, Text: "the answer stalled",
		before:   FromStatus(http.StatusGatewayTimeout).withHint("raise idle_timeout if the assistant pauses for longer"),
		TryLabel: "stalled",
	}
	ResponseTimeout = &Interruption{
		Code: codeTimeoutUpstream, Text: "the assistant took too long to answer",
		before:    FromStatus(http.StatusGatewayTimeout).withHint("raise response_timeout if the assistant takes longer to begin"),
		Retryable: true,
		TryLabel:  "timeout",
	}
	MaxDuration = &Interruption{
		Code: codeMaxDuration, Text: "the answer took too long",
		before:   FromStatus(http.StatusGatewayTimeout).withHint("raise max_duration if answers take longer"),
		TryLabel: "max_duration",
	}
	Leak = &Interruption{
		Code: codeLeak, Text: "the answer was stopped",
		before: &Error{
			Status: http.StatusBadGateway, Code: CodeBadGateway, Text: "the answer was stopped",
			Hint: "the upstream sent the API token back: revoke it, and tell IllumiChat",
		},
		TryLabel: "leak",
	}
	ShuttingDown = &Interruption{
		Code: codeShuttingDown, Text: "the server is restarting; please try again",
		before: &Error{
			Status: http.StatusServiceUnavailable, Code: codeShuttingDown,
			Text: "the server is restarting; please try again", Header: RetryAfterHeader(time.Second),
		},
		TryLabel: "shutting_down",
	}
	// These two can only be of a stream that has begun.
	Stopped   = &Interruption{Code: codeStopped, TryLabel: "left"}
	Abandoned = &Interruption{Code: codeAbandoned, Text: "nobody listened to the answer", TryLabel: "left"}

	// This one is of a stream that another instance has written, and told to whoever listens here.
	Lost = &Interruption{Code: codeLost, Text: "the rest of the answer is lost"}
)
