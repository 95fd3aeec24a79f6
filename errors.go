package illumichat

import (
	"errors"
	"maps"
	"net/http"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// statusClientClosed is what Caddy and nginx log for a client that left before the answer.
const statusClientClosed = 499

var (
	errMethod = &chatError{
		status: http.StatusMethodNotAllowed, code: codeMethodNotAllowed,
		text: "use POST to send a chat", header: http.Header{"Allow": {"POST, OPTIONS"}},
	}
	errMethodOfResumable = &chatError{
		status: http.StatusMethodNotAllowed, code: codeMethodNotAllowed,
		text:   "use POST to send a chat, GET to go on with an answer and DELETE to stop one",
		header: http.Header{"Allow": {"DELETE, GET, POST, OPTIONS"}},
	}
)

// writeError answers with err. Nothing may have been sent before.
func (h *Handler) writeError(w http.ResponseWriter, c *record, err error) {
	var e *chatError
	if !errors.As(err, &e) {
		c.outcome, c.cause = outcomeLeft, causeLeft
		w.WriteHeader(statusClientClosed)
		return
	}
	c.code, c.codeLabel = e.sentCode(), e.label()
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
	fields := []zap.Field{zap.Int("status", e.status), zap.String("code", shorten(e.sentCode())), zap.NamedError("cause", e.cause)}
	if level := e.level(); level > zapcore.DebugLevel {
		h.troubles.tell(level, e.label()+" "+e.hint, "the chat failed", e.hint, fields...)
	} else if c := h.logger.Check(level, "the chat failed"); c != nil {
		c.Write(fields...)
	}
}
