package illumichat

import "net/http"

// crossOrigin decides whether a page may ask: by the browser's Sec-Fetch-Site, else by comparing Origin
// with Host. A request with neither, of curl or a server, passes.
var crossOrigin = http.NewCrossOriginProtection()

var (
	errMethod = &chatError{
		status: http.StatusMethodNotAllowed, code: "method_not_allowed:chat",
		text: "use POST to send a chat", header: http.Header{"Allow": {"POST, OPTIONS"}},
	}
	errOrigin = &chatError{
		status: http.StatusForbidden, code: "forbidden:origin",
		text: "pages of this origin may not use this chat",
	}
)

// isPreflight reports whether r is a CORS preflight (Fetch Standard, § 3.3.2).
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions &&
		r.Header.Get("Origin") != "" &&
		r.Header.Get("Access-Control-Request-Method") != ""
}

// checkOrigin lets POST requests of the site's own pages pass.
func checkOrigin(r *http.Request) error {
	if r.Method != http.MethodPost {
		return errMethod
	}
	if err := crossOrigin.Check(r); err != nil {
		return errOrigin.because(err)
	}
	return nil
}
