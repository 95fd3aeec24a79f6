package doctor

import (
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/doctor/site"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// behindNginx serves a site behind nginx, with these directives for the server, and returns nginx's URL.
func behindNginx(t *testing.T, s *sitetest.Site, directives string) string {
	t.Helper()
	return sitetest.ServeNginx(t, "location / { proxy_pass "+s.Plain+"; } "+directives)
}

// buffering lets nginx hold answers back: over HTTP/1.0, which was its default for long, it cannot see where a chunk ends.
const buffering = "proxy_http_version 1.0; proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"

// healthy are the checks that find nothing wrong at a site with everything.
const healthy = `reachable handler refusals own_page foreign_page form text_plain allowed_page chat events compression headers bytes finish
	forged_address resume token`

// A proxy without a fault gives no warning.
func TestHealthyProxy(t *testing.T) {
	options := site.Options{Origin: "https://www.example.com"}
	t.Run("nginx", func(t *testing.T) {
		s := sitetest.Serve(t, sitetest.ChatTo(paced(t), everything))
		found := check(t, behindNginx(t, s, "")+sitetest.ChatPath, options)
		found.want(t, "limit", doctor.Note, "nginx in front", "trusted_proxies static")
		found.wantNothingElse(t)
		found.wantOK(t, healthy)
	})
	t.Run("Caddy", func(t *testing.T) {
		behind := sitetest.New(t, "grace_period 1ms")
		sitetest.Run(t, behind, sitetest.ChatTo(paced(t), everything))
		s := sitetest.Serve(t, "encode\nreverse_proxy "+behind.Plain)
		found := check(t, s.Plain+sitetest.ChatPath, options)
		found.want(t, "limit", doctor.Note, "Caddy's reverse_proxy in front")
		found.wantNothingElse(t)
		found.wantOK(t, healthy)
	})
}

// A proxy that holds events back is found and named.
func TestBufferingProxy(t *testing.T) {
	for name, tc := range map[string]struct {
		pace     time.Duration
		question string
		words    string
	}{
		"to the end": {40 * time.Millisecond, "/events 30", "all 31 events arrive at once"},
		"in batches": {15 * time.Millisecond, "/events 200", "201 events arrive in"},
	} {
		t.Run(name, func(t *testing.T) {
			server := sandboxtest.NewServer(t, sandbox.Options{Pace: tc.pace})
			s := sitetest.Serve(t, sitetest.ChatTo(server, ""))
			url := behindNginx(t, s, buffering+"proxy_buffer_size 4k; proxy_buffers 8 4k; proxy_busy_buffers_size 4k;")
			found := check(t, url+sitetest.ChatPath, site.Options{Question: tc.question})
			found.want(t, "events", doctor.Wrong, tc.words, "nginx", "proxy_buffering off")
			found.wantNothingElse(t, "events", "limit")
		})
	}
}

// A proxy that rewrites Host makes the site's own pages look foreign. Caddy does so by default if its upstream is https.
func TestProxyThatRewritesHost(t *testing.T) {
	behind := sitetest.New(t, "grace_period 1ms")
	sitetest.Run(t, behind, sitetest.ChatTo(paced(t), everything))
	// Over HTTP/2, Caddy's reverse_proxy itself has a data race.
	front := sitetest.Serve(t, "reverse_proxy "+behind.Secure+" {\ntransport http {\ntls_insecure_skip_verify\nversions 1.1\n}\n}")
	nginx := behindNginx(t, behind, "proxy_set_header Host $proxy_host;")
	for _, tc := range []struct {
		url, setting string
		level        doctor.Level
	}{
		{nginx, "proxy_set_header Host", doctor.Wrong},
		{front.Plain, "header_up Host", doctor.Wrong},
		{front.Secure, "header_up Host", doctor.Warning}, // only browsers that send no Sec-Fetch-Site are concerned
	} {
		found := check(t, tc.url+sitetest.ChatPath, site.Options{NoChat: true})
		found.want(t, "own_page", tc.level, "403 forbidden:origin", tc.setting, "allow_origins "+tc.url)
		found.wantNothingElse(t, "own_page")
	}
}

// A proxy that replaces error pages is found by a chat that fails.
func TestProxyThatReplacesErrors(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, everything+"\n"+sitetest.Once))
	replacing := behindNginx(t, s, "proxy_intercept_errors on; error_page 502 504 /sorry.html; location = /sorry.html { return 502; }")
	keeping := behindNginx(t, s, "")

	found := check(t, replacing+sitetest.ChatPath, site.Options{Question: "/status 502"})
	found.want(t, "error_pages", doctor.Wrong, "HTML page from nginx", "proxy_intercept_errors off")
	found.wantNothingElse(t, "error_pages", "chat")

	found = check(t, keeping+sitetest.ChatPath, site.Options{Question: "/status 502"})
	found.want(t, "error_pages", doctor.OK, "502")
	found.want(t, "chat", doctor.Wrong, "502 bad_gateway:upstream", "Caddy's log")
	found.wantNothingElse(t, "chat")
}

