package origin

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

var errOrigin = &apierror.Error{
	Status: http.StatusForbidden, Code: apierror.CodeForbiddenOrigin,
	Text: "pages of this origin may not use this chat; its owner can list the origin in allow_origins",
}

// The hints for the operator, by why a page was refused. Hints do not quote the request: the log counts by hint.
const (
	hintForeign = "if pages of this origin may use the chat, list it in allow_origins"
	hintNoPage  = "allow_origins cannot list a page without an origin, such as a file or a sandboxed frame; serve the page from a site"

	hintRewritten = "if the page is the site's own, let the proxy in front of Caddy keep Host, or let it send X-Forwarded-Host " +
		"and list its address in trusted_proxies; if it is another site's that may use the chat, list its origin in allow_origins"
	hintUntrusted = "X-Forwarded-Host does not count, because trusted_proxies does not list the address that sent it; " +
		"list it there if that is your proxy, or list the page's origin in allow_origins"
)

// Check returns an error if r comes from a page that may not use the chat. behindProxy says that a proxy that the
// operator trusts has sent r. Then its X-Forwarded-Host counts like Host, because such a proxy may rewrite Host.
func (p *Policy) Check(r *http.Request, behindProxy bool) error {
	asPost := *r // net/http passes every GET as safe, but here a GET keeps an answer going
	asPost.Method = http.MethodPost
	if p.protection.Check(&asPost) == nil {
		return nil
	}
	origin := r.Header.Get("Origin")
	forwarded := forwardedHost(r.Header)
	hint := hintForeign
	switch page, err := url.Parse(origin); {
	case err != nil, page.Host == "":
		hint = hintNoPage
	case r.Header.Get("Sec-Fetch-Site") != "":
		// The browser itself says that the page is another site's, whatever proxies have made of Host.
	case isHost(page, r.Host), behindProxy && isHost(page, forwarded):
		return nil
	case forwarded != "" && !behindProxy:
		hint = hintUntrusted
	default:
		hint = hintRewritten
	}
	refused := errOrigin.Because(mismatch(origin, r.Host, forwarded))
	refused.Hint = hint
	return refused
}

// isHost reports whether host, as a Host field has it, is the one that page names. Some proxies add the scheme's
// default port, which a browser leaves out.
func isHost(page *url.URL, host string) bool {
	if port, ok := defaultPorts[page.Scheme]; ok {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return strings.EqualFold(host, page.Host)
}

// forwardedHost returns the first host of X-Forwarded-Host, or "" if there is none. Each proxy on the way may append
// the Host that it got. So the first is the host that the browser asked. A page of another site cannot choose it: a
// browser asks for permission, by a preflight, before it sends such a field.
//
// Forwarded (RFC 7239) does not count. Caddy does not read it, so a trusted proxy may pass on one that a visitor sent.
func forwardedHost(header http.Header) string {
	first, _, _ := strings.Cut(header.Get("X-Forwarded-Host"), ",")
	return strings.TrimSpace(first)
}

// mismatch returns the cause of a refusal, for the log. It cuts what the visitor chose.
func mismatch(origin, host, forwarded string) error {
	if forwarded == "" {
		return fmt.Errorf("the page's origin is %.100q, but the request's Host is %.100q", origin, host)
	}
	return fmt.Errorf("the page's origin is %.100q, but the request's Host is %.100q and its X-Forwarded-Host %.100q", origin, host, forwarded)
}
