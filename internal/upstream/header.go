package upstream

import (
	"net/http"
	"strings"
)

// droppedHeaders are what an answer of the upstream may not tell the visitor: what belongs to its
// connection (RFC 9110, § 7.6.1) and its body's form, and what would speak for the site or change how the
// answer is cached, buffered or read.
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

// isDropped takes a name in canonical form.
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

// filter returns what the visitor gets of the header of an answer. A field that leaks is told to report and left out.
func (a acceptance) filter(upstream http.Header) http.Header {
	header := make(http.Header, len(upstream))
	for name, values := range upstream {
		if !isDropped(name) && !a.leaks(name, values) {
			header[name] = values
		}
	}
	// Names that Connection lists are hop-by-hop as well.
	for _, list := range upstream["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			header.Del(strings.TrimSpace(name))
		}
	}
	return header
}

// leaks reports whether a field holds the token.
func (a acceptance) leaks(name string, values []string) bool {
	for _, value := range values {
		if a.token.In([]byte(value)) {
			a.report(Leak{What: "the header is dropped", Header: name})
			return true
		}
	}
	return false
}