// A proxy that replaces the pages of other errors is found without a chat.
func TestProxyThatReplacesRefusals(t *testing.T) {
	s := sitetest.Serve(t, sitetest.ChatTo(paced(t), everything))
	url := behindNginx(t, s, "proxy_intercept_errors on; error_page 415 /sorry.html; location = /sorry.html { return 415; }")
	found := check(t, url+sitetest.ChatPath, site.Options{NoChat: true})
	var replaced []doctor.Finding
	for _, f := range found {
		if f.Check == "refusals" && f.Level == doctor.Wrong {
			replaced = append(replaced, f)
		}
	}
	findings(replaced).want(t, "refusals", doctor.Wrong, "not labelled as JSON", "HTML page from nginx", "proxy_intercept_errors off")
	found.wantNothingElse(t, "refusals")
}

// A proxy that replaces the refusal of an invalid chat may pass requests all the same.
func TestProxyThatReplacesEachRefusal(t *testing.T) {
	s := sitetest.Serve(t, sitetest.ChatTo(paced(t), everything))
	url := behindNginx(t, s, "proxy_intercept_errors on; error_page 400 /sorry.html; location = /sorry.html { return 400; }")
	found := check(t, url+sitetest.ChatPath, site.Options{NoChat: true})
	found.want(t, "handler", doctor.Wrong, "400 with an HTML page from nginx arrives instead", "proxy_intercept_errors off", "error_page")
	found.wantNothingElse(t, "handler")
}

// A proxy that compresses answers is found.
func TestCompressingProxy(t *testing.T) {
	s := sitetest.Serve(t, sitetest.ChatTo(paced(t), everything))
	url := behindNginx(t, s, "gzip on; gzip_proxied any; gzip_min_length 1; gzip_types text/event-stream;")
	found := check(t, url+sitetest.ChatPath, site.Options{})
	found.want(t, "compression", doctor.Warning, "gzip")
	found.want(t, "bytes", doctor.OK)
	found.wantNothingElse(t, "compression")
}

// A proxy that adds CORS headers of its own makes browsers refuse answers. A site that does not allow the origin is found, too.
func TestAllowedPage(t *testing.T) {
	s := sitetest.Serve(t, sitetest.ChatTo(paced(t), everything))
	url := behindNginx(t, s, "add_header Access-Control-Allow-Origin * always;")
	found := check(t, url+sitetest.ChatPath, site.Options{NoChat: true, Origin: "https://www.example.com"})
	found.want(t, "allowed_page", doctor.Wrong, "more than one Access-Control-Allow-Origin")
	found.want(t, "foreign_page", doctor.Note, "Access-Control-Allow-Origin")
	found.wantNothingElse(t, "allowed_page")

	found = check(t, s.Secure+sitetest.ChatPath, site.Options{NoChat: true, Origin: "https://shop.example.com"})
	found.want(t, "allowed_page", doctor.Wrong, "refused", "allow_origins https://shop.example.com")
	found.wantNothingElse(t, "allowed_page")
}

// A proxy that hides who asks lets pages of any origin in.
func TestProxyThatHidesOrigins(t *testing.T) {
	s := sitetest.Serve(t, sitetest.ChatTo(paced(t), everything))
	url := behindNginx(t, s, `proxy_set_header Host $http_host; proxy_set_header Origin ""; proxy_set_header Sec-Fetch-Site ""; proxy_set_header Content-Type application/json;`)
	found := check(t, url+sitetest.ChatPath, site.Options{NoChat: true})
	found.want(t, "foreign_page", doctor.Wrong, "400 bad_request:chat", "Sec-Fetch-Site")
	found.want(t, "form", doctor.Wrong)
	found.want(t, "text_plain", doctor.Wrong)
	found.wantNothingElse(t, "foreign_page", "form", "text_plain", "refusals")
}

// A proxy that cuts answers off is found, before the first event and after it.
func TestProxyThatCuts(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, "limit 20 1h"))
	url := behindNginx(t, s, "proxy_read_timeout 1s;") + sitetest.ChatPath

	found := check(t, url, site.Options{Question: "/silent"})
	found.want(t, "chat", doctor.Wrong, "504 with an HTML page from nginx")
	found.want(t, "error_pages", doctor.Wrong)
	found.wantNothingElse(t, "chat", "error_pages")

	found = check(t, url, site.Options{Question: "/stall 3"})
	found.want(t, "finish", doctor.Wrong, "no finish", "unexpected EOF", "which proxy cuts it off")
	found.wantNothingElse(t, "finish")
}

// An upstream that thinks and then writes its answer in one piece is no buffering proxy.
func TestUpstreamThatWritesInOnePiece(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.New(t, "grace_period 1ms")
	p := sitetest.Run(t, s, sitetest.ChatTo(server, ""))
	const question = "/slow-first 1200ms /burst 31 /events 30"

	found := check(t, s.Secure+sitetest.ChatPath, site.Options{Question: question})
	found.want(t, "events", doctor.Warning, "all 31 events arrive at once", "--admin")

	found = check(t, s.Secure+sitetest.ChatPath, site.Options{Question: question, Admin: p.Admin()})
	found.want(t, "events", doctor.Note, "all 31 events arrive at once")
	found.wantNothingElse(t, "limit")
}

// Caddy's metrics prove that a proxy holds events back.
func TestBufferingProxyAndMetrics(t *testing.T) {
	s := sitetest.New(t, "grace_period 1ms")
	p := sitetest.Run(t, s, sitetest.ChatTo(slow(t), ""))
	url := behindNginx(t, s, buffering)
	found := check(t, url+sitetest.ChatPath, site.Options{Admin: p.Admin()})
	found.want(t, "events", doctor.Wrong, "all 31 events arrive at once", "although the chat sent the first one after")
	found.wantNothingElse(t, "events", "limit")
}
