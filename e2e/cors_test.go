package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// preflight returns the preflight of a chat from a page of origin.
func preflight(t *testing.T, s *sitetest.Site, origin string) *http.Request {
	t.Helper()
	req := sitetest.ChatRequest(t, s.Plain, "")
	req.Method = http.MethodOptions
	req.Body, req.ContentLength = nil, 0
	req.Header = http.Header{
		"Origin": {origin}, "Sec-Fetch-Site": {"cross-site"},
		"Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"content-type"},
	}
	return req
}

// fromPage returns a chat from a page of origin, which is another site's.
func fromPage(t *testing.T, s *sitetest.Site, origin, chat string) *http.Request {
	t.Helper()
	req := sitetest.ChatRequest(t, s.Plain, chat)
	req.Header.Set("Origin", origin)
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	return req
}

// times returns how often a field name is a member of Vary.
func times(header http.Header, name string) (n int) {
	for _, list := range header.Values("Vary") {
		for member := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(member), name) {
				n++
			}
		}
	}
	return n
}

// A site may set CORS fields for all of its pages. The chat's own replace them, so that each field has one value, in
// answers, errors and preflights. The site's other fields and its Vary stay.
func TestCORSFieldsOfTheSite(t *testing.T) {
	const allowed, other = "https://shop.example.com", "https://else.example"
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(map[string]http.HandlerFunc{
		"chat":   sitetest.Answering(200, sitetest.Finish, "Content-Type", "text/event-stream", "Vary", "origin, Accept"),
		"broken": sitetest.Answering(500, "broken"),
	}))
	chat := sitetest.ChatToURL(upstream.URL, "allow_origins "+allowed+"\n"+sitetest.Once)
	for name, directives := range map[string]string{
		"one field": "header Access-Control-Allow-Origin *",
		"one field, added": `header {
			+Access-Control-Allow-Origin *
			+Vary Origin
		}`,
		"all fields": `header {
			Access-Control-Allow-Origin https://www.example.com
			Access-Control-Allow-Credentials true
			Access-Control-Allow-Methods GET
			Access-Control-Allow-Headers X-Site
			Access-Control-Expose-Headers X-Site
			Access-Control-Max-Age 1
			Access-Control-Allow-Private-Network true
			Vary "Accept-Encoding, Origin"
			X-Site yes
		}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.Serve(t, directives+"\n"+chat)
			read := map[string]string{"Allow-Origin": allowed, "Expose-Headers": "*"}
			asked := map[string]string{"Allow-Origin": allowed, "Allow-Methods": "POST", "Allow-Headers": "content-type", "Max-Age": "7200"}
			for what, row := range map[string]struct {
				req    *http.Request
				status int
				want   map[string]string
			}{
				"a chat":                      {fromPage(t, s, allowed, sitetest.Saying("chat")), 200, read},
				"a bad chat":                  {fromPage(t, s, allowed, "{}"), 400, read},
				"a broken upstream":           {fromPage(t, s, allowed, sitetest.Saying("broken")), 500, read},
				"a preflight":                 {preflight(t, s, allowed), 204, asked},
				"a chat of another page":      {fromPage(t, s, other, sitetest.Saying("chat")), 403, nil},
				"a preflight of another page": {preflight(t, s, other), 204, nil},
			} {
				resp := s.Send(http.DefaultTransport, row.req)
				body := sitetest.ReadAll(t, resp)
				if resp.StatusCode != row.status {
					t.Errorf("%s: got status %d: %s", what, resp.StatusCode, body)
				}
				if got := accessControl(resp.Header); fmt.Sprint(got) != fmt.Sprint(row.want) {
					t.Errorf("%s: got %v, want %v", what, got, row.want)
				}
				if n := times(resp.Header, "Origin"); n != 1 {
					t.Errorf("%s: got Vary: %q", what, resp.Header["Vary"])
				}
				if row.status == 200 && times(resp.Header, "Accept") != 1 {
					t.Errorf("%s: got Vary: %q, without the upstream's", what, resp.Header["Vary"])
				}
				if name == "all fields" && (resp.Header.Get("X-Site") != "yes" || times(resp.Header, "Accept-Encoding") != 1) {
					t.Errorf("%s: got X-Site: %q and Vary: %q", what, resp.Header["X-Site"], resp.Header["Vary"])
				}
			}
			wantTold(t, s, "warn", "browsers do not let pages", 0)
		})
	}
}

// Without allow_origins, the site's CORS fields are its own matter.
func TestCORSFieldsOfTheSiteStay(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, "header Access-Control-Allow-Origin *\n"+sitetest.ChatToURL(upstream.URL, ""))
	for _, req := range []*http.Request{fromPage(t, s, "https://else.example", sitetest.Hello), preflight(t, s, "https://else.example")} {
		resp := s.Send(http.DefaultTransport, req)
		sitetest.ReadAll(t, resp)
		if got := accessControl(resp.Header); fmt.Sprint(got) != "map[Allow-Origin:*]" {
			t.Errorf("%s: got %v", req.Method, got)
		}
	}
	if asked := len(upstream.Take()); asked != 0 {
		t.Errorf("the upstream got %d requests", asked)
	}
}

// A deferred header directive has the last word. If browsers keep the answer from the page then, the log says so once.
func TestCORSFieldsOfADeferredDirective(t *testing.T) {
	const allowed = "https://shop.example.com"
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	chat := sitetest.ChatToURL(upstream.URL, "allow_origins "+allowed)
	for _, row := range []struct{ directives, want string }{
		{"header >Access-Control-Allow-Origin *", "*"},
		{"header {\nAccess-Control-Allow-Origin *\n-Server\n}", "*"}, // a deletion defers the whole block
		{"header >Access-Control-Allow-Origin " + allowed, allowed},
		{"header >Access-Control-Allow-Origin https://www.example.com", ""},
		{"header -Access-Control-Allow-Origin", ""},
		{"header {\n+Access-Control-Allow-Origin *\ndefer\n}", ""},
	} {
		t.Run(row.directives, func(t *testing.T) {
			s := sitetest.Serve(t, row.directives+"\n"+chat)
			for _, req := range []*http.Request{preflight(t, s, allowed), fromPage(t, s, allowed, sitetest.Hello), fromPage(t, s, allowed, "{}")} {
				resp := s.Send(http.DefaultTransport, req)
				sitetest.ReadAll(t, resp)
				if got := accessControl(resp.Header)["Allow-Origin"]; row.want != "" && got != row.want {
					t.Errorf("%s: got Access-Control-Allow-Origin: %q", req.Method, got)
				}
			}
			if row.want != "" {
				wantTold(t, s, "warn", "browsers do not let pages", 0)
				return
			}
			sitetest.Eventually(t, "all requests are over", func() bool { return strings.Count(s.Log(), "browsers do not let pages") == 3 })
			for _, line := range wantTold(t, s, "warn", "browsers do not let pages", 1) {
				if !strings.Contains(line.Hint, "Access-Control-Allow-Origin") || !strings.Contains(line.Hint, "defer") {
					t.Errorf("got the hint %q", line.Hint)
				}
			}
		})
	}
}
