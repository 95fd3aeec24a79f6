package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// passingHeaders are headers of an upstream that reach the visitor, and droppedByDesign those that do not. They are
// spelled as upstreams spell them.
var passingHeaders = []string{
	"X-Chat-Id", "x-request-id", "Chat-Id", "Illumichat-Chat-Id", "ETag", "Last-Modified", "Content-Language", "Link", "Vary",
	"Retry-After", "X-RateLimit-Remaining", "X-Content-Type-Options", "Server-Timing", "Content-Location",
	"Content-Disposition", "Traceparent", "Cookie", "X-Powered-By", "Cdn-Cache", "Accelerate",
}

var droppedByDesign = []string{
	"Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Proxy-Authentication-Info", "TE",
	"Trailer", "Upgrade", "HTTP2-Settings", "Proxy-Status", "Cache-Status",
	"Set-Cookie", "set-cookie2", "Set-Login", "WWW-Authenticate", "Authentication-Info",
	"Access-Control-Allow-Origin", "access-control-allow-credentials", "Access-Control-Expose-Headers",
	"Server", "Via", "Alt-Svc", "Date", "Age", "Expires", "Pragma", "Location", "Refresh", "Clear-Site-Data",
	"Strict-Transport-Security", "Content-Security-Policy", "Content-Security-Policy-Report-Only",
	"Report-To", "Reporting-Endpoints", "NEL", "Service-Worker-Allowed", "SourceMap", "X-SourceMap", "Accept-CH",
	"Permissions-Policy", "Feature-Policy", "Document-Policy", "Referrer-Policy", "X-Frame-Options", "Origin-Agent-Cluster",
	"Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Timing-Allow-Origin", "Speculation-Rules",
	"Attribution-Reporting-Register-Source", "Observe-Browsing-Topics", "Public-Key-Pins", "Expect-CT",
	"Use-As-Dictionary", "No-Vary-Search", "X-Robots-Tag", "Accept-Ranges", "Content-Range", "Content-Digest", "Signature",
	"Cache-Control", "CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "Surrogate-Control", "Surrogate-Key", "Priority",
	"X-Accel-Redirect", "x-accel-buffering", "X-Accel-Expires", "X-Sendfile", "X-Sendfile2", "X-LiteSpeed-Location",
	"X-Reproxy-URL", "Fly-Replay", "RateLimit", "RateLimit-Limit", "ratelimit-policy", "Illumichat-Stream",
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

// What an upstream sends before and after an answer's header does not reach the visitor: early hints, which make a
// browser load something, and trailers.
func TestHintsAndTrailersAreNotPassedOn(t *testing.T) {
	const hints = "HTTP/1.1 103 Early Hints\r\nLink: </theirs.js>; rel=preload\r\n\r\n"
	upstream := sitetest.NewUpstream(t, sitetest.Raw(hints+"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTrailer: X-After\r\n"+
		"Link: </theirs.js>; rel=preload\r\nTransfer-Encoding: chunked\r\n\r\n"+
		fmt.Sprintf("%x\r\n%s\r\n0\r\nX-After: theirs\r\n\r\n", len(sitetest.Finish), sitetest.Finish)))
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, ""))
	for proto, transport := range sitetest.Protocols(t) {
		var early int
		req := sitetest.ChatRequest(t, s.Secure, sitetest.Hello)
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(int, textproto.MIMEHeader) error { early++; return nil },
		}))
		resp := s.Send(transport, req)
		if body := sitetest.ReadAll(t, resp); body != sitetest.Finish {
			t.Errorf("%s: got %q", proto, body)
		}
		if early != 0 || resp.Header.Get("Link") != "" || len(resp.Trailer) != 0 {
			t.Errorf("%s: got %d early hints, Link: %q and the trailer %q", proto, early, resp.Header["Link"], resp.Trailer)
		}
	}
}

// A header whose name is the token reaches neither the visitor nor the log. HTTP/2 sends names in lower case.
func TestHeaderNamedLikeTheToken(t *testing.T) {
	const token = "ic_SandboxAbCdEfGhIjKlMnOpQrStUvWxYz0123456789"
	upstream := sitetest.NewUnstartedUpstream(func(w http.ResponseWriter, r *http.Request) {
		w.Header()[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] = []string{"1"}
		w.Header().Set("X-Proto", r.Proto)
		sitetest.Finishing(w, r)
	})
	upstream.EnableHTTP2 = true
	upstream.StartTLS()
	t.Cleanup(upstream.Close)
	plain := sitetest.NewUpstream(t, upstream.Config.Handler.ServeHTTP)
	for proto, url := range map[string]string{"HTTP/1.1": plain.URL, "HTTP/2.0": upstream.URL} {
		t.Run(proto, func(t *testing.T) {
			t.Setenv("NAME_TEST_TOKEN", token)
			chat := strings.Replace(sitetest.ChatToURL(url, sitetest.Trusting), sandbox.Token, "{env.NAME_TEST_TOKEN}", 1)
			s := sitetest.Serve(t, "log\n"+chat)
			for visitor, transport := range sitetest.Protocols(t) {
				resp := s.Send(transport, sitetest.ChatRequest(t, s.Secure, sitetest.Hello))
				sitetest.ReadAll(t, resp)
				if resp.Header.Get("X-Proto") != proto {
					t.Fatalf("the upstream spoke %q", resp.Header["X-Proto"])
				}
				if header := strings.ToLower(fmt.Sprint(resp.Header)); strings.Contains(header, strings.ToLower(token)) {
					t.Errorf("over %s, the visitor got the token: %s", visitor, header)
				}
			}
			sitetest.Eventually(t, "the requests are logged", func() bool { return strings.Count(s.Log(), `"handled request"`) == 3 })
			if strings.Contains(strings.ToLower(s.Log()), strings.ToLower(token)) {
				t.Error("the log holds the token")
			}
			wantTold(t, s, "error", "sent the API token back", 1)
		})
	}
}

