package illumichat

import (
	"errors"
	"maps"
	"net/http"
	"strconv"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/cause"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
)

// statusClientClosed is the status that Caddy and nginx log for a client that left before the answer.
const statusClientClosed = 499

var (
	errMethod = &apierror.Error{
		Status: http.StatusMethodNotAllowed, Code: apierror.CodeMethodNotAllowed,
		Text: "use POST to send a chat", Header: http.Header{"Allow": {"POST, OPTIONS"}},
	}
	errLoop = &apierror.Error{
		Status: http.StatusLoopDetected, Code: apierror.CodeBadGateway,
		Text: "the endpoint of this chat leads back to a chat of this site", Hint: apierror.HintLoop,
	}
	errMethodOfResumable = &apierror.Error{
		Status: http.StatusMethodNotAllowed, Code: apierror.CodeMethodNotAllowed,
		Text:   "use POST to send a chat, GET to continue an answer and DELETE to stop one",
		Header: http.Header{"Allow": {"DELETE, GET, POST, OPTIONS"}},
	}
)

// writeError sends err to the visitor, to whom nothing may have been sent before. An error other than an
// *apierror.Error means that the visitor has left.
func writeError(w http.ResponseWriter, log *telemetry.Log, c *telemetry.Record, err error) {
	var e *apierror.Error
	if !errors.As(err, &e) {
		c.Outcome, c.Cause = telemetry.OutcomeLeft, telemetry.CauseLeft
		w.WriteHeader(statusClientClosed)
		return
	}
	noteError(log, c, e)

	header := w.Header()
	maps.Copy(header, e.Header.Clone()) // cloned: requests share e.Header, and other directives may edit the response's
	header.Set("Content-Type", typeJSON)
	header.Set("Cache-Control", "no-store")
	// With a length, the response is complete before net/http knows that nothing follows: see visitor.Body.Discard.
	body := e.Body()
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.Status)
	_, _ = w.Write(body)         // an error means that the visitor is gone
	header.Del("Content-Length") // if intercept holds the response back, it may write another body
}

// noteError records and logs that a request ends with e.
func noteError(log *telemetry.Log, c *telemetry.Record, e *apierror.Error) {
	c.Code, c.CodeLabel = e.LoggedCode(), e.Label()
	c.Outcome = telemetry.OutcomeRefused
	if c.Admitted || e.Repeated {
		c.Outcome = telemetry.OutcomeFailed
	}
	logError(log, c, e)
}

// logError logs a failed chat, with its assistant. Failures that the operator should know of are not repeated for each
// chat. All others are logged at debug level.
func logError(log *telemetry.Log, c *telemetry.Record, e *apierror.Error) {
	problem := telemetry.Problem{Level: levelOf(c, e), Kind: kindOf(e), Message: messageOf(e), Hint: e.Hint}
	if _, unusable := errors.AsType[tokenUnusable](e); unusable {
		problem.Breaks = telemetry.Token
	} else if c.Admitted {
		problem.Breaks = telemetry.Answers
	}
	log.ReportChat(c, problem, zap.Int("status", e.Status), zap.String("code", e.LoggedCode()), zap.NamedError("cause", e.Cause))
}

// messageOf returns what the log says of an error.
func messageOf(e *apierror.Error) string {
	if e.Code == apierror.CodeForbiddenOrigin {
		return "a page of another origin was refused"
	}
	return "the chat failed"
}

// levelOf returns the log level of an error. An upstream that refuses an admitted chat has a reason that the operator can
// remove, such as a wrong endpoint. Some reasons are the visitor's: too large, too often, or a chatId of the past.
func levelOf(c *telemetry.Record, e *apierror.Error) zapcore.Level {
	level := e.Level()
	if level > zapcore.DebugLevel || !c.Admitted || e.Upstream < http.StatusBadRequest || e.Upstream >= http.StatusInternalServerError {
		return level
	}
	switch {
	case e.Upstream == http.StatusRequestEntityTooLarge, e.Upstream == http.StatusTooManyRequests:
		return level
	case e.Upstream == http.StatusNotFound && c.Continued:
		return level
	}
	return zapcore.WarnLevel
}

// kindOf returns what makes an error the same problem as another one: the code, the hint and the cause. The cause of a
// refused page does not count: it quotes the page, so a stranger could fill the log.
func kindOf(e *apierror.Error) string {
	kind := e.Label() + " " + e.Hint
	if e.Code == apierror.CodeForbiddenOrigin {
		return kind
	}
	return kind + " " + cause.Kind(e.Cause)
}
