package upstream

import (
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// IsOwn reports whether a visitor's request is one that this module has sent upstream, with the current token of source.
// Then the endpoint leads to a chat with the same token, most likely to this chat itself, and each answer would wait for
// another one without end. The token is read only for a request that may be one, because it may be in a file.
func IsOwn(r *http.Request, source TokenSource) bool {
	if r.UserAgent() != userAgent {
		return false
	}
	sent, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || len(sent) < values.MinTokenLength {
		return false
	}
	token, err := source.Get()
	return err == nil && subtle.ConstantTimeCompare([]byte(sent), token.value) == 1
}
