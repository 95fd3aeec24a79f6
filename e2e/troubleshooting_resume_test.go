package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// resumeTroubles reproduce the rows about resume, several machines and Redis.
var resumeTroubles = map[string]func(*testing.T, *symptom){
	"elsewhere": func(t *testing.T, row *symptom) {
		ask := func(store string) (there *sitetest.Site, id string) {
			here, there := serveTwice(t, newAround(t, nil).in(chatOf("resume\n"+store)))
			resp := here.AskAs("192.0.2.1", sitetest.Hello)
			sitetest.ReadAll(t, resp)
			return there, resp.Header.Get("Illumichat-Stream")
		}
		there, id := ask("")
		row.wantIn(t, seen(t, there.GoOn(t, id, 0)))
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
		there, id = ask(storeIn(redistest.Start(t)))
		wantAnswered(t, withoutIDLines(seen(t, comeBack(t, there, id, 0))))
	},
	"twice": func(t *testing.T, row *symptom) {
		second := func(store string) *http.Response {
			here, there := serveTwice(t, newAround(t, nil).in(chatOf("limit 1 1h\n"+store)))
			wantAnswered(t, seen(t, here.AskAs("192.0.2.1", sitetest.Hello)))
			return there.AskAs("192.0.2.1", sitetest.Hello)
		}
		wantAnswered(t, seen(t, second("")))
		row.wantIn(t, "limit")
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
		sitetest.WantError(t, second(storeIn(redistest.Start(t))), http.StatusTooManyRequests, "rate_limit:chat")
	},
	"no-owner": func(t *testing.T, row *symptom) {
		a, s := newAround(t, nil), served(t)
		ask := func(login string) *http.Response {
			s.Reload(a.in(login + chatOf("resume {\nowner {http.auth.user.id}\n}")))
			req := hello(t, s)
			req.SetBasicAuth("visitor", "sesame")
			return s.Send(sitetest.OneShot, req)
		}
		if resp := ask(""); resp.Header.Get("Illumichat-Stream") != "" {
			t.Errorf("the answer has the headers %v", resp.Header)
		}
		row.wantIn(t, s.Log()+" Illumichat-Stream owner")
		if resp := ask("basic_auth {\nvisitor " + sesame + "\n}\n"); resp.Header.Get("Illumichat-Stream") == "" {
			t.Errorf("with the remedy, the answer is %s, with the headers %v", resp.Status, resp.Header)
		}
	},
	"paid-twice": func(t *testing.T, row *symptom) {
		row.wantIn(t, "")
		u, s := sitetest.NewUpstream(t, sitetest.Finishing), served(t)
		s.Reload(around{upstream: u.URL}.in(chatOf("resume")))
		for range 2 {
			sitetest.ReadAll(t, s.Send(sitetest.OneShot, hello(t, s)))
		}
		if asked := len(u.Take()); asked != 2 {
			t.Errorf("without an id, the API is asked %d times", asked)
		}
		q := newQuestion()
		for range 2 {
			wantAnswered(t, seen(t, s.Send(sitetest.OneShot, q.request(t.Context(), s.Plain))))
		}
		if asked := len(u.Take()); asked != 1 {
			t.Errorf("with the remedy, the API is asked %d times", asked)
		}
	},
	"redis-down": func(t *testing.T, row *symptom) {
		redis := redistest.StartTCP(t)
		redis.Kill()
		a, s := newAround(t, nil), served(t)
		wantAnswered(t, withoutIDLines(visiting{directives: chatOf("resume\nstore redis {\naddress " + redis.Address + "\n}")}.see(t, s, a)))
		sitetest.Eventually(t, "the log says so", func() bool { return strings.Contains(s.Log(), "Redis cannot be reached") })
		row.wantIn(t, s.Log())
		redis.Run()
		sitetest.Eventually(t, "the log says that Redis is well", func() bool { return strings.Contains(s.Log(), "Redis can be reached again") })
	},
	"redis-rights": func(t *testing.T, row *symptom) {
		redis := redistest.StartTCP(t)
		a, s := newAround(t, nil), served(t)
		redis.Do("ACL", "SETUSER", "poor", "on", ">sesame", "~illumichat:*", "+ping", "+hello", "+client", "+select", "+info")
		redis.Do("ACL", "SETUSER", "rich", "on", ">sesame", "+@all", "-@admin", "-@dangerous", "~illumichat:*", "~{illumichat:*")
		ask := func(user string) string {
			return visiting{directives: chatOf(fmt.Sprintf("resume\nstore redis {\naddress %s\nusername %s\npassword sesame\n}", redis.Address, user))}.see(t, s, a)
		}
		ask("poor")
		sitetest.Eventually(t, "the log says so", func() bool { return strings.Contains(s.Log(), "NOPERM") })
		row.wantIn(t, s.Log())
		wantAnswered(t, withoutIDLines(ask("rich")))
		sitetest.Eventually(t, "with the remedy, Redis has the answer", func() bool { return strings.Contains(redis.Do("keys", "*"), "illumichat:") })
	},
	"lost": func(t *testing.T, row *symptom) {
		server := sandboxtest.NewServer(t, sandbox.Options{})
		redis := redistest.Start(t)
		c := startCluster(t, redis, 3, inRedis(server, redis, ""))
		killed, exiting, there := c.instances[0], c.instances[1], c.instances[2]
		listen := func(i *instance) io.Reader {
			asked := i.visit(t, "/drip 80 10ms /events 10000", 5)
			asked.leave()
			return awaitAt(t, there, asked.id, 5).Body
		}
		lost, warned := listen(killed), listen(exiting)
		if err := killed.OSProcess.Kill(); err != nil {
			t.Fatal(err)
		}
		exiting.Exit(t)
		got, err := io.ReadAll(lost)
		if err != nil {
			t.Errorf("the stream ends with %v", err)
		}
		row.wantIn(t, string(got))
		got, err = io.ReadAll(warned)
		if last := sitetest.OnlyFinish(t, string(got)); err != nil || last.Code != "shutting_down:proxy" {
			t.Errorf("with the remedy, the answer ends with %+v, %v", last, err)
		}
	},
}

// withoutIDLines returns text without the id lines of a resumable answer.
func withoutIDLines(text string) string { return sitetest.AnyID.ReplaceAllString(text, "") }
