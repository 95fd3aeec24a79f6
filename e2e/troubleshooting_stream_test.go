package e2e

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// pausing answers with an event, and after a pause with the finish.
var pausing = writing(500*time.Millisecond, sitetest.Delta, sitetest.Finish)

// streamTroubles reproduce the rows about pages that hang, answers in one piece and answers that break off.
var streamTroubles = map[string]func(*testing.T, *symptom){
	"buffering": func(t *testing.T, row *symptom) {
		row.wantIn(t, "")
		u, s := sitetest.NewHandUpstream(t), served(t)
		s.Reload(around{upstream: u.URL}.in(chatOf("")))
		// Over HTTP/1.0, which was nginx's default for long, it cannot see where a chunk ends.
		const old = "proxy_http_version 1.0; proxy_ignore_headers X-Accel-Buffering; "
		if !heldBack(t, u, sitetest.ServeNginx(t, "location / { proxy_pass "+s.Plain+"; } "+old+"proxy_buffering on;"), aWhile) {
			t.Error("nginx does not hold the answer back")
		}
		if heldBack(t, u, sitetest.ServeNginx(t, "location / { proxy_pass "+s.Plain+"; } "+old+"proxy_buffering off;"), sitetest.Patience) {
			t.Error("with the remedy, nginx holds the answer back")
		}
	},
	"logged-body": func(t *testing.T, row *symptom) {
		row.wantIn(t, "")
		u, s := sitetest.NewHandUpstream(t), served(t)
		at := around{upstream: u.URL}
		s.Reload(at.in("log\nlog_append answer {http.response.body}\n" + chatOf("")))
		if !heldBack(t, u, s.Plain, aWhile) {
			t.Error("log_append does not hold the answer back")
		}
		s.Reload(at.in("log\n@others not path " + sitetest.ChatPath + "\nlog_append @others answer {http.response.body}\n" + chatOf("")))
		if heldBack(t, u, s.Plain, sitetest.Patience) {
			t.Error("with the remedy, log_append holds the answer back")
		}
	},
	"slow-failure": func(t *testing.T, row *symptom) {
		row.wantIn(t, "")
		u, s := sitetest.NewUpstream(t, sitetest.Answering(500, "")), served(t)
		fails := func(subdirectives string) (took time.Duration, asked int) {
			start := time.Now()
			got := visiting{directives: chatOf(subdirectives)}.see(t, s, around{upstream: u.URL})
			if !strings.HasPrefix(got, "HTTP/1.1 500 ") {
				t.Errorf("got %s", got)
			}
			return time.Since(start), len(u.Take())
		}
		if took, asked := fails(""); asked != 3 || took < 1500*time.Millisecond { // the pauses vary by a half
			t.Errorf("the API is asked %d times in %s", asked, took)
		}
		if _, asked := fails(sitetest.Once); asked != 1 {
			t.Errorf("with the remedy, the API is asked %d times", asked)
		}
	},
	"six-tabs": sixTabs,
	"slow-stop": func(t *testing.T, row *symptom) {
		u := sitetest.NewHandUpstream(t)
		exit := func(global string) (*sitetest.Site, *sitetest.Process, *sitetest.Conversation) {
			s := sitetest.New(t, global)
			p := sitetest.Run(t, s, around{upstream: u.URL}.in(chatOf("")))
			c := sitetest.Converse(t, u, http.DefaultTransport, sitetest.ChatRequest(t, s.Plain, sitetest.Hello))
			p.Exit(t)
			return s, p, c
		}
		s, p, c := exit("")
		sitetest.Eventually(t, "Caddy begins to stop", func() bool { return strings.Contains(s.Log(), "grace period") })
		c.Step(t)
		c.Finish(t)
		p.Wait(t)
		row.wantIn(t, s.Log()+" grace_period")
		_, p, c = exit("grace_period 1s")
		c.IsShutDown(t, "HTTP/1.1")
		p.Wait(t)
	},

	"closed": func(t *testing.T, row *symptom) {
		u, s := sitetest.NewUpstream(t, writing(1500*time.Millisecond, sitetest.Delta, sitetest.Finish)), served(t)
		through := func(timeout string) string {
			nginx := sitetest.ServeNginx(t, "location / { proxy_pass "+u.URL+"; } proxy_buffering off; proxy_read_timeout "+timeout+";")
			return visiting{directives: chatOf("")}.see(t, s, around{upstream: nginx})
		}
		row.wantIn(t, through("1s"))
		wantAnswered(t, through("60s"))
	},
	"stalled": mendedWith(pausing,
		visiting{directives: chatOf("idle_timeout 100ms")},
		visiting{directives: chatOf("idle_timeout 5s")}),
	"late": mendedWith(writing(1500*time.Millisecond, "", sitetest.Finish),
		visiting{directives: chatOf("commit_after 50ms\nresponse_timeout 300ms")},
		visiting{directives: chatOf("commit_after 50ms\nresponse_timeout 5s")}),
	"max-duration": mendedWith(writing(1500*time.Millisecond, sitetest.Delta, sitetest.Finish),
		visiting{directives: chatOf("max_duration 1s")},
		visiting{directives: chatOf("max_duration 5s")}),
	"write-timeout": mendedWith(writing(1500*time.Millisecond, sitetest.Delta, sitetest.Finish),
		visiting{global: "servers {\ntimeouts {\nwrite 1s\n}\n}", directives: chatOf("")},
		visiting{directives: chatOf("")}),
	"proxy-timeout": func(t *testing.T, row *symptom) {
		row.wantIn(t, "")
		u, s := sitetest.NewUpstream(t, writing(1500*time.Millisecond, sitetest.Delta, sitetest.Finish)), served(t)
		nginx := sitetest.ServeNginx(t, "location / { proxy_pass "+s.Plain+"; } proxy_read_timeout 1s;")
		ask := func(heartbeat string) (string, error) {
			s.Reload(around{upstream: u.URL}.in(chatOf("heartbeat " + heartbeat)))
			body, err := io.ReadAll(s.Send(sitetest.OneShot, sitetest.ChatRequest(t, nginx, sitetest.Hello)).Body)
			return string(body), err
		}
		if got, err := ask("15s"); err == nil || strings.Contains(got, "finish") {
			t.Errorf("nginx does not cut the answer: %q, %v", got, err)
		}
		if got, err := ask("200ms"); err != nil || !strings.HasSuffix(got, sitetest.Finish) {
			t.Errorf("with the remedy, the answer is %q, %v", got, err)
		}
	},
	"killed": func(t *testing.T, row *symptom) {
		row.wantIn(t, "")
		u := sitetest.NewHandUpstream(t)
		begin := func() (*sitetest.Process, *sitetest.Conversation) {
			s := sitetest.New(t, "grace_period 2s")
			p := sitetest.Run(t, s, around{upstream: u.URL}.in(chatOf("")))
			return p, sitetest.Converse(t, u, http.DefaultTransport, sitetest.ChatRequest(t, s.Plain, sitetest.Hello))
		}
		p, c := begin()
		p.Exit(t)
		if err := p.OSProcess.Kill(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c.Visitor); err == nil || strings.Contains(string(got), "finish") {
			t.Errorf("the visitor gets %q, %v", got, err)
		}
		p, c = begin()
		p.Exit(t)
		c.IsShutDown(t, "HTTP/1.1")
		p.Wait(t)
	},
	"reload": func(t *testing.T, row *symptom) {
		u, s := sitetest.NewHandUpstream(t), served(t)
		at := around{upstream: u.URL}
		s.Global = "grace_period 1s"
		s.Reload(at.in(chatOf("resume")))
		c := sitetest.Converse(t, u, sitetest.Protocols(t)["HTTP/3.0"], sitetest.ChatRequest(t, s.Secure, sitetest.Hello))
		s.Reload(at.in(chatOf("resume")))
		rest, err := io.ReadAll(c.Visitor)
		if err != nil {
			t.Errorf("the stream ends with %v", err)
		}
		row.wantIn(t, string(rest))
		again := s.GoOn(t, c.Response.Header.Get("Illumichat-Stream"), 1)
		c.Upstream.Say(t, sitetest.Finish)
		c.Upstream.End()
		if got := sitetest.AnyID.ReplaceAllString(sitetest.ReadAll(t, again), ""); got != sitetest.Finish {
			t.Errorf("with the remedy, the answer goes on with %q", got)
		}
	},
}

