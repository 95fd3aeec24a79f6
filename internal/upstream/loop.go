package upstream

import "net/http"

// IsOwn reports whether a visitor's request is one that this module has sent upstream, with the current token of source.
// Then the endpoint leads back to the chat itself, and each answer would wait for another one without end.
func IsOwn(r *http.Request, source TokenSource) bool {
	if r.UserAgent() != userAgent { // so that the token of other requests is not read
		return false
	}
	token, err := source.Get()
	return err == nil && r.Header.Get("Authorization") == token.bearer()
}
