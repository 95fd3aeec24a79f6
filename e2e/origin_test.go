package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// accessControl returns the CORS fields of an answer, by their names without "Access-Control-".
func accessControl(header http.Header) map[string]string {
	fields := make(map[string]string)
	for name, values := range header {
		if strings.HasPrefix(name, "Access-Control-") {
			fields[strings.TrimPrefix(name, "Access-Control-")] = strings.Join(values, " + ")
		}
	}
	return fields
}

func varies(header http.Header, name string) bool {
	for _, value := range header.Values("Vary") {
		for field := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(field), name) {
				return true
			}
		}
	}
	return false
}

// The preflight of an allowed origin succeeds, but never allows credentials. Preflights of other origins get no CORS
// fields. The upstream sees none of them.
func TestPreflight(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "allow_origins HTTPS://Shop.Example.com:443 http://localhost:3000"))
	const allowed = "https://shop.example.com"
	for _, row := range []struct {
		name, origin, method, headers string
		want                          string // Allow-Origin, Allow-Methods and Allow-Headers
	}{
		{"a chat", allowed, "POST", "content-type", allowed + " POST content-type"},
		{"a chat of another allowed origin", "http://localhost:3000", "POST", "content-type", "http://localhost:3000 POST content-type"},
		{"a chat with further headers", allowed, "POST", "content-type,traceparent,x-own", allowed + " POST content-type,traceparent,x-own"},
		{"a chat without headers", allowed, "POST", "", allowed + " POST "},
		{"a method that will be refused", allowed, "PUT", "", allowed + " PUT "},
		{"a method that nobody knows", allowed, "CHAT", "", "  "},
		{"another origin", "https://else.example", "POST", "content-type", "  "},
		{"a subdomain", "https://www.shop.example.com", "POST", "content-type", "  "},
		{"another port", "https://shop.example.com:8443", "POST", "content-type", "  "},
		{"another scheme", "http://shop.example.com", "POST", "content-type", "  "},
		{"a longer name", "https://shop.example.com.else.example", "POST", "content-type", "  "},
		{"no origin that can be told", "null", "POST", "content-type", "  "},
	} {
		t.Run(row.name, func(t *testing.T) {
			req := sitetest.ChatRequest(t, s.Plain, "")
			req.Method = http.MethodOptions
			req.Body, req.ContentLength = nil, 0
			req.Header = http.Header{"Origin": {row.origin}, "Access-Control-Request-Method": {row.method}}
			if row.headers != "" {
				req.Header.Set("Access-Control-Request-Headers", row.headers)
			}
			resp := s.Send(http.DefaultTransport, req)
			if body := sitetest.ReadAll(t, resp); resp.StatusCode != http.StatusNoContent || body != "" {
				t.Errorf("got status %d: %s", resp.StatusCode, body)
			}
			fields := accessControl(resp.Header)
			got := fmt.Sprintf("%s %s %s", fields["Allow-Origin"], fields["Allow-Methods"], fields["Allow-Headers"])
			if got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
			if _, ok := fields["Allow-Credentials"]; ok {
				t.Error("credentials are allowed")
			}
			if row.want == "  " && len(fields) != 0 {
				t.Errorf("got %v", fields)
			}
			for _, name := range []string{"Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"} {
				if !varies(resp.Header, name) {
					t.Errorf("got Vary: %q, want %s in it", resp.Header.Values("Vary"), name)
				}
			}
		})
	}
	if asked := len(upstream.Take()); asked != 0 {
		t.Errorf("the upstream got %d requests", asked)
	}
}

