package upstream

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

// The lists are written as upstreams spell the names.
func TestDroppedHeaders(t *testing.T) {
	dropped := map[string]string{
		"of the connection, and of the way to here": `Connection Keep-Alive Proxy-Authenticate Proxy-Authorization Proxy-Authentication-Info
			Proxy-Connection Proxy-Status Proxy-Features TE Trailer Transfer-Encoding Upgrade HTTP2-Settings Capsule-Protocol
			Server Via Date Age Cache-Status CDN-Loop Alt-Svc Alternate-Protocol`,
		"about the upstream's bytes": `Content-Type Content-Length Content-Encoding Content-Range Content-MD5 Content-Digest Repr-Digest
			Unencoded-Digest Digest Want-Digest Want-Content-Digest Want-Repr-Digest Signature Signature-Input Detached-JWS IM Delta-Base`,
		"about the upstream's URL": `Accept Accept-Encoding Accept-Patch Accept-Post Accept-Query Accept-Ranges Accept-Signature Allow Public
			DAV Location Refresh Link-Template`,
		"of a login": `Set-Cookie set-cookie2 WWW-Authenticate Optional-WWW-Authenticate Authentication-Info Authentication-Control
			Authorization DPoP-Nonce Replay-Nonce Set-Login IdP-SignIn-Status Include-Referred-Token-Binding-ID Secure-Session-Registration
			Secure-Session-Challenge Sec-Session-Registration Sec-WebSocket-Accept Sec-GPC`,
		"of the whole site": `Access-Control-Allow-Origin access-control-max-age Clear-Site-Data Strict-Transport-Security Expect-CT
			Public-Key-Pins Public-Key-Pins-Report-Only Expect-Staple Accept-CH Accept-CH-Lifetime Critical-CH Report-To Reporting-Endpoints NEL
			Origin-Agent-Cluster Origin-Isolation Origin-Policy Origin-Trial Service-Worker-Allowed Supports-Loading-Mode
			Timing-Allow-Origin Allow-CSP-From Cross-Origin-Embedder-Policy Cross-Origin-Opener-Policy-Report-Only
			Cross-Origin-Resource-Policy Private-Network-Access-Name Connection-Allowlist Tk P3P X-Permitted-Cross-Domain-Policies`,
		"a page's policies": `Content-Security-Policy Content-Security-Policy-Report-Only X-Content-Security-Policy X-WebKit-CSP
			Permissions-Policy Permissions-Policy-Report-Only Feature-Policy Document-Policy Document-Policy-Report-Only
			Require-Document-Policy Document-Isolation-Policy Integrity-Policy Integrity-Policy-Report-Only Referrer-Policy
			X-Frame-Options X-XSS-Protection X-Download-Options X-DNS-Prefetch-Control X-UA-Compatible X-Robots-Tag`,
		"for requests and state of a browser": `SourceMap X-SourceMap Speculation-Rules Use-As-Dictionary Available-Dictionary Dictionary-ID
			Activate-Storage-Access Observe-Browsing-Topics Attribution-Reporting-Register-Source Attribution-Reporting-Register-Trigger
			Ad-Auction-Signals Shared-Storage-Write X-Allow-FLEDGE Content-DPR`,
		"for caches": `Cache-Control Expires Pragma CDN-Cache-Control Cloudflare-CDN-Cache-Control ExampleCDN-Cache-Control
			Akamai-Cache-Control Surrogate-Control Surrogate-Key Cache-Groups Cache-Group-Invalidation Cache-Tag Edge-Control
			CF-Edge-Cache Netlify-Vary No-Vary-Search xkey Priority Incremental`,
		"for a proxy in front": `X-Accel-Redirect x-accel-buffering X-Sendfile X-Sendfile2 X-LIGHTTPD-send-file X-LiteSpeed-Location
			X-LiteSpeed-Purge X-Reproxy-URL X-Archive-Files X-AppEngine-BlobKey X-Compress-Hint X-Envoy-Immediate-Health-Check-Fail
			X-Envoy-Degraded Fly-Replay fly-replay-cache`,
		"of this module": "Illumichat-Stream RateLimit RateLimit-Policy RateLimit-Limit",
	}
	// The names that are most like a dropped one, those that describe this answer, and those that clients of the API read.
	passing := strings.Fields(`X-Connection Content-Language Content-Location Content-Disposition Content-ID Content-Security Servers
		Server-Timing Dates Cookie X-Set-Cookie X-Access-Control-Max-Age CDN-Cache-Control-Note X-Cache-Control X-Cache X-Accel
		X-Content-Type-Options X-RateLimit-Limit Retry-After ETag Last-Modified Vary Deprecation Sunset Preference-Applied Traceparent
		X-Powered-By X-Envoy-Upstream-Service-Time CF-Ray X-Request-Id X-Chat-Id Chat-Id Illumichat-Chat-Id Illumichat-Stream-Id
		Link X-Link Secure-Chat Origin-Chat Accelerate Ad-Id`)
	upstream, want := make(http.Header), make(http.Header)
	for _, names := range dropped {
		for _, name := range strings.Fields(names) {
			upstream.Add(name, "theirs")
		}
	}
	for _, name := range passing {
		for _, value := range []string{"first", "second"} {
			upstream.Add(name, value)
			want.Add(name, value)
		}
	}
	got := acceptance{report: func(leak Leak) { t.Errorf("reported: %+v", leak) }}.filter(upstream)
	for name := range upstream {
		if !reflect.DeepEqual(got[name], want[name]) {
			t.Errorf("%s: got %q, want %q", name, got[name], want[name])
		}
	}
}

