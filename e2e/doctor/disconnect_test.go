package doctor

import (
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/doctor/site"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// The admin API shows whether a visitor's disconnect ends the upstream request, or a proxy keeps its connection open.
func TestDisconnect(t *testing.T) {
	server := slow(t)
	s := sitetest.New(t, "grace_period 1ms")
	p := sitetest.Run(t, s, sitetest.ChatTo(server, ""))
	keeping := behindNginx(t, s, buffering+"proxy_ignore_client_abort on;")

	found := check(t, s.Secure+sitetest.ChatPath, site.Options{Admin: p.Admin()})
	found.want(t, "disconnect", doctor.OK)
	found.wantNothingElse(t, "limit")
	sitetest.Eventually(t, "the upstream sees that its request is cancelled", func() bool {
		requests := server.Requests()
		return requests[len(requests)-1].Canceled()
	})

	found = check(t, keeping+sitetest.ChatPath, site.Options{Admin: p.Admin()})
	found.want(t, "disconnect", doctor.Wrong, "proxy_ignore_client_abort off")
	found.wantNothingElse(t, "disconnect", "events", "limit")

	found = check(t, s.Secure+sitetest.ChatPath, site.Options{Admin: p.Admin(), Question: "/events 3"})
	found.want(t, "disconnect", doctor.Skipped, "too short")
	found = check(t, s.Secure+sitetest.ChatPath, site.Options{Admin: "127.0.0.1:1", Question: "/events 30"})
	found.want(t, "disconnect", doctor.Skipped, "connection refused", "--admin")
}
