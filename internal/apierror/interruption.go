package apierror

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap/zapcore"
)

// Interruption is the reason why an answer has no finish from the upstream. The visitor gets it as a finish if the
// stream has begun, and as an error if nothing was sent.
type Interruption struct {
	Code      Code
	Text      string
	before    *Error // sent if the stream has not begun; nil means that it always has
	Retryable bool   // another attempt may succeed
	TryLabel  string // the label, in metrics, of an attempt that ends this way
	Cause     error  // for the log only
	adopted   string // the upstream's own code, sent instead of Code; "" means none
}

// Error returns the code, the text and the cause, for the log.
func (i *Interruption) Error() string {
	if i.Cause != nil {
		return i.Code.String() + ": " + i.Text + ": " + i.Cause.Error()
	}
	return i.Code.String() + ": " + i.Text
}

// Unwrap returns the cause.
func (i *Interruption) Unwrap() error { return i.Cause }

// Before returns the error for a visitor to whom nothing was sent yet.
func (i *Interruption) Before() *Error {
	if i.before == nil {
		return Closed.before
	}
	return i.before
}

// FinishReason returns the finish's finishReason: "error", or "stop" if the visitor stopped the answer, because that is
// no error.
func (i *Interruption) FinishReason() string {
	if i.IsStop() {
		return "stop"
	}
	return "error"
}

// Level returns the log level of i: the more it concerns the operator, the higher.
func (i *Interruption) Level() zapcore.Level {
	switch i.Code {
	case codeShuttingDown, codeStopped, codeAbandoned:
		return zapcore.DebugLevel
	case codeLeak:
		return zapcore.ErrorLevel
	}
	return zapcore.WarnLevel
}

// Because returns a copy of i with the given cause.
func (i *Interruption) Because(cause error) *Interruption {
	c := *i
	c.Cause = cause
	return &c
}

// Stating returns a copy of i with the upstream's own text and code. An empty one leaves its own as it is. A code of the
// API's form also says what the operator can do, as in FromAnswer.
func (i *Interruption) Stating(text, code string) *Interruption {
	c := *i
	c.Text, c.adopted = cmp.Or(text, i.Text), code
	if ValidCode(code) {
		c.before = ofStated(stated{Error: c.Text, Code: code})
	}
	return &c
}

// InsteadOf returns Closed with the words of an error that comes too late, because the stream has begun.
func InsteadOf(e *Error) *Interruption {
	c := *Closed
	if e.adopted != "" {
		c.Text, c.adopted = e.Text, e.adopted
	}
	c.before, c.Cause = e, e.Cause
	return &c
}

// IsStop reports whether a visitor stopped the answer.
func (i *Interruption) IsStop() bool { return i.Code == codeStopped }

// IsBreak reports whether the upstream broke the answer off, by its connection or by its silence.
func (i *Interruption) IsBreak() bool { return i.Code == codeClosed || i.Code == codeStalled }

// SentCode returns the code that the visitor gets: the upstream's own if Stating took it over, else Code.
func (i *Interruption) SentCode() string { return cmp.Or(i.adopted, i.Code.String()) }

// LoggedCode returns the code for the log, as that of an Error.
func (i *Interruption) LoggedCode() string { return loggedCode(i.adopted, i.Code) }

// interruptions lists all interruptions, in the order of their declarations below.
var interruptions []*Interruption

// Interruptions returns every Interruption that there is.
func Interruptions() []*Interruption { return slices.Clone(interruptions) }

// interruption puts an interruption on the list.
func interruption(i Interruption) *Interruption {
	interruptions = append(interruptions, &i)
	return &i
}

// The reasons why an answer can break off.
var (
	Unreachable = interruption(Interruption{
		Code: codeClosed, Text: "the assistant cannot be reached",
		before:    FromStatus(http.StatusBadGateway).withHint("check whether this machine can reach the endpoint"),
		Retryable: true,
		TryLabel:  "unreachable",
	})
	Closed = interruption(Interruption{
		Code: codeClosed, Text: "the answer broke off",
		before: &Error{Status: http.StatusBadGateway, Code: CodeBadGateway, Text: "the assistant did not answer",
			Hint: "the upstream, or something on the way to it, closes connections before the answer is complete"},
		Retryable: true,
		TryLabel:  "broken",
	})
	Stalled = interruption(Interruption{
		Code: codeStalled, Text: "the answer stalled",
		before:   FromStatus(http.StatusGatewayTimeout).withHint("raise idle_timeout if the assistant pauses for longer"),
		TryLabel: "stalled",
	})
	ResponseTimeout = interruption(Interruption{
		Code: codeTimeoutUpstream, Text: "the assistant took too long to answer",
		before:   FromStatus(http.StatusGatewayTimeout).withHint("raise response_timeout if the assistant takes longer to begin"),
		TryLabel: "timeout",
	})
	MaxDuration = interruption(Interruption{
		Code: codeMaxDuration, Text: "the answer took too long",
		before:   FromStatus(http.StatusGatewayTimeout).withHint("raise max_duration if answers take longer"),
		TryLabel: "max_duration",
	})
	Leak = interruption(Interruption{
		Code: codeLeak, Text: "the answer was stopped",
		before: &Error{
			Status: http.StatusBadGateway, Code: CodeBadGateway, Text: "the answer was stopped",
			Hint: "the upstream sent the API token back: revoke the token, and inform IllumiChat",
		},
		TryLabel: "leak",
	})
	ShuttingDown = interruption(Interruption{
		Code: codeShuttingDown, Text: "the server is restarting; please try again",
		before: &Error{
			Status: http.StatusServiceUnavailable, Code: codeShuttingDown,
			Text: "the server is restarting; please try again", Header: RetryAfterHeader(time.Second),
		},
		TryLabel: "shutting_down",
	})
	// Stopped always ends with a finish, even before the stream has begun: to stop an answer is no error. Abandoned
	// reaches nobody.
	Stopped   = interruption(Interruption{Code: codeStopped, TryLabel: "left"})
	Abandoned = interruption(Interruption{Code: codeAbandoned, Text: "no visitor came back to the answer", TryLabel: "left"})

	// Lost ends a stream that another instance wrote. The stream's listeners at this instance get it.
	Lost = interruption(Interruption{
		Code: CodeLost, Text: "the rest of the answer is lost",
		before: &Error{Status: http.StatusBadGateway, Code: CodeLost, Text: "the answer is lost; send the question again"},
	})
)
