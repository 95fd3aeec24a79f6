package cause

import (
	"regexp"
	"slices"
	"strings"
)

// httpKinds maps how an error of net/http begins to its kind. net/http exports few types of errors, and the rest of a
// text may be the other side's bytes. So a text selects a kind, and is not repeated. An upstream that imitates a text
// gains nothing but a wrong kind.
var httpKinds = []struct{ begins, kind string }{
	{"net/http: TLS handshake timeout", "TLS handshake timeout"},
	{"tls: ", "the TLS handshake failed"},
	{"http: server gave HTTP response to HTTPS client", "the other side does not speak TLS"},
	{"net/http: timeout awaiting response headers", "timeout while waiting for response headers"},
	{"http: server closed idle connection", "the idle connection was closed"},
	{"http: idle connection timeout", "the idle connection was closed"},
	{"http: CloseIdleConnections called", "the idle connection was closed"},
	{"net/http: server response headers exceeded", "the response headers are too large"},
	{"net/http: too many 1xx informational responses", "too many informational responses"},

	{"malformed HTTP response", "malformed status line"},
	{"malformed HTTP status code", "malformed status line"},
	{"malformed HTTP version", "malformed status line"},
	{"malformed MIME header", "malformed header"},
	{"message too large", "the response headers are too large"},
	{"bad Content-Length", "malformed Content-Length"},
	{"invalid empty Content-Length", "malformed Content-Length"},
	{"http: message cannot contain multiple Content-Length", "malformed Content-Length"},
	{"unsupported transfer encoding", "malformed Transfer-Encoding"},
	{"too many transfer encodings", "malformed Transfer-Encoding"},

	{"bad trailer key", "malformed trailer"},
	{"invalid Trailer key", "malformed trailer"},
	{"http: unexpected EOF reading trailer", "malformed trailer"},
	{"http: suspiciously long trailer", "malformed trailer"},

	{"malformed chunked encoding", malformedChunks},
	{"invalid byte in chunk length", malformedChunks},
	{"http chunk length too large", malformedChunks},
	{"empty hex number for chunk length", malformedChunks},
	{"chunked encoding contains too much non-data", malformedChunks},
	{"chunked line ends with bare LF", malformedChunks},
	{"invalid CR in chunked line", malformedChunks},
	{"header line too long", malformedChunks},

	{"malformed response from server", "malformed HTTP/2 headers"},
	{"invalid header field ", "malformed HTTP/2 headers"},
	{"invalid pseudo-header", "malformed HTTP/2 headers"},
	{"duplicate pseudo-header", "malformed HTTP/2 headers"},
	{"http2: response header list larger", "the response headers are too large"},
	{"http2: timeout awaiting response headers", "timeout while waiting for response headers"},
	{"http2: client connection lost", "the HTTP/2 connection does not answer pings"},
	{"http2: Transport received Server's graceful shutdown GOAWAY", "HTTP/2 GOAWAY"},
	{"http2: ", "HTTP/2 protocol error"},
	{"connection error: ", "HTTP/2 protocol error"},
	{"stream error: ", "HTTP/2 protocol error"},
}

const malformedChunks = "malformed chunked encoding"

// http2Kinds recognize the errors of HTTP/2 that have a code. The code is the only group.
var http2Kinds = []struct {
	form *regexp.Regexp
	kind string
}{
	{regexp.MustCompile(again + `http2: server sent GOAWAY and closed the connection; LastStreamID=\d+, ErrCode=(\w+)`), "HTTP/2 GOAWAY"},
	{regexp.MustCompile(again + `http2: Transport received GOAWAY from server ErrCode:(\w+)`), "HTTP/2 GOAWAY"},
	{regexp.MustCompile(again + `stream error: stream ID \d+; (\w+)`), "HTTP/2 stream error"},
	{regexp.MustCompile(again + `(?:http2: )?connection error: (\w+)`), "HTTP/2 connection error"},
}

// again begins an error of HTTP/2 after which net/http would have sent a request without a body again.
const again = `^(?:http2: Transport: cannot retry err \[)?`

// http2Codes are the error codes of RFC 9113, § 7.
var http2Codes = []string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR",
	"REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

// ofHTTP returns the kind of an error of net/http.
func ofHTTP(err error) string {
	for err := range chain(err) {
		text := err.Error()
		if kind := ofHTTP2(text); kind != "" {
			return kind
		}
		for _, known := range httpKinds {
			if strings.HasPrefix(text, known.begins) {
				return known.kind
			}
		}
	}
	return ""
}

// ofHTTP2 returns the kind and the code of an error of HTTP/2 from its text.
func ofHTTP2(text string) string {
	for _, known := range http2Kinds {
		match := known.form.FindStringSubmatch(text)
		switch {
		case match == nil:
		case slices.Contains(http2Codes, match[1]):
			return known.kind + ": " + match[1]
		default:
			return known.kind + " with an unknown code"
		}
	}
	return ""
}