// An answer passes if its Content-Encoding says that it is not encoded, in whatever way. An answer that is encoded is a
// 502, and an encoded error keeps its status. Neither reaches the visitor as garbage.
func TestContentCodings(t *testing.T) {
	const harmless, encoded, failed = "harmless", "encoded", "an encoded error"
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = zip.Write([]byte(`{"error":"their words","code":"their:code"}`))
	_ = zip.Close()
	answers := make(map[string]http.HandlerFunc)
	kinds := make(map[string]string)
	add := func(kind string, answer func(fields ...string) http.HandlerFunc, codings ...string) {
		var fields []string
		for _, coding := range codings {
			fields = append(fields, "Content-Encoding", coding)
		}
		name := fmt.Sprintf("%s with %q, %d", kind, codings, len(answers))
		answers[name], kinds[name] = answer(fields...), kind
	}
	stream := func(fields ...string) http.HandlerFunc {
		return sitetest.Answering(200, sitetest.Finish, append(fields, "Content-Type", "text/event-stream")...)
	}
	value := func(fields ...string) http.HandlerFunc {
		return sitetest.Answering(200, `{"text":"Hi"}`, append(fields, "Content-Type", "application/json")...)
	}
	refusal := func(fields ...string) http.HandlerFunc {
		return sitetest.Answering(422, packed.String(), append(fields, "Content-Type", "application/json")...)
	}
	for _, answer := range []func(...string) http.HandlerFunc{stream, value} {
		for _, codings := range [][]string{{}, {"none"}, {"None"}, {""}, {"identity"}, {"identity, none"}, {" , none,"}, {"none", "identity"}} {
			add(harmless, answer, codings...)
		}
		for _, codings := range [][]string{{"gzip"}, {"BR"}, {"identity, gzip"}, {"none", "zstd"}, {"something"}} {
			add(encoded, answer, codings...)
		}
	}
	add(failed, refusal, "gzip")
	add(failed, refusal, "none")
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(answers))
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, ""))
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			resp := s.Ask(sitetest.Saying(name))
			switch kind {
			case encoded:
				sitetest.WantError(t, resp, http.StatusBadGateway, "bad_gateway:upstream")
			case failed:
				if text := sitetest.WantError(t, resp, http.StatusUnprocessableEntity, "bad_request:upstream"); text != "the assistant does not accept this chat" {
					t.Errorf("got the text %q", text)
				}
			case harmless:
				if body := sitetest.ReadAll(t, resp); resp.StatusCode != http.StatusOK || body != sitetest.Finish && body != `{"text":"Hi"}` {
					t.Errorf("got status %d: %q", resp.StatusCode, body)
				}
			}
			if got := resp.Header["Content-Encoding"]; got != nil {
				t.Errorf("got Content-Encoding: %q", got)
			}
			if asked := len(upstream.Take()); asked != 1 {
				t.Errorf("the upstream got %d requests", asked)
			}
		})
	}
}

// Headers that other directives set stay, and the upstream's of the same name are dropped. Only Vary has the members of
// both. Content-Type and Cache-Control are always the module's.
func TestHeadersOfOtherDirectivesStay(t *testing.T) {
	header := "X-Site: theirs\r\nVary: Accept, cookie\r\nVary: Cookie\r\nX-Chat-Id: c1\r\nX-Content-Type-Options: nosniff\r\n"
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(map[string]http.HandlerFunc{
		"stream": sitetest.Raw("HTTP/1.1 200 OK\r\n" + header + "Content-Type: text/event-stream\r\n\r\n" + sitetest.Finish),
		"json":   sitetest.Raw("HTTP/1.1 200 OK\r\n" + header + "Content-Type: application/json\r\n\r\n{}"),
		"error":  sitetest.Raw("HTTP/1.1 422 No\r\n" + header + "\r\n"),
	}))
	s := sitetest.Serve(t, `header {
		X-Site yes
		X-Content-Type-Options ours
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
			"X-Site": {"yes"}, "Vary": {"Cookie", "Accept"}, "X-Chat-Id": {"c1"},
			"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-cache, no-transform"},
		},
		"json": {
			"X-Site": {"yes"}, "Vary": {"Cookie", "Accept"}, "X-Chat-Id": {"c1"},
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
			want["X-Content-Type-Options"] = []string{"ours"}
			want["Strict-Transport-Security"] = []string{"max-age=1"}
			for name, values := range want {
				if got := resp.Header.Values(name); !slices.Equal(got, values) {
					t.Errorf("got %s: %q, want %q", name, got, values)
				}
			}
		})
	}
}
