package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// proxyTroubles reproduce the rows about proxies in front, with nginx.
var proxyTroubles = map[string]func(*testing.T, *symptom){
	"host": behindNginxOf(nil, func(req *http.Request) { req.Header.Set("Origin", "http://"+req.URL.Host) },
		"proxy_set_header Host $proxy_host;", "proxy_set_header Host $http_host;"),
	"proxy-504": behindNginxOf(writing(1500*time.Millisecond, "", sitetest.Finish), func(*http.Request) {},
		"proxy_read_timeout 1s;", "proxy_read_timeout 150s;"),
	"proxy-size": behindNginxOf(nil, func(req *http.Request) { setBody(req, sitetest.Saying(strings.Repeat("x", 2000))) },
		"client_max_body_size 1k;", "client_max_body_size 1m;"),
	"error-pages": func(t *testing.T, row *symptom) {
		u, s := sitetest.NewUpstream(t, sitetest.Answering(http.StatusBadGateway, "")), served(t)
		nginx := sitetest.ServeNginx(t, "location / { proxy_pass "+s.Plain+"; } proxy_intercept_errors on; error_page 502 504 /sorry.html; location = /sorry.html { return 502; }")
		ask := func(directives string) *http.Response {
			s.Reload(around{upstream: u.URL}.in(directives + chatOf(sitetest.Once)))
			return s.Send(sitetest.OneShot, sitetest.ChatRequest(t, nginx, sitetest.Hello))
		}
		resp := ask("")
		got := seen(t, resp)
		row.wantIn(t, got)
		if resp.Header.Get("Content-Type") != "text/html" {
			t.Errorf("nginx does not replace the error: %s", got)
		}
		got = seen(t, ask("intercept {\n@closed status 502 504\nhandle_response @closed {\n"+
			"respond `"+`{"error": "The chat is closed for the moment.", "code": "{http.illumichat.code}"}`+"` 503\n}\n}\n"))
		if !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, `"code": "bad_gateway:upstream"`) {
			t.Errorf("with the remedy, the page gets %s", got)
		}
	},
	"compressed": func(t *testing.T, row *symptom) {
		a, s := newAround(t, nil), served(t)
		s.Reload(a.in(chatOf("")))
		through := func(types string) string {
			nginx := sitetest.ServeNginx(t, "location / { proxy_pass "+s.Plain+"; } gzip on; gzip_proxied any; gzip_min_length 1; gzip_types "+types+";")
			req := sitetest.ChatRequest(t, nginx, sitetest.Hello)
			req.Header.Set("Accept-Encoding", "gzip")
			return seen(t, s.Send(sitetest.OneShot, req))
		}
		row.wantIn(t, through("text/css text/event-stream"))
		wantAnswered(t, through("text/css"))
	},
	"two-values": func(t *testing.T, row *symptom) {
		const page = "https://www.example.com"
		a, s := newAround(t, nil), served(t)
		s.Reload(a.in(chatOf("allow_origins " + page)))
		values := func(directives string) []string {
			nginx := sitetest.ServeNginx(t, "location / { proxy_pass "+s.Plain+"; } "+directives)
			req := sitetest.ChatRequest(t, nginx, sitetest.Hello)
			req.Header.Set("Origin", page)
			return s.Send(sitetest.OneShot, req).Header.Values("Access-Control-Allow-Origin")
		}
		got := values("add_header Access-Control-Allow-Origin * always;")
		row.wantIn(t, fmt.Sprint("Access-Control-Allow-Origin: ", got))
		if len(got) != 2 {
			t.Errorf("there are the values %q", got)
		}
		if got := values(""); len(got) != 1 || got[0] != page {
			t.Errorf("with the remedy, there are the values %q", got)
		}
	},
}

// behindNginxOf returns the reproduction of a row about a setting of nginx, with an upstream that answers with answer. A nil
// answer stands for the sandbox. change makes a chat the request of the row.
func behindNginxOf(answer http.HandlerFunc, change func(*http.Request), wrong, right string) func(*testing.T, *symptom) {
	return func(t *testing.T, row *symptom) {
		a, s := newAround(t, answer), served(t)
		s.Reload(a.in(chatOf("")))
		through := func(directives string) string {
			req := sitetest.ChatRequest(t, sitetest.ServeNginx(t, "location / { proxy_pass "+s.Plain+"; } "+directives), sitetest.Hello)
			change(req)
			return seen(t, s.Send(sitetest.OneShot, req))
		}
		row.wantIn(t, through(wrong))
		wantAnswered(t, through(right))
	}
}
