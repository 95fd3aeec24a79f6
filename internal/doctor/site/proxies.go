package site

import (
	"net/http"
	"slices"
	"strings"
)

// product is a server or a proxy that may stand in front of Caddy, and its settings that matter for a chat. An empty
// setting means that none is known.
type product struct {
	name       string
	isIn       func(http.Header) bool
	unbuffer   string // how to let events through at once
	keepErrors string // how to let errors through
	keepHost   string // how to keep Host
	notice     string // how to notice a visitor who disconnects
}

// products are the products that headers reveal.
var products = []product{
	{
		name:       "nginx",
		isIn:       func(h http.Header) bool { return isServer(h, "nginx") || isServer(h, "openresty") },
		unbuffer:   "nginx: write `proxy_buffering off;` in the chat's location, or remove X-Accel-Buffering from proxy_ignore_headers.",
		keepErrors: "nginx: write `proxy_intercept_errors off;` and no `error_page` in the chat's location.",
		keepHost:   "nginx: write `proxy_set_header Host $http_host;`.",
		notice:     "nginx: write `proxy_ignore_client_abort off;` and `proxy_buffering off;` in the chat's location.",
	},
	{
		name:       "Apache",
		isIn:       func(h http.Header) bool { return isServer(h, "Apache") },
		unbuffer:   "Apache: add `flushpackets=on` to the chat's ProxyPass.",
		keepErrors: "Apache: write `ProxyErrorOverride Off`.",
		keepHost:   "Apache: write `ProxyPreserveHost On`.",
	},
	{
		name:       "Cloudflare",
		isIn:       func(h http.Header) bool { return isServer(h, "cloudflare") || h.Get("Cf-Ray") != "" },
		unbuffer:   "Cloudflare: turn Response Buffering off for the chat's path.",
		keepErrors: "Cloudflare: turn Error Page Pass-through on, or let Caddy answer 503 instead of 502 and 504 (see https://github.com/illumichat/caddy-illumichat/blob/main/docs/streaming.md#cdns-and-proxies-in-front).",
	},
	{name: "CloudFront", isIn: func(h http.Header) bool { return isServer(h, "CloudFront") || h.Get("X-Amz-Cf-Id") != "" }},
	{name: "Varnish", isIn: func(h http.Header) bool { return h.Get("X-Varnish") != "" || isVia(h, "varnish") }},
	{name: "Akamai", isIn: func(h http.Header) bool { return isServer(h, "AkamaiGHost") }},
	{name: "Envoy", isIn: func(h http.Header) bool { return isServer(h, "envoy") || h.Get("X-Envoy-Upstream-Service-Time") != "" }},
	{name: "IIS", isIn: func(h http.Header) bool { return isServer(h, "Microsoft-IIS") }},
	{name: "LiteSpeed", isIn: func(h http.Header) bool { return isServer(h, "LiteSpeed") }},
	{
		name:     "Caddy's reverse_proxy",
		isIn:     func(h http.Header) bool { return isVia(h, "Caddy") },
		keepHost: "Caddy: write `header_up Host {host}` in reverse_proxy. To an https upstream, it sends the upstream's own name otherwise.",
	},
	{name: "a cache", isIn: func(h http.Header) bool { return h.Get("X-Cache") != "" || h.Get("Age") != "" }},
}

func isServer(h http.Header, name string) bool {
	return strings.HasPrefix(strings.ToLower(h.Get("Server")), strings.ToLower(name))
}

func isVia(h http.Header, name string) bool {
	return strings.Contains(strings.ToLower(strings.Join(h.Values("Via"), ",")), strings.ToLower(name))
}

// inFront returns the products that the headers reveal between Caddy and this machine.
func inFront(h http.Header) []product {
	found := slices.DeleteFunc(slices.Clone(products), func(p product) bool { return !p.isIn(h) })
	if len(found) == 0 && h.Get("Via") != "" {
		found = append(found, product{name: "a proxy (it adds Via)"})
	}
	return found
}

// proxies returns the products between the chat and this machine. They show in a refusal. The headers of an answer may be
// those of proxies in front of the upstream, which the chat passes on.
func (c *checker) proxies() []product { return inFront(c.probes[c.protocol].header) }

// names returns the names of products, for a sentence.
func names(all []product) string {
	var list []string
	for _, p := range all {
		list = append(list, p.name)
	}
	return strings.Join(list, " and ")
}

// settings returns a setting of each product that has one. Without any, it returns otherwise.
func settings(all []product, setting func(product) string, otherwise string) string {
	var lines []string
	for _, p := range all {
		if s := setting(p); s != "" {
			lines = append(lines, s)
		}
	}
	if len(lines) == 0 {
		return otherwise
	}
	return strings.Join(lines, "\n")
}

// sender returns the name of the server that sent an answer which is not the chat's.
func (a *answer) sender() string {
	switch all := inFront(a.header); {
	case len(all) > 0:
		return names(all[:1])
	case isServer(a.header, "Caddy"):
		return "Caddy"
	}
	return "an unknown server"
}
