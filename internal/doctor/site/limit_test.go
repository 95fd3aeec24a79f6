package site

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// collected collects findings.
type collected []doctor.Finding

func (c *collected) Add(f doctor.Finding) { *c = append(*c, f) }
func (*collected) Progress(string)        {}

// A site that a stranger reaches at a public address trusts everybody if a forged address counts. At a private address, the site
// may trust this machine alone.
func TestForgedAddressOfStranger(t *testing.T) {
	for address, want := range map[string]doctor.Level{
		"203.0.113.7:443":         doctor.Wrong,
		"[2001:db8::1]:443":       doctor.Wrong,
		"127.0.0.1:443":           doctor.Warning,
		"[::1]:443":               doctor.Warning,
		"192.168.1.2:443":         doctor.Warning,
		"[::ffff:10.0.0.1]:443":   doctor.Warning,
		"[fe80::1%eth0]:443":      doctor.Warning,
		"[fd00:1234::1]:443":      doctor.Warning,
		"[2606:4700::1111]:65535": doctor.Wrong,
	} {
		var found collected
		c := newChecker(target{}, Options{}, &found)
		c.client.pin.address = address
		header := make(http.Header)
		header.Set("RateLimit-Policy", `"client";q=20;w=3600`)
		header.Set("RateLimit", `"client";r=19;t=60`)
		c.reportForgery(allowance{20, time.Hour, 19}, header, time.Second)
		if len(found) != 1 || found[0].Level != want || found[0].Check != "forged_address" {
			t.Errorf("%s: got %+v, want %s", address, found, want)
		}
	}
}

// A site without a limit for each client is open to strangers, unless only this machine's own names lead to it.
func TestNoLimit(t *testing.T) {
	for url, want := range map[string]doctor.Level{
		"https://example.com/chat": doctor.Warning, "http://192.168.1.2/chat": doctor.Warning,
		"https://localhost/chat": doctor.Note, "https://shop.localhost/chat": doctor.Note, "http://127.0.0.1/chat": doctor.Note,
	} {
		var found collected
		newChecker(mustParse(t, url), Options{}, &found).checkLimit(t.Context(), &transcript{stream: &stream{}})
		if f := found[0]; f.Check != checkLimit || f.Level != want || !strings.Contains(f.Do, "limit 2000 24h everyone") {
			t.Errorf("%s: got %+v", url, f)
		}
	}
}

// Behind a proxy, all visitors may be one client.
func TestLimitBehindProxy(t *testing.T) {
	for name, tc := range map[string]struct {
		header http.Header
		level  doctor.Level
	}{
		"Caddy itself": {http.Header{"Server": {"Caddy"}}, doctor.OK},
		"nginx":        {http.Header{"Server": {"nginx"}}, doctor.Note},
	} {
		var found collected
		c := newChecker(mustParse(t, "https://example.com/chat"), Options{}, &found)
		c.protocol = http2Protocol
		c.probes = map[protocol]*answer{http2Protocol: {header: tc.header}}
		c.reportLimit(allowance{quota: 20, window: time.Hour})
		f := found[0]
		if f.Level != tc.level || !strings.HasPrefix(f.Found, "a client may send 20 chats in 1h0m0s") || (f.Level == doctor.Note) != strings.Contains(f.Why, "share these 20 chats") {
			t.Errorf("%s: got %+v", name, f)
		}
	}
}
