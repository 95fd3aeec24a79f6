package e2e

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/docstest"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// streamingBlock returns the only block of docs/streaming.md in a language that contains text.
func streamingBlock(t *testing.T, language, text string) string {
	t.Helper()
	var found []string
	for _, block := range docstest.Read(t, "docs/streaming.md").In(language) {
		if strings.Contains(block, text) {
			found = append(found, block)
		}
	}
	if len(found) != 1 {
		t.Fatalf("docs/streaming.md has %d %s blocks with %q, want 1", len(found), language, text)
	}
	return found[0]
}

// replaceOnce replaces the only occurrence of old in text.
func replaceOnce(t *testing.T, text, old, replacement string) string {
	t.Helper()
	if n := strings.Count(text, old); n != 1 {
		t.Fatalf("%q occurs %d times, want once: %s", old, n, text)
	}
	return strings.Replace(text, old, replacement, 1)
}

// proxies are the proxies whose settings docs/streaming.md shows. Each starts the real program with these settings, in front of
// a site.
var proxies = map[string]func(t *testing.T, s *sitetest.Site) string{
	"nginx": func(t *testing.T, s *sitetest.Site) string {
		return sitetest.ServeNginx(t, replaceOnce(t, streamingBlock(t, "nginx", "proxy_pass"), "http://127.0.0.1:8080", s.Plain))
	},
	"HAProxy": func(t *testing.T, s *sitetest.Site) string {
		config := streamingBlock(t, "haproxy", "backend")
		config = replaceOnce(t, config, "127.0.0.1:8080", strings.TrimPrefix(s.Plain, "http://"))
		return sitetest.ServeHAProxy(t, func(address string) string { return replaceOnce(t, config, "bind :80", "bind "+address) })
	},
}

// anotherClient is a transport whose connections come from an address other than the proxy's. It keeps no connections.
var anotherClient = &http.Transport{
	DisableKeepAlives: true,
	DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
		return dialer.DialContext(ctx, network, address)
	},
}

// The settings that the documentation shows for proxies do what it says, with the real programs.
func TestDocumentedProxies(t *testing.T) {
	const trust = "\ttrusted_proxies static 127.0.0.1/32\n\t\ttrusted_proxies_strict\n" // as in sitetest.BehindProxy
	if block := streamingBlock(t, "caddyfile", "http://example.com:8080 {"); !strings.Contains(block, trust) {
		t.Errorf("the Caddyfile behind a proxy trusts other proxies: %s", block)
	}
	for name, serve := range proxies {
		t.Run(name, func(t *testing.T) {
			upstream := sitetest.NewHandUpstream(t)
			s := sitetest.ServeWith(t, sitetest.BehindProxy, sitetest.ChatToURL(upstream.URL, ""))
			url := serve(t, s)

			t.Run("each event arrives before the next is sent", func(t *testing.T) {
				c := sitetest.Converse(t, upstream, sitetest.OneShot, compressible(sitetest.ChatRequest(t, url, sitetest.Hello)))
				start := time.Now()
				const steps = 20
				for range steps {
					c.Step(t)
				}
				if took := time.Since(start); took > steps*150*time.Millisecond {
					t.Errorf("an event takes %s", took/steps)
				}
				c.Finish(t)
				if got := c.Response.Header.Get("Content-Encoding"); got != "" {
					t.Errorf("the answer is compressed: %s", got)
				}
			})
			t.Run("a disconnect reaches the upstream", func(t *testing.T) {
				for _, after := range []int{0, 3} {
					c := sitetest.Converse(t, upstream, sitetest.OneShot, sitetest.ChatRequest(t, url, sitetest.Hello))
					for range after {
						c.Step(t)
					}
					c.Response.Body.Close()
					sitetest.Eventually(t, "the upstream request is cancelled", func() bool { return isClosed(c.Upstream.Over) })
				}
			})
			t.Run("a disconnect before the answer reaches the upstream", func(t *testing.T) {
				ctx, disconnect := context.WithCancel(t.Context())
				go func() {
					_, _ = sitetest.OneShot.RoundTrip(sitetest.ChatRequest(t, url, sitetest.Hello).WithContext(ctx))
				}()
				asked := upstream.Next(t)
				disconnect()
				sitetest.Eventually(t, "the upstream request is cancelled", func() bool { return isClosed(asked.Over) })
			})
			t.Run("the site's own pages may ask", func(t *testing.T) {
				req := sitetest.ChatRequest(t, url, sitetest.Hello)
				req.Header.Set("Origin", url)
				sitetest.Converse(t, upstream, sitetest.OneShot, req).Finish(t)
			})
			t.Run("heartbeats arrive", func(t *testing.T) {
				s.Reload(sitetest.ChatToURL(upstream.URL, "heartbeat 100ms"))
				c := sitetest.Converse(t, upstream, sitetest.OneShot, sitetest.ChatRequest(t, url, sitetest.Hello))
				for range 5 {
					c.Hear(t, ":\n\n")
				}
			})
			t.Run("errors arrive", func(t *testing.T) {
				for _, status := range []int{http.StatusBadGateway, http.StatusGatewayTimeout} {
					failing := sitetest.NewUpstream(t, sitetest.Answering(status, ""))
					s.Reload(sitetest.ChatToURL(failing.URL, sitetest.Once))
					resp := s.Send(sitetest.OneShot, sitetest.ChatRequest(t, url, sitetest.Hello))
					sitetest.WantError(t, resp, status, upstreamCodes[status])
				}
			})
			t.Run("a request that is too large gets the chat's own error", func(t *testing.T) {
				s.Reload(sitetest.ChatToURL(upstream.URL, ""))
				resp := s.Send(sitetest.OneShot, sitetest.ChatRequest(t, url, sitetest.Saying(strings.Repeat("x", 1200<<10))))
				sitetest.WantError(t, resp, http.StatusRequestEntityTooLarge, "too_large:chat")
			})
			t.Run("the address of the client arrives, and cannot be forged", func(t *testing.T) {
				if runtime.GOOS != "linux" {
					t.Skip("only on Linux, 127.0.0.2 is a second address")
				}
				finishing := sitetest.NewUpstream(t, sitetest.Finishing)
				s.Reload("header >X-Client {client_ip}\n" + sitetest.ChatToURL(finishing.URL, ""))
				for _, forged := range []string{"", "192.0.2.1"} {
					req := sitetest.ChatRequest(t, url, sitetest.Hello)
					if forged != "" {
						req.Header.Set("X-Forwarded-For", forged)
					}
					resp := s.Send(anotherClient, req)
					if got := resp.Header.Get("X-Client"); got != "127.0.0.2" {
						t.Errorf("with X-Forwarded-For %q, the client is %q", forged, got)
					}
				}
			})
		})
	}
}

