package illumichat

import (
	"net/http"

	"go.uber.org/zap/zapcore"

	"github.com/illumichat/caddy-illumichat/internal/origin"
)

// checkShared logs that another directive has taken away what lets the pages of an allowed origin read the answer. A
// deferred directive does so when the response headers are written, so the handler sees it only afterwards.
func (h *Handler) checkShared(header http.Header, shared string) {
	if shared == "" || origin.IsShared(header, shared) {
		return
	}
	h.log.Report(zapcore.WarnLevel, "unshared", "browsers keep the answer from pages of an allowed origin",
		"a header directive with defer, > or - changes Access-Control-Allow-Origin after the chat has set it; keep that directive from the chat's path")
}
