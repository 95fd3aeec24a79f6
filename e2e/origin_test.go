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
