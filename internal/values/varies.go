package values

import (
	"slices"
	"strings"
)

// This file says which of Caddy's placeholders tell visitors apart. In the lists, a name that ends with a dot
// stands for all that begin with it. Names of headers are in lower case. A placeholder in no list may tell visitors apart:
// a header, a cookie, a variable, or a value of another module.

// ofNobody are placeholders that say nothing about a visitor: they describe the machine, the site or the chat.
var ofNobody = []string{
	"env.", "file.", "system.",
	"http.request.host", "http.request.host.labels.", "http.request.hostport", "http.request.port", "http.request.scheme",
	"http.request.header.host", "http.request.header.origin", "http.request.header.accept", "http.request.header.content-type",
	"http.request.header.sec-fetch-site", "http.request.header.sec-fetch-mode", "http.request.header.sec-fetch-dest",
	"http.request.method", "http.request.orig_method", "http.request.proto", "http.request.proto_name",
	"http.request.local", "http.request.local.",
	"http.request.uri.path", "http.request.uri.path_escaped", "http.request.uri.path.file", "http.request.uri.path.file.", "http.request.uri.path.dir",
	"http.request.orig_uri.path", "http.request.orig_uri.path.file", "http.request.orig_uri.path.file_escaped", "http.request.orig_uri.path.dir",
	"http.request.tls.version", "http.request.tls.cipher_suite", "http.request.tls.resumed", "http.request.tls.proto",
	"http.request.tls.proto_mutual", "http.request.tls.server_name", "http.request.tls.ech", "http.request.tls.client.issuer",
	"http.vars.root", "http.vars.fs", "http.vars.trusted_proxy", "http.vars.unhandled",
	"http.response.header.", "http.error.", "http.illumichat.", "http.intercept.", "http.matchers.file.", "http.precompressed.",
	"http.reverse_proxy.active.", "http.reverse_proxy.is_transport_error", "http.reverse_proxy.retries", "http.reverse_proxy.status_code",
	"http.reverse_proxy.status_text", "http.reverse_proxy.upstream.", "http.shutting_down",
}

// fleeting are placeholders that have another value for each request, or for each connection.
var fleeting = []string{
	"time.", "http.request.uuid", "http.request.duration", "http.request.duration_ms", "http.request.body", "http.request.body_base64",
	"http.request.remote", "http.request.remote.port", "http.time_until_shutdown",
	"http.vars.uuid", "http.vars.start_time", "http.vars.trace_id", "http.vars.span_id",
	"http.reverse_proxy.duration", "http.reverse_proxy.duration_ms",
}

// ofOneRequest are placeholders that differ between the request for an answer and a request that resumes or stops it, which
// has another method, query and body.
var ofOneRequest = []string{
	"http.request.method", "http.request.orig_method", "http.request.header.content-length", "http.request.header.content-type",
	"http.request.header.last-event-id", "http.request.header.illumichat-stream",
	"http.request.uri", "http.request.uri_escaped", "http.request.uri.query", "http.request.uri.query_escaped", "http.request.uri.prefixed_query",
	"http.request.orig_uri", "http.request.orig_uri.query", "http.request.orig_uri.prefixed_query",
}

const headerPrefix = "http.request.header."

// listed reports whether a list has the name of a placeholder.
func listed(list []string, name string) bool {
	if strings.HasPrefix(name, headerPrefix) {
		name = strings.ToLower(name)
	}
	return slices.ContainsFunc(list, func(entry string) bool {
		return entry == name || strings.HasSuffix(entry, ".") && strings.HasPrefix(name, entry)
	})
}

// Varies reports whether a placeholder of the text can tell visitors apart.
func (t Template) Varies() bool {
	return slices.ContainsFunc(t.names, func(name string) bool { return !listed(ofNobody, name) && !listed(fleeting, name) })
}

// Fleeting returns the first placeholder of the text, in braces, that has another value for each request; "" if there is
// none.
func (t Template) Fleeting() string { return t.firstOf(fleeting) }

// OfOneRequest returns the first placeholder of the text, in braces, whose value a request that resumes an answer does not
// have; "" if there is none.
func (t Template) OfOneRequest() string { return t.firstOf(fleeting, ofOneRequest) }

func (t Template) firstOf(lists ...[]string) string {
	for _, name := range t.names {
		if slices.ContainsFunc(lists, func(list []string) bool { return listed(list, name) }) {
			return Printable("{" + name + "}")
		}
	}
	return ""
}
