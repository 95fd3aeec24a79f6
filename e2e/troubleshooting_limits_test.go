package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// stalling answers with an event, and then with nothing until the visitor leaves.
var stalling = sitetest.Stalling(sitetest.Answering(200, sitetest.Delta, "Content-Type", eventStream))

// limitTroubles reproduce the rows about limits.
var limitTroubles = map[string]func(*testing.T, *symptom){
	"one-address": func(t *testing.T, row *symptom) {
		a, s := newAround(t, nil), served(t)
		ask := func(global, client string) string {
			return visiting{global: global, directives: chatOf("limit 1 1h"), request: func(t *testing.T, s *sitetest.Site) *http.Request {
				req := hello(t, s)
				req.Header.Set("X-Forwarded-For", client)
				return req
			}}.see(t, s, a)
		}
		wantAnswered(t, ask("", "192.0.2.1"))
		row.wantIn(t, ask("", "192.0.2.2"))
		trusted := strings.TrimPrefix(sitetest.BehindProxy, "grace_period 1ms\n")
		wantAnswered(t, ask(trusted, "192.0.2.1"))
		wantAnswered(t, ask(trusted, "192.0.2.2"))
	},
	"no-address": func(t *testing.T, row *symptom) {
		u := sitetest.NewUpstream(t, stalling)
		ask := func(servers string) (last *http.Response, log string) {
			s := serveUnix(t, servers, u.URL, "max_streams_per_client 1")
			for _, client := range []string{"192.0.2.1", "192.0.2.2"} {
				last = s.ask(t, client, sitetest.Hello)
			}
			log = s.Log()
			if err := caddy.Stop(); err != nil {
				t.Fatal(err)
			}
			return last, log
		}
		last, log := ask("")
		row.wantIn(t, log)
		sitetest.WantError(t, last, http.StatusTooManyRequests, "rate_limit:chat")
		if last, _ := ask("servers {\ntrusted_proxies_unix\n}"); last.StatusCode != http.StatusOK {
			t.Errorf("with the remedy, the second client gets %s", last.Status)
		}
	},
	"cool-down": func(t *testing.T, row *symptom) {
		a, s := newAround(t, nil), served(t)
		limited := visiting{directives: chatOf(sitetest.Once), request: saying("/status 429 2")}
		limited.see(t, s, a)
		row.wantIn(t, seen(t, s.Send(sitetest.OneShot, hello(t, s)))+s.Log())
		var got string
		sitetest.Eventually(t, "the cool-down is over", func() bool {
			got = seen(t, s.Send(sitetest.OneShot, hello(t, s)))
			return !strings.HasPrefix(got, "HTTP/1.1 429 ")
		})
		wantAnswered(t, got)
	},
	"everyone": func(t *testing.T, row *symptom) {
		a, s := newAround(t, nil), served(t)
		used := visiting{directives: chatOf("limit 1 1h everyone")}
		wantAnswered(t, used.see(t, s, a))
		sitetest.WantError(t, s.Send(sitetest.OneShot, hello(t, s)), http.StatusTooManyRequests, "rate_limit:chat")
		row.wantIn(t, s.Log()+" everyone limit")
		wantAnswered(t, visiting{directives: chatOf("limit 20 1h\nlimit 5 1h everyone")}.see(t, s, a))
	},
	"max-streams": fullOfStreams("max_streams 1", "max_streams 5"),
	"per-client":  fullOfStreams("max_streams_per_client 1", "max_streams_per_client 5"),
	"too-large": mended(
		visiting{directives: chatOf("max_body_size 1KiB"), request: saying(strings.Repeat("x", 2000))},
		visiting{directives: chatOf("max_body_size 64KiB"), request: saying(strings.Repeat("x", 2000))}),
	"request-body": mended(
		visiting{directives: "request_body {\nmax_size 1KB\n}\n" + chatOf(""), request: saying(strings.Repeat("x", 2000))},
		visiting{
			directives: "@others not path " + sitetest.ChatPath + "\nrequest_body @others {\nmax_size 1KB\n}\n" + chatOf("max_body_size 64KiB"),
			request:    saying(strings.Repeat("x", 2000)),
		}),
}

// fullOfStreams returns the reproduction of a row about answers that are in progress. The first limit is for one of them.
func fullOfStreams(one, more string) func(*testing.T, *symptom) {
	return func(t *testing.T, row *symptom) {
		u, s := sitetest.NewUpstream(t, sitetest.ByMessage(map[string]http.HandlerFunc{"stall": stalling, "Hello": sitetest.Finishing})), served(t)
		at := around{upstream: u.URL}
		s.Reload(at.in(chatOf(one)))
		s.Send(sitetest.OneShot, saying("stall")(t, s))
		row.wantIn(t, seen(t, s.Send(sitetest.OneShot, hello(t, s)))+" "+one)
		wantAnswered(t, visiting{directives: chatOf(more)}.see(t, s, at))
	}
}
