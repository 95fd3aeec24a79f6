package illumichat

import (
	"net/http"
	"time"

	"go.uber.org/zap/zapcore"
)

// breakOff is why an answer has no finish of its own. It is told as a finish where the stream has begun,
// and as an error where nothing was sent.
type breakOff struct {
	code   errorCode
	text   string
	before *chatError // where nothing was sent; nil: that cannot be
	again  bool       // another try may do better
	try    string     // the label of a try that ends like this, in metrics
	cause  error      // for the log alone
}

func (b *breakOff) Error() string {
	if b.cause != nil {
		return b.code.String() + ": " + b.text + ": " + b.cause.Error()
	}
	return b.code.String() + ": " + b.text
}

func (b *breakOff) Unwrap() error { return b.cause }

// beforeAnything returns the error for a visitor who was sent nothing yet.
func (b *breakOff) beforeAnything() *chatError {
	if b.before == nil {
		return errClosed.before
	}
	return b.before
}

// finishReason is that of the finish. What a visitor wanted is no error.
func (b *breakOff) finishReason() string {
	if b.code == codeStopped {
		return "stop"
	}
	return "error"
}

// level is how much it is the operator's matter.
func (b *breakOff) level() zapcore.Level {
	switch b.code {
	case codeShuttingDown, codeStopped, codeAbandoned:
		return zapcore.DebugLevel
	case codeLeak:
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
		code: codeClosed, text: "the assistant cannot be reached",
		before: statusError(http.StatusBadGateway).withHint("see whether this machine can reach the endpoint"),
		again:  true,
		try:    "unreachable",
	}
	errClosed = &breakOff{
		code: codeClosed, text: "the answer broke off",
		before: &chatError{status: http.StatusBadGateway, code: codeBadGateway, text: "the assistant did not answer",
			hint: "the upstream, or something on the way to it, closes connections before the answer is complete"},
		again: true,
		try:   "broken",
	}
	errStalled = &breakOff{
		code: codeStalled, text: "the answer stalled",
		before: statusError(http.StatusGatewayTimeout).withHint("raise idle_timeout if the assistant pauses for longer"),
		try:    "stalled",
	}
	errResponseTimeout = &breakOff{
		code: codeTimeoutUpstream, text: "the assistant took too long to answer",
		before: statusError(http.StatusGatewayTimeout).withHint("raise response_timeout if the assistant takes longer to begin"),
		again:  true,
		try:    "timeout",
	}
	errMaxDuration = &breakOff{
		code: codeMaxDuration, text: "the answer took too long",
		before: statusError(http.StatusGatewayTimeout).withHint("raise max_duration if answers take longer"),
		try:    "max_duration",
	}
	errLeak = &breakOff{
		code: codeLeak, text: "the answer was stopped",
		before: &chatError{
			status: http.StatusBadGateway, code: codeBadGateway, text: "the answer was stopped",
			hint: "the upstream sent the API token back: revoke it, and tell IllumiChat",
		},
		try: "leak",
	}
	errShuttingDown = &breakOff{
		code: codeShuttingDown, text: "the server is restarting; please try again",
		before: &chatError{
			status: http.StatusServiceUnavailable, code: codeShuttingDown,
			text: "the server is restarting; please try again", header: retryAfterHeader(time.Second),
		},
		try: "shutting_down",
	}
	// These two can only be of a stream that has begun.
	errStopped   = &breakOff{code: codeStopped, try: "left"}
	errAbandoned = &breakOff{code: codeAbandoned, text: "nobody listened to the answer", try: "left"}

	// This one is of a stream that another instance has written, and told to whoever listens here.
	errLost = &breakOff{code: codeLost, text: "the rest of the answer is lost"}
)