// upstreamCodes are the codes of the errors that visitors get for an upstream's status.
var upstreamCodes = map[int]string{
	http.StatusBadGateway:     "bad_gateway:upstream",
	http.StatusGatewayTimeout: "timeout:upstream",
}

// compressible returns req with the header by which browsers allow compression.
func compressible(req *http.Request) *http.Request {
	req.Header.Set("Accept-Encoding", "gzip, deflate, br")
	return req
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// With the documented intercept block, errors 502 and 504 get another status and keep their bodies. Other errors and answers
// stay as they are.
func TestDocumentedReplacementOfStatuses(t *testing.T) {
	var intercept string
	for _, block := range docstest.Read(t, "docs/streaming.md").In("caddyfile") {
		found := regexp.MustCompile(`(?ms)^\tintercept \{\n.*?^\t\}\n`).FindString(block)
		if found != "" && intercept != "" && found != intercept {
			t.Errorf("there are two: %s%s", intercept, found)
		}
		intercept = cmp.Or(found, intercept)
	}
	if intercept == "" {
		t.Fatal("no block has intercept")
	}
	for _, status := range []int{http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusInternalServerError} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			failing := sitetest.NewUpstream(t, sitetest.Answering(status, ""))
			chat := sitetest.ChatToURL(failing.URL, sitetest.Once)
			s := sitetest.Serve(t, chat)
			plain := s.Ask(sitetest.Hello)
			want := sitetest.ReadAll(t, plain)
			s.Reload(intercept + chat)
			resp := s.Ask(sitetest.Hello)
			if got := sitetest.ReadAll(t, resp); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			for _, name := range []string{"Content-Type", "Cache-Control", "Retry-After"} {
				if got, want := resp.Header.Get(name), plain.Header.Get(name); got != want {
					t.Errorf("got %s: %s, want %s", name, got, want)
				}
			}
			wanted := plain.StatusCode
			if wanted == http.StatusBadGateway || wanted == http.StatusGatewayTimeout {
				wanted = http.StatusServiceUnavailable
			}
			if resp.StatusCode != wanted {
				t.Errorf("got %s, want %d", resp.Status, wanted)
			}
		})
	}
	t.Run("a stream", func(t *testing.T) {
		upstream := sitetest.NewHandUpstream(t)
		s := sitetest.Serve(t, intercept+sitetest.ChatToURL(upstream.URL, ""))
		c := sitetest.Converse(t, upstream, sitetest.OneShot, sitetest.ChatRequest(t, s.Plain, sitetest.Hello))
		for range 5 {
			c.Step(t)
		}
		c.Finish(t)
	})
}
