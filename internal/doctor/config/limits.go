package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/values"
)

// Placeholders of a client's address. The first one honours `trusted_proxies`, the other does not.
const (
	clientAddress = "http.vars.client_ip"
	peerAddress   = "http.request.remote.host"
)

// chosen are the beginnings of placeholders whose values visitors choose.
var chosen = []string{
	"http.request.header.", "http.request.cookie.", "http.request.uri.query", "http.request.orig_uri.query", "http.request.uri.prefixed_query",
}

// has reports whether the key has a placeholder.
func (l Limit) has(name string) bool { return slices.Contains(l.Placeholders, name) }

// byAddress reports whether the limit tells clients apart by their addresses.
func (l Limit) byAddress() bool { return l.has(clientAddress) || l.has(peerAddress) }

// checkLimits reports what keeps strangers from spending the quota.
func (e *examination) checkLimits() {
	limits := e.options.Limits
	forAll := slices.ContainsFunc(limits, func(l Limit) bool { return l.ForMany && e.chosenIn(l) == "" })
	switch {
	case len(limits) == 0:
		e.add(e.atMostNote(doctor.Warning), "limit", "there is no limit", "Strangers who find the chat can spend the quota.",
			"Limit each client, and all of them together:\nlimit 20 1h\nlimit 2000 24h everyone")
	case !forAll:
		e.add(e.atMostNote(doctor.Warning), "limit", "no limit counts all visitors together",
			"A stranger who uses many addresses gets a new limit with each.", "Add a limit with a fixed word as its key:\nlimit 2000 24h everyone")
	default:
		e.add(doctor.OK, "limit", "one limit counts all visitors together", "", "")
	}
	for _, l := range limits {
		e.checkKey(l)
	}
}

// checkKey reports a key of a limit that does not tell visitors apart, or that they choose.
func (e *examination) checkKey(l Limit) {
	if name := e.chosenIn(l); name != "" && !l.byAddress() {
		e.add(e.atMostNote(doctor.Warning), "limit", fmt.Sprintf("a limit counts by %s, which a visitor chooses", braced(name)),
			"A visitor who sends a new value with each request has no limit.", "Leave the key out, as in `limit 20 1h`. Then the limit counts by the client's address.")
	}
	if name := e.unsetIn(l); name != "" {
		e.add(doctor.Warning, "limit", fmt.Sprintf("a limit counts by %s, which nothing in this config sets", braced(name)),
			"All visitors share one count.", "Correct the placeholder, or leave the key out, as in `limit 20 1h`.")
	}
	if l.has(peerAddress) && (len(e.server.TrustedProxiesRaw) > 0 || e.server.TrustedProxiesUnix) {
		e.add(doctor.Warning, "limit", fmt.Sprintf("a limit counts by %s, which is the address of the proxy", braced(peerAddress)),
			"All visitors of a proxy share one count.", "Leave the key out, as in `limit 20 1h`. The default key honours `trusted_proxies`.")
	}
}

// braced returns a placeholder as a Caddyfile has it.
func braced(name string) string { return values.Printable("{" + name + "}") }

// chosenIn returns a placeholder of a key whose value a visitor chooses; "" if there is none. A directive before the chat may
// set a header, as one that asks for a login does. A visitor chooses the host if the site has no certain one.
func (e *examination) chosenIn(l Limit) string {
	for _, name := range l.Placeholders {
		isBeginning := func(beginning string) bool { return strings.HasPrefix(name, beginning) }
		header, isHeader := strings.CutPrefix(name, "http.request.header.")
		switch {
		case isHeader && e.isMentioned(header):
		case slices.ContainsFunc(chosen, isBeginning):
			return name
		case strings.HasPrefix(name, "http.request.host") && e.hasAnyHost():
			return name
		}
	}
	return ""
}

// hasAnyHost reports whether the chat answers at hosts that the config does not name.
func (e *examination) hasAnyHost() bool {
	return slices.ContainsFunc(e.found, func(one candidate) bool { return one.host.kind != exact })
}

// unsetIn returns a placeholder of a key that has no value; "" if there is none. Each placeholder of Caddy has a dot in its
// name. One without can come from a `map`, or from a handler that this package does not know.
func (e *examination) unsetIn(l Limit) string {
	for _, name := range l.Placeholders {
		if strings.Contains(name, ".") || e.isMentioned(name) {
			continue
		}
		if s := e.first(); s != nil && !slices.ContainsFunc(s.passed, (*handler).isUnknown) {
			return name
		}
	}
	return ""
}

// isMentioned reports whether a handler before the chat has a word in its config.
func (e *examination) isMentioned(word string) bool {
	s := e.first()
	return s != nil && slices.ContainsFunc(s.passed, func(h *handler) bool {
		return strings.Contains(strings.ToLower(string(h.raw)), strings.ToLower(word))
	})
}