// sixTabs lets a browser wait for answers in seven tabs. It opens at most six connections over HTTP/1.1.
func sixTabs(t *testing.T, row *symptom) {
	row.wantIn(t, "")
	u, s := sitetest.NewUpstream(t, sitetest.Stalling(sitetest.Answering(200, sitetest.Delta, "Content-Type", eventStream))), served(t)
	s.Reload(around{upstream: u.URL}.in(chatOf("")))
	insecure := &tls.Config{InsecureSkipVerify: true}
	h1 := &http.Transport{MaxConnsPerHost: 6, TLSClientConfig: insecure.Clone(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	h2 := &http.Transport{TLSClientConfig: insecure.Clone(), ForceAttemptHTTP2: true}
	for _, browser := range []*http.Transport{h1, h2} {
		t.Cleanup(browser.CloseIdleConnections)
		var tabs []*http.Response
		for range 6 {
			tabs = append(tabs, s.Send(browser, sitetest.ChatRequest(t, s.Secure, sitetest.Hello)))
		}
		seventh := make(chan struct{})
		go func() {
			defer close(seventh)
			resp, err := browser.RoundTrip(sitetest.ChatRequest(t, s.Secure, sitetest.Hello))
			if err != nil {
				t.Errorf("sending the request: %v", err)
				return
			}
			resp.Body.Close()
		}()
		if browser == h1 && closedWithin(aWhile, seventh) {
			t.Error("over HTTP/1.1, the seventh tab does not wait")
		}
		if browser == h2 && !closedWithin(sitetest.Patience, seventh) {
			t.Error("over HTTP/2, the seventh tab waits")
		}
		for _, tab := range tabs {
			tab.Body.Close()
		}
		<-seventh
	}
}