// A directive that edits one answer's headers does not change the headers of other answers.
func TestHeadersAreNotShared(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	chat := sitetest.ChatToURL(upstream.URL, "allow_origins https://shop.example.com\nlimit 100 1h")
	s := sitetest.Serve(t, "handle /edited/* {\nheader >Vary Origin Edited\nuri strip_prefix /edited\n"+chat+"\n}\nhandle {\n"+chat+"\n}")
	for _, path := range []string{"", "/edited", ""} {
		for _, method := range []string{http.MethodPost, http.MethodOptions} {
			req := sitetest.ChatRequest(t, s.Plain+path, sitetest.Hello)
			req.Method = method
			req.Header.Set("Origin", "https://shop.example.com")
			req.Header.Set("Access-Control-Request-Method", "POST")
			resp := s.Send(http.DefaultTransport, req)
			sitetest.ReadAll(t, resp)
			edited := strings.Contains(resp.Header.Get("Vary"), "Edited")
			if edited != (path != "") {
				t.Errorf("%s %s: got Vary: %q", method, path, resp.Header.Values("Vary"))
			}
		}
	}
}

// A page of an allowed origin can read every answer, errors included. Pages of other origins are refused.
func TestAllowedOrigins(t *testing.T) {
	upstream := sitetest.NewUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/broken") {
			http.Error(w, "broken", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Vary", "Accept-Language")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		_, _ = io.WriteString(w, sitetest.Delta+sitetest.Finish)
	})
	const allowed = "https://shop.example.com"
	options := "allow_origins " + allowed + "\nmax_body_size 1KiB\n" + sitetest.Once
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, options)+"\n"+
		strings.Replace(sitetest.ChatToURL(upstream.URL+"/broken", options), sitetest.ChatPath, sitetest.ChatPath+"/broken", 1)+"\n"+
		strings.Replace(sitetest.ChatToURL(upstream.URL, options+"\nlimit 1 1h nobody"), sitetest.ChatPath, sitetest.ChatPath+"/limited", 1))
	sitetest.ReadAll(t, s.Send(http.DefaultTransport, func() *http.Request { // it uses up the limit
		req := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
		req.URL.Path += "/limited"
		return req
	}()))
	upstream.Take()

	type fields = map[string]string
	for _, row := range []struct {
		name   string
		header fields
		change func(*http.Request)
		status int
		closed bool // the answer has no CORS fields
	}{
		{name: "a chat", status: 200},
		{name: "a chat of an old browser", header: fields{"Sec-Fetch-Site": ""}, status: 200},
		{name: "a chat within the site", header: fields{"Sec-Fetch-Site": "same-site"}, status: 200},
		{name: "no JSON", header: fields{"Content-Type": "text/plain"}, status: 415},
		{name: "another method", change: func(r *http.Request) { r.Method = "GET" }, status: 405},
		{name: "a method that needs a preflight", change: func(r *http.Request) { r.Method = "PUT" }, status: 405},
		{name: "OPTIONS", change: func(r *http.Request) { r.Method = "OPTIONS" }, status: 405},
		{name: "a preflight without an origin", header: fields{"Origin": "", "Access-Control-Request-Method": "POST"},
			change: func(r *http.Request) { r.Method = "OPTIONS" }, status: 405, closed: true},
		{name: "a bad chat", change: func(r *http.Request) { setBody(r, "{}") }, status: 400},
		{name: "a large chat", change: func(r *http.Request) { setBody(r, sitetest.Saying(strings.Repeat("x", 2000))) }, status: 413},
		{name: "another assistant", change: func(r *http.Request) { setBody(r, strings.Replace(sitetest.Hello, "demo", "else", 1)) }, status: 403},
		{name: "a broken upstream", change: func(r *http.Request) { r.URL.Path += "/broken" }, status: 500},
		{name: "a limit", change: func(r *http.Request) { r.URL.Path += "/limited" }, status: 429},

		{name: "another origin", header: fields{"Origin": "https://else.example"}, status: 403, closed: true},
		{name: "another origin in an old browser", header: fields{"Origin": "https://else.example", "Sec-Fetch-Site": ""}, status: 403, closed: true},
		{name: "another origin's form", header: fields{"Origin": "https://else.example", "Content-Type": "application/x-www-form-urlencoded"}, status: 403, closed: true},
		{name: "another origin's text", header: fields{"Origin": "https://else.example", "Content-Type": "text/plain"}, status: 403, closed: true},
		{name: "another scheme", header: fields{"Origin": "http://shop.example.com"}, status: 403, closed: true},
		{name: "no origin that can be told", header: fields{"Origin": "null"}, status: 403, closed: true},
		{name: "no origin", header: fields{"Origin": ""}, status: 403, closed: true},
		{name: "no browser", header: fields{"Origin": "", "Sec-Fetch-Site": ""}, status: 200, closed: true},
		{name: "the site's own page", header: fields{"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}, status: 200, closed: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			req := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
			req.Header.Set("Origin", allowed)
			req.Header.Set("Sec-Fetch-Site", "cross-site")
			for name, value := range row.header {
				req.Header.Set(name, value)
				if value == "" {
					req.Header.Del(name)
				}
			}
			if row.change != nil {
				row.change(req)
			}
			resp := s.Send(http.DefaultTransport, req)
			if body := sitetest.ReadAll(t, resp); resp.StatusCode != row.status {
				t.Errorf("got status %d, want %d: %s", resp.StatusCode, row.status, body)
			}
			want := fields{"Allow-Origin": allowed, "Expose-Headers": "*"}
			if row.closed {
				want = fields{}
			}
			if got := accessControl(resp.Header); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if !varies(resp.Header, "Origin") || row.status == 200 && !varies(resp.Header, "Accept-Language") {
				t.Errorf("got Vary: %q", resp.Header.Values("Vary"))
			}
			asked := len(upstream.Take())
			if reaches := row.status == 200 || row.status == 500; (asked == 1) != reaches || asked > 1 {
				t.Errorf("the upstream got %d requests", asked)
			}
		})
	}
	for proto, transport := range sitetest.Protocols(t) {
		req := sitetest.ChatRequest(t, s.Secure, sitetest.Hello)
		req.Header.Set("Origin", allowed)
		resp := s.Send(transport, req)
		sitetest.ReadAll(t, resp)
		if got := resp.Header.Values("Access-Control-Allow-Origin"); !slices.Equal(got, []string{allowed}) {
			t.Errorf("%s: got Access-Control-Allow-Origin: %q", proto, got)
		}
	}
}

