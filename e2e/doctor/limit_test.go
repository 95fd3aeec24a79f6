package doctor

import (
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/doctor/site"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// A site without a limit for each client is found, whether it has none or one that visitors share.
func TestNoLimit(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	for _, limit := range []string{"", "limit 100 1h everyone"} {
		s := sitetest.Serve(t, sitetest.ChatTo(server, limit))
		found := check(t, s.Secure+sitetest.ChatPath, site.Options{})
		found.want(t, "limit", doctor.Note, "limit 20 1h", "limit 2000 24h everyone") // a warning, if the host were not this machine
		found.want(t, "forged_address", doctor.Skipped)
		found.wantNothingElse(t)
	}
}

// A limit that a forged address bypasses is found, whichever header names the address. It is a warning, because the site may
// trust this machine's own address: see TestForgedAddressOfStranger in internal/doctor/site.
func TestForgedAddress(t *testing.T) {
	const appending = "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
	for name, tc := range map[string]struct {
		servers, nginx, limit string
		level                 doctor.Level
	}{
		"nobody is trusted":            {"", "", "limit 20 1h", doctor.OK},
		"everybody is trusted":         {"trusted_proxies static 0.0.0.0/0 ::/0", "", "limit 20 1h", doctor.Warning},
		"a CDN's header":               {"trusted_proxies static 127.0.0.1/32\nclient_ip_headers CF-Connecting-IP", "", "limit 20 1h", doctor.Warning},
		"another CDN's header":         {"trusted_proxies static 127.0.0.1/32\nclient_ip_headers True-Client-IP", "", "limit 20 1h", doctor.Warning},
		"the first address counts":     {"trusted_proxies static 127.0.0.1/32", appending, "limit 20 1h", doctor.Warning},
		"the proxy's own address":      {"trusted_proxies static 127.0.0.1/32", "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;", "limit 20 1h", doctor.OK},
		"the limit is used up":         {"", "", "limit 1 1h", doctor.OK},
		"the limit is used up, forged": {"trusted_proxies static 0.0.0.0/0 ::/0", "", "limit 1 1h", doctor.Warning},
	} {
		t.Run(name, func(t *testing.T) {
			server := sandboxtest.NewServer(t, sandbox.Options{})
			global := "grace_period 1ms"
			if tc.servers != "" {
				global += "\nservers {\n" + tc.servers + "\n}"
			}
			s := sitetest.ServeWith(t, global, sitetest.ChatTo(server, tc.limit))
			url, ofLimit := s.Secure, doctor.OK
			if tc.nginx != "" {
				url, ofLimit = behindNginx(t, s, tc.nginx), doctor.Note
			}
			found := check(t, url+sitetest.ChatPath, site.Options{})
			found.want(t, "limit", ofLimit, "chats in 1h0m0s")
			found.want(t, "forged_address", tc.level)
			found.wantNothingElse(t, "forged_address")
			if tc.level == doctor.Warning {
				found.want(t, "forged_address", tc.level, "this machine bypasses the limit", "from a machine outside", "trusted_proxies_strict")
			}
		})
	}
}

// If this machine has used up its limit, the answer cannot be checked, and nothing is wrong.
func TestLimitIsUsedUp(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, "limit 1 1h"))
	sitetest.ReadAll(t, s.Ask(sitetest.Saying("/events 1")))
	found := check(t, s.Plain+sitetest.ChatPath, site.Options{})
	found.want(t, "chat", doctor.Skipped, "429 rate_limit:chat", " seconds")
	found.wantNothingElse(t)
}
