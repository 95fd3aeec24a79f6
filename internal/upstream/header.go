package upstream

import (
	"net/http"
	"slices"
	"strings"
)

// filter returns the upstream's response headers that the visitor gets. A field whose name or value holds the token is
// reported and left out.
func (a acceptance) filter(upstream http.Header) http.Header {
	header := make(http.Header, len(upstream))
	for name, values := range upstream {
		if !isDropped(name, values) && !a.leaks(name, values) {
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

// isDropped reports whether the visitor does not get a header field. The name must be in canonical form.
func isDropped(name string, values []string) bool {
	return droppedHeaders[name] || hasDroppedAffix(name) || name == "Link" && slices.ContainsFunc(values, makesRequests)
}

// leaks calls a.report if a field holds the token, and returns true then. The report does not name a field whose name
// holds the token, because reports are logged.
func (a acceptance) leaks(name string, values []string) bool {
	if a.token.inName(name) {
		a.report(Leak{What: "the header is dropped", Header: "(its name holds the token)"})
		return true
	}
	for _, value := range values {
		if a.token.In([]byte(value)) {
			a.report(Leak{What: "the header is dropped", Header: printableField(name, a.token)})
			return true
		}
	}
	return false
}