func setBody(req *http.Request, body string) {
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
}

// A proxy in front that rewrites Host makes an old browser's request look like that of another page. The log names both
// hosts and the option. The X-Forwarded-Host of a trusted proxy counts like Host, that of anyone else does not.
func TestRewrittenHost(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	type fields = map[string]string
	rows := []struct {
		name    string
		header  fields
		trusted int // the status if the sender is a trusted proxy
		other   int // the status if it is not
	}{
		{"Host is kept", fields{"Host": "192.168.1.5:5173"}, 200, 200},
		{"Host is rewritten", nil, 403, 403},
		{"the host that the browser asked", fields{"X-Forwarded-Host": "192.168.1.5:5173"}, 200, 403},
		{"through two proxies", fields{"X-Forwarded-Host": "192.168.1.5:5173, 127.0.0.1"}, 200, 403},
		{"another host", fields{"X-Forwarded-Host": "192.168.1.5:5174"}, 403, 403},
		{"in a field that Caddy does not read", fields{"Forwarded": `host="192.168.1.5:5173"`}, 403, 403},
		{"a browser that knows better", fields{"X-Forwarded-Host": "192.168.1.5:5173", "Sec-Fetch-Site": "cross-site"}, 403, 403},
	}
	for _, global := range []string{sitetest.BehindProxy, "grace_period 1ms"} {
		s := sitetest.ServeWith(t, global, sitetest.ChatToURL(upstream.URL, ""))
		for _, row := range rows {
			want := row.other
			if global == sitetest.BehindProxy {
				want = row.trusted
			}
			t.Run(fmt.Sprintf("%s, %d", row.name, want), func(t *testing.T) {
				req := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
				req.Header.Set("Origin", "http://192.168.1.5:5173")
				for name, value := range row.header {
					req.Header.Set(name, value)
				}
				if host := row.header["Host"]; host != "" {
					req.Host = host
				}
				resp := s.Send(http.DefaultTransport, req)
				if body := sitetest.ReadAll(t, resp); resp.StatusCode != want {
					t.Errorf("got status %d, want %d: %s", resp.StatusCode, want, body)
				}
			})
		}
		for _, line := range wantTold(t, s, "warn", "a page of another origin was refused", map[bool]int{true: 2, false: 3}[global == sitetest.BehindProxy]) {
			host := strings.TrimPrefix(s.Plain, "http://")
			if line.Code != "forbidden:origin" || !strings.Contains(line.Hint, "allow_origins") ||
				!strings.Contains(line.Cause, host) || !strings.Contains(line.Cause, "http://192.168.1.5:5173") {
				t.Errorf("the log says %s", line.raw)
			}
		}
	}
}

