package upstream

import (
	"net/http"
	"slices"
	"strings"
)

// droppedHeaders are the upstream's response headers that the visitor does not get. All other headers pass, because the
// API does not document which one tells a new chat's id.
var droppedHeaders = headerSet(
	// They belong to the upstream's connection, or to the way between the upstream and this module (RFC 9110, § 7.6).
	"Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Capsule-Protocol",
	"Server", "Via", "Date", "Age", "Cache-Status", "Cdn-Loop", "Alt-Svc", "Alternate-Protocol",

	// They describe the upstream's bytes, or vouch for them. The visitor may get other bytes: ids, heartbeats, a finish.
	"Content-Type", "Content-Length", "Content-Encoding", "Content-Range", "Content-Md5", "Content-Digest",
	"Repr-Digest", "Unencoded-Digest", "Digest", "Signature", "Signature-Input", "Detached-Jws", "Im", "Delta-Base",

	// They say what the upstream's URL can do, or where the visitor should go. The site's URL is another one.
	"Accept", "Allow", "Public", "Dav", "Location", "Refresh", "Link-Template",

	// They ask the visitor to log in, or continue a login. Only the module logs in to the upstream.
	"Www-Authenticate", "Optional-Www-Authenticate", "Authentication-Info", "Authentication-Control", "Authorization",
	"Dpop-Nonce", "Replay-Nonce", "Set-Login", "Idp-Signin-Status", "Include-Referred-Token-Binding-Id",

	// They set how browsers treat the whole site, or allow another site more. Only the site's operator may do that.
	"Clear-Site-Data", "Strict-Transport-Security", "Expect-Ct", "Expect-Staple", "Critical-Ch", "Report-To",
	"Reporting-Endpoints", "Nel", "Origin-Agent-Cluster", "Origin-Isolation", "Origin-Policy", "Origin-Trial",
	"Service-Worker-Allowed", "Supports-Loading-Mode", "Timing-Allow-Origin", "Allow-Csp-From", "Tk", "P3p",
	"X-Permitted-Cross-Domain-Policies",

	// They are a page's policies, in the name of the site.
	"Feature-Policy", "Referrer-Policy", "Require-Document-Policy", "X-Frame-Options", "X-Xss-Protection",
	"X-Webkit-Csp", "X-Content-Security-Policy", "X-Download-Options", "X-Dns-Prefetch-Control", "X-Ua-Compatible",
	"X-Robots-Tag",

	// They make browsers send requests, or keep something. A preloading Link does, too: see makesRequests.
	"Sourcemap", "X-Sourcemap", "Speculation-Rules", "Use-As-Dictionary", "Available-Dictionary", "Dictionary-Id",
	"Activate-Storage-Access", "Observe-Browsing-Topics", "X-Allow-Fledge", "Content-Dpr",

	// They tell caches and proxies in front of the site how long to keep an answer and when to forget others. They also
	// say when to send the next bytes.
	"Cache-Control", "Akamai-Cache-Control", "Expires", "Pragma", "Cache-Groups", "Cache-Group-Invalidation",
	"Cache-Tag", "Cache-Tags", "No-Vary-Search", "Edge-Control", "Edge-Cache-Tag", "Cf-Edge-Cache", "Netlify-Vary",
	"Netlify-Cache-Tag", "Xkey", "Priority", "Incremental",

	// A proxy in front of the site obeys them: it sends a file of its own, asks another server, or gives the site up.
	"X-Appengine-Blobkey", "X-Appengine-Blobrange", "X-Archive-Files", "X-Compress-Hint",
	"X-Envoy-Immediate-Health-Check-Fail", "X-Envoy-Degraded", "X-Envoy-Overloaded", "X-Envoy-Ratelimited",

	// The module sets it if answers can be resumed. Pages take it for the id of an answer.
	"Illumichat-Stream",
)

// droppedPrefixes begin the names of further such headers. Each belongs to one of the groups above.
var droppedPrefixes = []string{
	"Proxy-",           // the upstream's connection
	"Accept-", "Want-", // what the upstream's URL can do
	"Set-Cookie", "Secure-Session-", "Sec-", // logins; browsers alone may send Sec-*
	"Access-Control-", "Cross-Origin-", "Private-Network-Access-", // the whole site
	"Public-Key-Pins", "Connection-Allowlist", // the whole site
	"Content-Security-Policy", "Permissions-Policy", // a page's policies
	"Document-Policy", "Document-Isolation-Policy", // a page's policies
	"Integrity-Policy",                                         // a page's policies
	"Attribution-Reporting-", "Ad-Auction-", "Shared-Storage-", // requests and state
	"Surrogate-",                                            // caches
	"X-Accel-", "X-Sendfile", "X-Lighttpd-", "X-Litespeed-", // proxies: nginx, Apache, lighttpd, LiteSpeed
	"X-Reproxy-", "Fly-Replay", // proxies: Perlbal and H2O, fly.io
	"Ratelimit", // the module's own limits
}

// droppedSuffix ends the names of fields that say how long a CDN may keep an answer (RFC 9213). It is in lower case,
// because the canonical form of a name depends on what stands before it.
const droppedSuffix = "cdn-cache-control"

// headerSet returns the canonical forms of names as a set.
func headerSet(names ...string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[http.CanonicalHeaderKey(name)] = true
	}
	return set
}

// hasDroppedAffix reports whether a name in canonical form begins or ends like those of dropped headers.
func hasDroppedAffix(name string) bool {
	if i := len(name) - len(droppedSuffix); i >= 0 && strings.EqualFold(name[i:], droppedSuffix) {
		return true
	}
	return slices.ContainsFunc(droppedPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// requestingRelations are parts of the relations for which browsers, or proxies in front of the site, ask for a link's
// target: preload, modulepreload, prefetch, dns-prefetch and so on.
var requestingRelations = []string{
	"preload", "prefetch", "preconnect", "prerender", "stylesheet", "dictionary", "icon", "manifest", "serviceworker",
}

// makesRequests reports whether a Link field may make browsers or proxies ask for its target. It returns true for a
// backslash as well, because one could hide a relation. Other links pass, because one could tell a chat's id.
func makesRequests(link string) bool {
	link = strings.ToLower(link)
	return strings.Contains(link, `\`) ||
		slices.ContainsFunc(requestingRelations, func(part string) bool { return strings.Contains(link, part) })
}
