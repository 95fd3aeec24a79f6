package site

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// Codes of the chat's refusals.
const (
	codeBadRequest       = "bad_request:chat"
	codeBadRequestStream = "bad_request:stream"
	codeMethod           = "method_not_allowed:chat"
	codeMediaType        = "unsupported_media_type:chat"
	codeOrigin           = "forbidden:origin"
	codeAssistant        = "forbidden:assistant"
	codeRateLimit        = "rate_limit:chat"
	codeNotFound         = "not_found:chat"
	codeUnknownStream    = "not_found:stream"
	codeStopped          = "stopped:visitor"

	codeBadRequestUpstream = "bad_request:upstream"
	codeNotFoundUpstream   = "not_found:upstream"
)

// refusal is the body of an error as the chat writes it.
type refusal struct {
	Error string `json:"error"`
	Code  string `json:"code"`
}

// codeForm matches the codes of the chat, and those of the upstream that it passes on.
var codeForm = regexp.MustCompile(`^[a-z_]{1,40}:[a-z_]{1,40}$`)

// refusal returns the error in an answer. It returns false if the answer is not one of the chat's.
func (a *answer) refusal() (r refusal, ok bool) {
	err := json.Unmarshal([]byte(a.body), &r)
	return r, err == nil && r.Error != "" && codeForm.MatchString(r.Code)
}

// plainToTLS matches the answers of Go, and so of Caddy, of nginx and of Apache to plain HTTP on a port for TLS.
var plainToTLS = regexp.MustCompile(`HTTP request to an HTTPS server|plain HTTP request was sent to HTTPS port|plain HTTP to an SSL-enabled server port`)

// wantsTLS reports whether an answer says that its port speaks TLS.
func (a *answer) wantsTLS() bool {
	return a.status == http.StatusBadRequest && plainToTLS.MatchString(a.body)
}

// isRefusal reports whether an answer is the chat's refusal with the given code.
func (a *answer) isRefusal(code string) bool {
	r, ok := a.refusal()
	return ok && r.Code == code
}

// describe returns what an answer is, for a finding: its status, and the code and text of the chat or the server that sent
// it.
func (a *answer) describe() string {
	if r, ok := a.refusal(); ok {
		return fmt.Sprintf("%d %s (%s)", a.status, r.Code, printable(r.Error))
	}
	return fmt.Sprintf("%d with %s from %s", a.status, a.kind(), a.sender())
}

// kind returns what a body is.
func (a *answer) kind() string {
	media, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	text := strings.ToLower(strings.TrimSpace(a.body))
	switch {
	case text == "":
		return "an empty body"
	case media == "text/html", strings.HasPrefix(text, "<!doctype html"), strings.HasPrefix(text, "<html"):
		return "an HTML page"
	case json.Valid([]byte(a.body)):
		return "other JSON"
	}
	return "another text"
}

// printable returns a text of the site as a finding may print it. It returns "…" for one that is long, that a terminal
// would interpret, or that may hold a token.
func printable(text string) string {
	const longest = 200
	isControl := func(r rune) bool { return !unicode.IsPrint(r) }
	if len(text) > longest || !utf8.ValidString(text) || strings.ContainsFunc(text, isControl) || values.HoldsToken(text) {
		return "…"
	}
	return values.Printable(text)
}