// A page that is refused is logged once a minute, whatever it sends, and its words are cut.
func TestRefusedPagesDoNotFloodTheLog(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, ""))
	for i := range 20 {
		page := fmt.Sprintf("https://%s-%d.example", strings.Repeat("long", 500), i)
		sitetest.ReadAll(t, s.Send(http.DefaultTransport, preflight(t, s, page)))
		sitetest.ReadAll(t, s.Send(http.DefaultTransport, fromPage(t, s, page, sitetest.Hello)))
	}
	for _, line := range wantTold(t, s, "warn", "a page of another origin was refused", 1) {
		if len(line.Cause) > 500 || !strings.Contains(line.Hint, "allow_origins") {
			t.Errorf("the log says %s", line.raw)
		}
	}
}

// A refused preflight is counted and logged as the chat that the browser does not send after it. The preflight of an
// allowed page leaves no record.
func TestRefusedPreflightIsRecorded(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	for name, options := range map[string]string{"some origins": "allow_origins https://shop.example.com", "no other origin": ""} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.Serve(t, "log\nmetrics /metrics\n"+sitetest.ChatToURL(upstream.URL, options))
			grown := func(req *http.Request) []string {
				before := sitetest.Scrape(t, s)
				resp := s.Send(http.DefaultTransport, req)
				if body := sitetest.ReadAll(t, resp); body != "" || resp.StatusCode != http.StatusNoContent || len(accessControl(resp.Header)) != 0 && req.Header.Get("Origin") != "https://shop.example.com" {
					t.Errorf("got status %d with %v: %s", resp.StatusCode, accessControl(resp.Header), body)
				}
				return changes(before, sitetest.Scrape(t, s))
			}
			want := []string{
				`duration_seconds_count{assistant="",outcome="refused"} 1`,
				`refusals_total{code="forbidden:origin"} 1`,
				`requests_total{assistant="",outcome="refused"} 1`,
			}
			if got := grown(preflight(t, s, "https://else.example")); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			for _, line := range wantTold(t, s, "warn", "a page of another origin was refused", 1) {
				if line.Code != "forbidden:origin" || !strings.Contains(line.Cause, "https://else.example") || !strings.Contains(line.Hint, "allow_origins") {
					t.Errorf("the log says %s", line.raw)
				}
			}
			sitetest.Eventually(t, "the access log has the preflight", func() bool {
				return strings.Contains(s.Log(), `"illumichat":{"outcome":"refused","code":"forbidden:origin"}`)
			})
			if options == "" {
				return
			}
			if got := grown(preflight(t, s, "https://shop.example.com")); len(got) != 0 {
				t.Errorf("an allowed preflight is counted: %q", got)
			}
			sitetest.Eventually(t, "the access log has the allowed preflight", func() bool {
				return strings.Contains(s.Log(), `"Origin":["https://shop.example.com"]`)
			})
			if n := strings.Count(s.Log(), `"illumichat":{`); n != 1 {
				t.Errorf("the access log has %d records", n)
			}
		})
	}
}
