package upstream

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

func TestDroppedHeaders(t *testing.T) {
	dropped := []string{
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer",
		"Transfer-Encoding", "Upgrade", "Content-Type", "Content-Length", "Content-Encoding",
		"Server", "Via", "Alt-Svc", "Date", "Age", "Expires", "Pragma", "Location", "Refresh", "Clear-Site-Data",
		"Strict-Transport-Security", "WWW-Authenticate", "Report-To", "NEL",
		"Cache-Control", "Surrogate-Control", "CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "X-Sendfile",
		"Set-Cookie", "Set-Cookie2", "Access-Control-Allow-Origin", "Access-Control-Max-Age",
		"Content-Security-Policy", "Content-Security-Policy-Report-Only", "X-Accel-Redirect", "RateLimit", "RateLimit-Policy",
	}
	// The names that are most like a dropped one, and those that clients of the API read.
	passing := []string{
		"X-Connection", "Content-Language", "Content-Location", "Content-Security", "Servers", "Server-Timing", "Dates",
		"Cookie", "X-Set-Cookie", "X-Access-Control-Max-Age", "CDN-Cache-Control-Note", "X-Cache-Control", "X-Accel",
		"X-RateLimit-Limit", "Retry-After", "ETag", "X-Request-Id", "X-Chat-Id",
	}
	upstream, want := make(http.Header), make(http.Header)
	for _, name := range dropped {
		upstream.Add(name, "theirs")
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

// A field that holds the token is left out as a whole, and is reported once. One that is dropped anyway is not reported.
func TestHeadersWithToken(t *testing.T) {
	var leaks []Leak
	a := acceptance{newToken([]byte(sandbox.Token)), func(leak Leak) { leaks = append(leaks, leak) }}
	got := a.filter(http.Header{
		"X-Echo":   {"harmless", "Bearer " + sandbox.Token, sandbox.Token},
		"X-Part":   {sandbox.Token[1:]},
		"Location": {"/?token=" + sandbox.Token},
	})
	if want := (http.Header{"X-Part": {sandbox.Token[1:]}}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(leaks) != 1 || leaks[0].Header != "X-Echo" || leaks[0].Status != 0 || !strings.Contains(leaks[0].What, "dropped") {
		t.Errorf("reported: %+v", leaks)
	}
}
