package illumichat

import (
	"errors"
	"maps"
	"net/http"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
)

// statusClientClosed is what Caddy and nginx log for a client that left before the answer.
const statusClientClosed = 499

const typeJSON = "application/json"

var (
	errMethod = &apierror.Error{
		Status: http.StatusMethodNotAllowed, Code: apierror.CodeMethodNotAllowed,
		Text: "use POST to send a chat", Header: http.Header{"Allow": {"POST, OPTIONS"}},
	}
	errMethodOfResumable = &apierror.Error{
		Status: http.StatusMethodNotAllowed, Code: apierror.CodeMethodNotAllowed,
		Text:   "use POST to send a chat, GET to go on with an answer and DELETE to stop one",
		Header: http.Header{"Allow": {"DELETE, GET, POST, OPTIONS"}},
	}
)

// writeError answers with err. Nothing may have been sent before.
func (h *Handler) writeError(w http.ResponseWriter, c *telemetry.Record, err error) {
	var e *apierror.Error
	if !errors.As(err, &e) {
		c.Outcome, c.Cause = telemetry.OutcomeLeft, telemetry.CauseLeft
		w.WriteHeader(statusClientClosed)
		return
	}
	c.Code, c.CodeLabel = e.SentCode(), e.Label()
	c.Outcome = telemetry.OutcomeRefused
	if c.Admitted {
		c.Outcome = telemetry.OutcomeFailed
	}
	h.logError(e)

	header := w.Header()
	maps.Copy(header, e.Header.Clone()) // the original is everybody's, and other directives may edit this
	header.Set("Content-Type", typeJSON)
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(e.Status)
	_, _ = w.Write(e.Body()) // whoever does not take it is gone
}

// logError tells the operator of failures that are not the visitor's.
func (h *Handler) logError(e *apierror.Error) {
	fields := []zap.Field{zap.Int("status", e.Status), zap.String("code", telemetry.Shorten(e.SentCode())), zap.NamedError("cause", e.Cause)}
	if level := e.Level(); level > zapcore.DebugLevel {
		h.log.Report(level, e.Label()+" "+e.Hint, "the chat failed", e.Hint, fields...)
	} else if c := h.log.Logger().Check(level, "the chat failed"); c != nil {
		c.Write(fields...)
	}
}
