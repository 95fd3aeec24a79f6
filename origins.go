package illumichat

import (
	"errors"
	"net/http"

	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/origin"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
)

// checkOrigin returns an error if r comes from a page that may not use the chat.
func (h *Handler) checkOrigin(r *http.Request) error {
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return h.origins.Check(r, trusted)
}

// answerPreflight answers a CORS preflight. Only a preflight that is refused has a record: a browser does not send the
// chat after it, so nothing else would tell the operator.
func (h *Handler) answerPreflight(w http.ResponseWriter, r *http.Request) {
	var refused *apierror.Error
	if errors.As(h.checkOrigin(r), &refused) {
		c := telemetry.NewRecord(r)
		defer c.Done()
		noteError(h.log, c, refused)
	}
	w.WriteHeader(http.StatusNoContent)
}

// checkShared logs that another directive has taken away what lets the pages of an allowed origin read the answer. A
// deferred directive does so when the response headers are written, so the handler sees it only afterwards.
func (h *Handler) checkShared(header http.Header, shared string) {
	if shared == "" || origin.IsShared(header, shared) {
		return
	}
	h.log.Report(zapcore.WarnLevel, "unshared", "browsers do not let pages of an allowed origin read the answer",
		"a header directive with defer, > or - changes Access-Control-Allow-Origin after the chat has set it; exclude the chat's path from that directive")
}