// A Link passes unless a browser or a proxy would ask for its target.
func TestLinks(t *testing.T) {
	for link, passes := range map[string]bool{
		`</chats/42>; rel="self"`:                                 true,
		`<https://example.com/terms>; rel=terms-of-service`:       true,
		`</a.js>; rel=preload; as=script`:                         false,
		`</a.js>; rel=modulepreload`:                              false,
		`</a.js>; REL="self PreLoad"`:                             false,
		`</chats/42>; rel=self, <//else.example>; rel=preconnect`: false,
		`<//else.example>; rel="dns-prefetch"`:                    false,
		`</next>; rel=prefetch`:                                   false,
		`</a.css>; rel=stylesheet`:                                false,
		`</words>; rel="compression-dictionary"`:                  false,
		`</a.js>; rel="pre\load"`:                                 false,
	} {
		got := acceptance{}.filter(http.Header{"Link": {`</>; rel="index"`, link}})
		if _, passed := got["Link"]; passed != passes {
			t.Errorf("%s passes: %v, want %v", link, passed, passes)
		}
	}
}

// The fields that Connection lists are dropped, however the upstream spells and separates them.
func TestHopByHopHeaders(t *testing.T) {
	upstream := http.Header{
		"Connection": {"X-First , x-second,,keep-alive", "X-THIRD"},
		"X-First":    {"1"}, "X-Second": {"2"}, "X-Third": {"3"}, "X-Fourth": {"4"},
	}
	before := upstream.Clone()
	got := acceptance{}.filter(upstream)
	if want := (http.Header{"X-Fourth": {"4"}}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if !reflect.DeepEqual(upstream, before) {
		t.Errorf("the response's own header has changed to %q", upstream)
	}
}

// A field that holds the token, in its name or a value, is left out as a whole, and is reported once. One that is
// dropped anyway is not reported.
func TestHeadersWithToken(t *testing.T) {
	for _, test := range []struct {
		header   http.Header
		reported string // the name in the report; "" if there is none
	}{
		{http.Header{"X-Echo": {"harmless", "Bearer " + sandbox.Token, sandbox.Token}}, "X-Echo"},
		{http.Header{sandbox.Token: {"1"}}, "(its name holds the token)"},
		{http.Header{http.CanonicalHeaderKey(sandbox.Token): {"1"}}, "(its name holds the token)"},
		{http.Header{http.CanonicalHeaderKey("x-" + sandbox.Token + "-echo"): {sandbox.Token}}, "(its name holds the token)"},
		{http.Header{"Location": {"/?token=" + sandbox.Token}}, ""},
	} {
		part := sandbox.Token[1:]
		test.header.Set(part, "name")
		test.header.Set("X-Part", part)
		var leaks []Leak
		a := acceptance{newToken([]byte(sandbox.Token)), func(leak Leak) { leaks = append(leaks, leak) }}
		got := a.filter(test.header)
		if want := (http.Header{http.CanonicalHeaderKey(part): {"name"}, "X-Part": {part}}); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %q, want %q", test.header, got, want)
		}
		switch {
		case test.reported == "" && len(leaks) != 0:
			t.Errorf("%q: reported: %+v", test.header, leaks)
		case test.reported != "" && (len(leaks) != 1 || leaks[0].Header != test.reported || leaks[0].Status != 0 || !strings.Contains(leaks[0].What, "dropped")):
			t.Errorf("%q: reported: %+v", test.header, leaks)
		}
	}
}

// A token with capital letters is found in a name that HTTP/2 has made lower case.
func TestNameWithToken(t *testing.T) {
	token := newToken([]byte("ic_AbCdEfGhIjKlMnOp"))
	for name, want := range map[string]bool{
		"Ic_abcdefghijklmnop":   true,
		"ic_AbCdEfGhIjKlMnOp":   true,
		"X-Ic_abcdefghijklmnop": true,
		"Ic_abcdefghijklmno":    false,
		"X-Chat-Id":             false,
	} {
		if got := token.inName(name); got != want {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if (Token{}).inName("X-Chat-Id") {
		t.Error("the zero token is found")
	}
}
