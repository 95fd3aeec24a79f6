package telemetry

import (
	"fmt"
	"net/http"
	"testing"

	"go.uber.org/zap/zapcore"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// An error code of the upstream's changes neither labels nor log levels.
func TestLabelsAreNotTheUpstreams(t *testing.T) {
	for _, code := range []string{"overloaded:chat", "shutting_down:proxy", "unauthorized:upstream"} {
		e := apierror.FromStatus(http.StatusInternalServerError)
		e.Upstream = http.StatusInternalServerError
		e.Adopt(fmt.Appendf(nil, `{"error":"Their words.","code":%q}`, code))
		if e.Level() != zapcore.ErrorLevel || e.Label() != "server_error:upstream" {
			t.Errorf("%s: got the level %s and the label %s", code, e.Level(), e.Label())
		}
		if got := tryLabel(t.Context(), e); got != "server_error" {
			t.Errorf("%s: the try is labelled %s", code, got)
		}
	}
}
