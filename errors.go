package illumichat

import (
	"errors"
	"maps"
	"net/http"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// statusClientClosed is what Caddy and nginx log for a client that left before the answer.
const statusClientClosed = 499

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
func (h *Handler) writeError(w http.ResponseWriter, c *record, err error) {
	var e *apierror.Error
	if !errors.As(err, &e) {
		c.outcome, c.cause = outcomeLeft, causeLeft
		w.WriteHeader(statusClientClosed)
		return
	}
	c.code, c.codeLabel = e.SentCode(), e.Label()
	c.outcome = outcomeRefused
	if c.admitted {
		c.outcome = outcomeFailed
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
	fields := []zap.Field{zap.Int("status", e.Status), zap.String("code", shorten(e.SentCode())), zap.NamedError("cause", e.Cause)}
	if level := e.Level(); level > zapcore.DebugLevel {
		h.troubles.tell(level, e.Label()+" "+e.Hint, "the chat failed", e.Hint, fields...)
	} else if c := h.logger.Check(level, "the chat failed"); c != nil {
		c.Write(fields...)
	}
}
