package upstream

import (
	"net/http"
	"strings"
)

// droppedHeaders are the upstream's response headers that the visitor does not get. Some belong to the upstream's
// connection (RFC 9110, § 7.6.1) or to the form of its body. Others speak for the site, or change how the answer is
// cached, buffered or read.
var droppedHeaders = headerSet(
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Content-Type", "Content-Length", "Content-Encoding",
	"Server", "Via", "Alt-Svc", "Date", "Age", "Expires", "Pragma", "Location", "Refresh", "Clear-Site-Data",
	"Strict-Transport-Security", "Www-Authenticate", "Report-To", "Nel",
	"Cache-Control", "Surrogate-Control", "X-Sendfile",
)

var droppedHeaderPrefixes = []string{
	"Set-Cookie", "Access-Control-", "Content-Security-Policy", "X-Accel-", "Ratelimit",
}

const droppedHeaderSuffix = "Cdn-Cache-Control"

func headerSet(names ...string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[http.CanonicalHeaderKey(name)] = true
	}
	return set
}

// isDropped reports whether the visitor does not get a header field. The name must be in canonical form.
func isDropped(name string) bool {
	if droppedHeaders[name] || strings.HasSuffix(name, droppedHeaderSuffix) {
		return true
	}
	for _, prefix := range droppedHeaderPrefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// filter returns the upstream's response headers that the visitor gets. A field that holds the token is reported and
// left out.
func (a acceptance) filter(upstream http.Header) http.Header {
	header := make(http.Header, len(upstream))
	for name, values := range upstream {
		if !isDropped(name) && !a.leaks(name, values) {
			header[name] = values
		}
	}
	// Fields that Connection lists are hop-by-hop as well.
	for _, list := range upstream["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			header.Del(strings.TrimSpace(name))
		}
	}
	return header
}

// leaks calls a.report if a field holds the token, and returns true then.
func (a acceptance) leaks(name string, values []string) bool {
	for _, value := range values {
		if a.token.In([]byte(value)) {
			a.report(Leak{What: "the header is dropped", Header: name})
			return true
		}
	}
	return false
}
