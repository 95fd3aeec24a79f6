package site

import (
	"net/http"
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
