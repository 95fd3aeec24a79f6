package config

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// nameProxies is what to write if there may be a proxy that Caddy does not know.
const nameProxies = "If a proxy or CDN is in front of Caddy, name its addresses in the global options:\n" +
	"servers {\n\ttrusted_proxies static 203.0.113.0/24\n\ttrusted_proxies_strict\n}"

// checkProxies reports a server that seems to have a proxy before it and does not know it, or that believes too many.
func (e *examination) checkProxies() {
	if e.local {
		return
	}
	switch private := e.server.privateAddress(); {
	case e.server.isUnix() && !e.server.TrustedProxiesUnix:
		e.addNoProxies("the server listens at a Unix socket, and `trusted_proxies_unix` is missing",
			"Caddy knows no client's address there, so all visitors share one limit.",
			"Write in the global options:\nservers {\n\ttrusted_proxies_unix\n\ttrusted_proxies_strict\n}")
	case len(e.server.TrustedProxiesRaw) > 0 || e.server.isUnix():
		e.checkTrust()
	case private != "":
		e.addNoProxies(fmt.Sprintf("the site binds the private address %s, and there is no `trusted_proxies`", private),
			"Behind a proxy, all visitors have its address, so they share one limit.", nameProxies)
	case slices.ContainsFunc(e.found, func(one candidate) bool { return e.server.isPlain(one.host.sample) }):
		e.addNoProxies("the site is plain HTTP, and there is no `trusted_proxies`",
			"Behind a proxy, all visitors have its address, so they share one limit.", nameProxies)
	}
}

// addNoProxies adds the finding that the server does not know a proxy. If nothing counts clients, only the host depends on it.
func (e *examination) addNoProxies(found, why, do string) {
	if e.countsClients() {
		e.add(doctor.Warning, "trusted_proxies", found, why, do)
		return
	}
	e.add(doctor.Note, "trusted_proxies", found, "Behind a proxy that changes Host, the chat refuses the site's own pages.", do)
}

// countsClients reports whether a limit tells clients apart by their addresses.
func (e *examination) countsClients() bool {
	return e.options.MaxStreamsPerClient > 0 || slices.ContainsFunc(e.options.Limits, Limit.byAddress)
}

// checkTrust reports that the server believes forged addresses.
func (e *examination) checkTrust() {
	trusted := e.server.trusted()
	switch {
	case slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Bits() == 0 }):
		e.add(doctor.Wrong, "trusted_proxies", "`trusted_proxies` includes every address, so any visitor can claim any address",
			"A stranger who claims a new address with each request has no limit.", nameProxies)
	case e.countsClients() && e.server.TrustedProxiesStrict == 0 && e.server.readsForwardedFor():
		e.add(doctor.Warning, "trusted_proxies", "`trusted_proxies_strict` is missing, so the first address of X-Forwarded-For counts",
			"Most proxies append to that header, so a visitor writes its first address.",
			"Write it in the global options, too:\nservers {\n\t…\n\ttrusted_proxies_strict\n}")
	}
}

// trusted returns the addresses of `trusted_proxies static`.
func (s *server) trusted() []netip.Prefix {
	var static caddyhttp.StaticIPRange
	if json.Unmarshal(s.TrustedProxiesRaw, &static) != nil {
		return nil
	}
	var prefixes []netip.Prefix
	for _, text := range static.Ranges {
		if prefix, err := caddyhttp.CIDRExpressionToPrefix(text); err == nil {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes
}

// readsForwardedFor reports whether the server takes a client's address from X-Forwarded-For, as it does by default.
func (s *server) readsForwardedFor() bool {
	return len(s.ClientIPHeaders) == 0 || slices.ContainsFunc(s.ClientIPHeaders, func(name string) bool {
		return http.CanonicalHeaderKey(name) == "X-Forwarded-For"
	})
}
