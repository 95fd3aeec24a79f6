package config

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// effect is how a handler treats a request of a chat. The path of a chat is no file.
type effect int

const (
	passes     effect = iota // to the next handler
	answers                  // itself
	mayAnswer                // or pass the request
	changesURI               // and passes the request
	runsRoutes
)

// passing are the handlers of Caddy that pass each chat to the next handler. An ACME server passes all paths but its own.
var passing = []string{
	"acme_server", "copy_response_headers", "encode", "headers", "intercept", "log_append", "map", "push", "request_body", "templates", "timeouts",
	"tracing", "vars",
}

// answering are the handlers that answer each request.
var answering = []string{chatModule, "copy_response", "error", "metrics"}

// effect returns how the handler treats a request of a chat. A handler that this package does not know may answer.
func (h *handler) effect() effect {
	switch {
	case h.module == "subroute" || h.module == "invoke":
		return runsRoutes
	case h.module == "rewrite":
		return changesURI
	case slices.Contains(passing, h.module):
		return passes
	case slices.Contains(answering, h.module):
		return answers
	}
	switch h.module {
	case "static_response":
		var response struct {
			StatusCode json.RawMessage `json:"status_code"`
		}
		if h.config(&response) && strings.Trim(string(response.StatusCode), `"`) == "103" {
			return passes
		}
		return answers
	case "file_server":
		var server struct {
			PassThru bool `json:"pass_thru"`
		}
		if h.config(&server) && server.PassThru {
			return passes
		}
		return answers
	case "reverse_proxy":
		if h.asksUpstreamFirst() {
			return mayAnswer
		}
		return answers
	}
	return mayAnswer
}

// isUnknown reports whether the handler is none of Caddy's.
func (h *handler) isUnknown() bool { return h.effect() == mayAnswer && !h.refuses() }

// asksUpstreamFirst reports whether a `reverse_proxy` can pass a request on after the upstream's answer, as `forward_auth`
// does: it handles an answer, and sends none itself.
func (h *handler) asksUpstreamFirst() bool {
	return slices.ContainsFunc(h.responses, func(routes []*route) bool { return !alwaysAnswer(routes) })
}

// alwaysAnswer reports whether routes answer each request.
func alwaysAnswer(routes []*route) bool {
	return slices.ContainsFunc(routes, func(r *route) bool {
		return len(r.sets) == 0 && slices.ContainsFunc(r.handlers, func(h *handler) bool {
			return h.effect() == answers || alwaysAnswer(h.routes)
		})
	})
}

// refuses reports whether the handler asks for a login.
func (h *handler) refuses() bool {
	return h.module == "authentication" || h.module == "reverse_proxy" && h.asksUpstreamFirst()
}

// rewriter returns the rewrite of a handler; nil if it cannot be known.
func (h *handler) rewriter() *rewrite.Rewrite {
	config := new(rewrite.Rewrite)
	if !h.config(config) {
		return nil
	}
	ctx, cancel := newContext()
	defer cancel()
	if config.Provision(ctx) != nil {
		return nil
	}
	return config
}

// changesPathFreely reports whether a `rewrite` makes of some paths others that are not just shorter at the beginning.
func (h *handler) changesPathFreely() bool {
	config := h.rewriter()
	return config == nil || config.URI != "" || config.StripPathSuffix != "" || len(config.URISubstring) > 0 || len(config.PathRegexp) > 0
}

// mayMake reports whether a `rewrite` may make a path of another one that nobody can find by looking at it.
func (h *handler) mayMake(path string) bool {
	config := h.rewriter()
	if config == nil || len(config.PathRegexp) > 0 {
		return true
	}
	beginning, _, isOpen := strings.Cut(config.URI, "{")
	return isOpen && h.rewriting() != "try_files" && strings.HasPrefix(path, beginning)
}

// ofTheRequest matches the placeholders that a made-up request has.
var ofTheRequest = regexp.MustCompile(`^\{(?:env\.|file\.|http\.matchers\.file\.|http\.regexp\.|http\.request\.(?:orig_)?uri|http\.request\.(?:host|method|scheme))`)

// placeholders matches the placeholders of a piece of JSON.
var placeholders = regexp.MustCompile(`\{[a-z][^{}"]*\}`)

// rewrite changes the request as the handler does. It reports whether the result is certain: it is not if it depends on
// something that a made-up request does not have.
func (h *handler) rewrite(s *state) (certain bool) {
	config := h.rewriter()
	if config == nil {
		return false
	}
	config.Rewrite(s.req, s.replacer())
	return !slices.ContainsFunc(placeholders.FindAllString(string(h.raw), -1), func(name string) bool {
		return !ofTheRequest.MatchString(name) || s.forgot(name)
	})
}
