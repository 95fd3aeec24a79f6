package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// passingHeaders are headers of an upstream that reach the visitor, and droppedByDesign those that do not. They are
// spelled as upstreams spell them.
var passingHeaders = []string{
	"X-Chat-Id", "x-request-id", "Chat-Id", "ETag", "Last-Modified", "Content-Language", "Link", "Vary", "Retry-After",
	"X-RateLimit-Remaining", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Server-Timing",
	"Cross-Origin-Resource-Policy", "Content-Location", "Accept-Ranges", "Traceparent",
	"Cookie", "X-Powered-By", "Cdn-Cache", "Accelerate",
}

var droppedByDesign = []string{
	"Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer", "Upgrade",
	"Set-Cookie", "set-cookie2", "Access-Control-Allow-Origin", "access-control-allow-credentials", "Access-Control-Expose-Headers",
	"Server", "Via", "Alt-Svc", "Date", "Age", "Expires", "Pragma", "Location", "Refresh", "Clear-Site-Data",
	"Strict-Transport-Security", "Content-Security-Policy", "Content-Security-Policy-Report-Only", "WWW-Authenticate",
	"Report-To", "NEL", "Cache-Control", "CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "Surrogate-Control",
	"X-Accel-Redirect", "x-accel-buffering", "X-Accel-Expires", "X-Sendfile", "RateLimit", "RateLimit-Limit", "ratelimit-policy",
	"X-Hop", "x-other-hop", // named by Connection
}

// theirValue begins every header value that the upstream sends.
const theirValue = "of-the-upstream"

// The visitor gets the upstream's response headers, except those of its connection and the body's form and those that
// would speak for the site. An error has none of them.
func TestResponseHeaders(t *testing.T) {
	var head strings.Builder
	// If Connection also said close, net/http would remove it, and the names in it would be lost.
	head.WriteString("HTTP/1.1 200 OK\r\nConnection: X-Hop , keep-alive\r\nConnection: x-other-hop\r\n")
	for _, name := range slices.Concat(passingHeaders, droppedByDesign) {
		fmt.Fprintf(&head, "%s: %s\r\n%[1]s: %s-again\r\n", name, theirValue, theirValue)
	}
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(map[string]http.HandlerFunc{
		"stream": sitetest.Raw(head.String() + "Content-Type: text/event-stream\r\n\r\n" + sitetest.Finish),
		"json":   sitetest.Raw(head.String() + "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"),
		"error":  sitetest.Raw(strings.Replace(head.String(), "200 OK", "422 No", 1) + "Content-Type: application/json\r\n\r\n{}"),
	}))
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, ""))
	for proto, transport := range sitetest.Protocols(t) {
		for _, kind := range []string{"stream", "json"} {
			t.Run(kind+" over "+proto, func(t *testing.T) {
				resp := s.Send(transport, sitetest.ChatRequest(t, s.Secure, sitetest.Saying(kind)))
				if body := sitetest.ReadAll(t, resp); resp.StatusCode != http.StatusOK {
					t.Fatalf("got status %d: %s", resp.StatusCode, body)
				}
				for _, name := range passingHeaders {
					if got := resp.Header.Values(name); !slices.Equal(got, []string{theirValue, theirValue + "-again"}) {
						t.Errorf("got %s: %q, want the upstream's", name, got)
					}
				}
				for _, name := range droppedByDesign {
					if got := resp.Header.Values(name); slices.ContainsFunc(got, func(value string) bool { return strings.Contains(value, theirValue) }) {
						t.Errorf("got %s: %q, want it dropped", name, got)
					}
				}
				for name, want := range map[string]string{"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"} {
					if got := resp.Header.Values(name); !slices.Equal(got, []string{want}) {
						t.Errorf("got %s: %q, want %q", name, got, want)
					}
				}
			})
		}
	}
	// An error may have the upstream's words, but none of its headers.
	t.Run("error", func(t *testing.T) {
		resp := s.Ask(sitetest.Saying("error"))
		sitetest.WantError(t, resp, http.StatusUnprocessableEntity, "bad_request:upstream")
		for name, values := range resp.Header {
			if strings.Contains(fmt.Sprint(values), theirValue) {
				t.Errorf("got %s: %q", name, values)
			}
		}
	})
}

// Headers that other directives set stay, next to the upstream's. Content-Type and Cache-Control are always the
// module's.
func TestHeadersOfOtherDirectivesStay(t *testing.T) {
	header := "X-Site: theirs\r\nVary: Accept\r\nX-Chat-Id: c1\r\n"
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(map[string]http.HandlerFunc{
		"stream": sitetest.Raw("HTTP/1.1 200 OK\r\n" + header + "Content-Type: text/event-stream\r\n\r\n" + sitetest.Finish),
		"json":   sitetest.Raw("HTTP/1.1 200 OK\r\n" + header + "Content-Type: application/json\r\n\r\n{}"),
		"error":  sitetest.Raw("HTTP/1.1 422 No\r\n" + header + "\r\n"),
	}))
	s := sitetest.Serve(t, `header {
		X-Site yes
		Vary Cookie
		Set-Cookie ours=1
		Content-Type text/html
		Cache-Control max-age=60
		Server ours
		Strict-Transport-Security max-age=1
	}
	`+sitetest.ChatToURL(upstream.URL, ""))
	for kind, want := range map[string]map[string][]string{
		"stream": {
			"X-Site": {"yes", "theirs"}, "Vary": {"Cookie", "Accept"}, "X-Chat-Id": {"c1"},
			"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-cache, no-transform"},
		},
		"json": {
			"X-Site": {"yes", "theirs"}, "Vary": {"Cookie", "Accept"}, "X-Chat-Id": {"c1"},
			"Content-Type": {"application/json"}, "Cache-Control": {"no-cache, no-transform"},
		},
		"error": {
			"X-Site": {"yes"}, "Vary": {"Cookie"},
			"Content-Type": {"application/json"}, "Cache-Control": {"no-store"},
		},
	} {
		t.Run(kind, func(t *testing.T) {
			resp := s.Ask(sitetest.Saying(kind))
			sitetest.ReadAll(t, resp)
			want["Set-Cookie"] = []string{"ours=1"}
			want["Server"] = []string{"ours"}
			want["Strict-Transport-Security"] = []string{"max-age=1"}
			for name, values := range want {
				if got := resp.Header.Values(name); !slices.Equal(got, values) {
					t.Errorf("got %s: %q, want %q", name, got, values)
				}
			}
		})
	}
}
