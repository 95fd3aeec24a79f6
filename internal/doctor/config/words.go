package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// This file says in the words of a Caddyfile what the JSON has.

// directive returns the name of the directive that makes a handler.
func (h *handler) directive() string {
	switch h.module {
	case "static_response":
		return h.response()
	case "reverse_proxy":
		return h.proxy()
	case "rewrite":
		return h.rewriting()
	case "authentication":
		var config struct {
			Providers map[string]json.RawMessage `json:"providers"`
		}
		if h.config(&config) && config.Providers["http_basic"] != nil {
			return "basic_auth"
		}
	case "headers":
		var config headers.Handler
		if h.config(&config) && config.Request != nil && config.Response == nil {
			return "request_header"
		}
		return "header"
	case "vars":
		var config map[string]json.RawMessage
		if h.config(&config) && config["root"] != nil {
			return "root"
		}
	}
	return h.module
}

// response returns the directive of a `static_response`.
func (h *handler) response() string {
	var config struct {
		Abort   bool                `json:"abort"`
		Headers map[string][]string `json:"headers"`
	}
	switch {
	case !h.config(&config):
	case config.Abort:
		return "abort"
	case len(config.Headers["Location"]) > 0:
		return "redir"
	}
	return "respond"
}

// proxy returns the directive of a `reverse_proxy`.
func (h *handler) proxy() string {
	var config struct {
		Rewrite   *struct{} `json:"rewrite"`
		Transport struct {
			Protocol string `json:"protocol"`
		} `json:"transport"`
	}
	switch {
	case !h.config(&config):
	case config.Rewrite != nil && h.asksUpstreamFirst():
		return "forward_auth"
	case config.Transport.Protocol == "fastcgi":
		return "php_fastcgi"
	}
	return "reverse_proxy"
}

// rewriting returns the directive of a `rewrite`.
func (h *handler) rewriting() string {
	var config struct {
		URI    string `json:"uri"`
		Method string `json:"method"`
	}
	switch {
	case !h.config(&config):
	case strings.Contains(config.URI, "{http.matchers.file."):
		return "try_files"
	case config.URI == "" && config.Method != "":
		return "method"
	case config.URI == "":
		return "uri"
	}
	return "rewrite"
}

// describe returns a matcher as a Caddyfile has it, such as "path /api/*".
func (m matcher) describe() string {
	switch m.name {
	case "not":
		var sets []map[string]json.RawMessage
		if json.Unmarshal(m.raw, &sets) == nil && len(sets) == 1 {
			return "not " + newMatcherSet(sets[0]).describe()
		}
	case "expression":
		return "expression " + values.Printable(expressionOf(m.raw))
	case "protocol":
		var protocol string
		if json.Unmarshal(m.raw, &protocol) == nil {
			return "protocol " + values.Printable(protocol)
		}
	}
	texts := m.texts()
	if m.name == "remote_ip" || m.name == "client_ip" {
		var config struct {
			Ranges []string `json:"ranges"`
		}
		_ = json.Unmarshal(m.raw, &config)
		texts = config.Ranges
	}
	if len(texts) > 0 {
		for i := range texts {
			texts[i] = values.Printable(texts[i])
		}
		return m.name + " " + strings.Join(texts, " ")
	}
	return m.name
}

func (set matcherSet) describe() string {
	var each []string
	for _, m := range set {
		each = append(each, m.describe())
	}
	return strings.Join(each, " and ")
}

// describe returns the matchers of a route; "" if it matches every request.
func (r *route) describe() string {
	var each []string
	for _, set := range r.sets {
		each = append(each, set.describe())
	}
	return strings.Join(each, ", or ")
}

// names reports whether the route has a matcher with a name.
func (r *route) names(name string) bool {
	return slices.ContainsFunc(r.sets, func(set matcherSet) bool {
		return slices.ContainsFunc(set, func(m matcher) bool { return m.name == name })
	})
}

// isHandlePath reports whether the route is a `handle_path`: it has a path, removes a prefix and goes on.
func (r *route) isHandlePath() bool {
	return !r.terminal && r.names("path") && slices.ContainsFunc(r.handlers, func(h *handler) bool {
		return len(h.routes) > 1 && len(h.routes[0].sets) == 0 && len(h.routes[0].handlers) == 1 && stripped(h.routes[0].handlers) != ""
	})
}

// eitherBlock names the only block of its kind without a matcher, which the JSON does not tell apart.
const eitherBlock = "handle` or `route"

// block returns how a Caddyfile begins a route that holds a block of directives, such as "handle /api/*". It returns ""
// for a route of one directive, and for the route of a site.
func (r *route) block() string {
	isBlock := func(h *handler) bool { return h.module == "subroute" }
	if r.terminal || !slices.ContainsFunc(r.handlers, isBlock) {
		return ""
	}
	name := eitherBlock
	switch {
	case r.isHandlePath():
		name = "handle_path"
	case r.group != "":
		name = "handle"
	case len(r.sets) > 0:
		name = "handle" // or a route with a matcher, which the JSON does not tell apart
	}
	return strings.TrimSpace(name + " " + r.pathOrMatcher())
}

// pathOrMatcher returns the path of a route as it stands behind a directive, or a description of its matchers.
func (r *route) pathOrMatcher() string {
	if len(r.sets) == 1 && len(r.sets[0]) == 1 && r.sets[0][0].name == "path" {
		return strings.TrimPrefix(r.sets[0].describe(), "path ")
	}
	if description := r.describe(); description != "" {
		return "(" + description + ")"
	}
	return ""
}

// place describes a handler, and the block that holds it but not the chat: "`respond /x`", or "`reverse_proxy` in
// `handle /api/*`".
func (c *chat) place(h *handler, at []*route) string {
	own, text := at[len(at)-1], h.directive()
	if !slices.Contains(c.chain, own) && own.pathOrMatcher() != "" {
		text += " " + own.pathOrMatcher()
	}
	text = "`" + text + "`"
	if h.module == chatModule {
		text = "another " + text
	}
	other := at[c.shared(at):]
	for _, r := range slices.Backward(other) {
		if block := r.block(); block != "" {
			return text + " in `" + block + "`"
		}
	}
	if len(other) > 1 && other[0].terminal && other[0].names("host") {
		return text + " in the site of `" + other[0].describe() + "`"
	}
	return text
}

// request names a chat's request to the path.
func (p pattern) request() string {
	if p.written == everyPath {
		return "a POST"
	}
	return "a POST to " + values.Printable(p.written)
}

// example returns the path as an example of a Caddyfile has it.
func (p pattern) example() string {
	if p.written == everyPath {
		return "/api/chat-proxy"
	}
	return values.Printable(p.written)
}

// list joins names: "a, b and c".
func list(names []string) string { return join(names, "and") }

// alternatives joins names: "a, b or c".
func alternatives(names []string) string { return join(names, "or") }

func join(names []string, word string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " " + word + " " + names[len(names)-1]
}

// maxNamed is how many hosts or paths a finding names.
const maxNamed = 3

// some joins hosts or paths, and says how many more there are if they are many.
func some(names []string, separator string) string {
	if len(names) <= maxNamed+1 {
		return strings.Join(names, separator)
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], separator), len(names)-maxNamed)
}
