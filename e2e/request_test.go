package e2e

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/chat/chattest"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// A body that breaks a rule is refused with a text that says which one. Any other reaches the upstream as the module
// writes it, with a Content-Length or without.
func TestBodies(t *testing.T) {
	t.Setenv("BODY_TEST_TOKEN", testToken)
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, fmt.Sprintf(bodySites, upstream.URL))

	post := func(t *testing.T, site, body string, frame func(*http.Request)) *http.Response {
		t.Helper()
		if site == "" {
			site = "/one"
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Plain+site, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		frame(req)
		return s.Send(http.DefaultTransport, req)
	}
	for framing, frame := range map[string]func(*http.Request){"length": withLength, "chunked": withoutLength} {
		for _, row := range chattest.Refused {
			t.Run(framing+"/refused/"+row.Name, func(t *testing.T) {
				if row.Status == 0 {
					row.Status = http.StatusBadRequest
				}
				text := sitetest.WantError(t, post(t, row.Site, row.Body, frame), row.Status, cmp.Or(row.Code, chattest.Codes[row.Status]))
				if !strings.Contains(text, row.Want) {
					t.Errorf("got the text %q, want it to tell %q", text, row.Want)
				}
				if asked := upstream.Take(); len(asked) != 0 {
					t.Errorf("the upstream got %s", asked[0].Body)
				}
			})
		}
		for _, row := range chattest.Accepted {
			t.Run(framing+"/accepted/"+row.Name, func(t *testing.T) {
				if row.Want == "" {
					row.Want = chattest.AskedFor(row.Body, "asst_demo")
				}
				resp := post(t, row.Site, row.Body, frame)
				if body := sitetest.ReadAll(t, resp); resp.StatusCode != http.StatusOK {
					t.Fatalf("got status %d: %s", resp.StatusCode, body)
				}
				if asked := upstream.Take(); len(asked) != 1 || asked[0].Body != row.Want {
					t.Errorf("the upstream got %+v, want one request with\n%s", asked, row.Want)
				}
			})
		}
	}
	// With a Content-Length, request_body answers by itself.
	t.Run("larger than request_body lets through", func(t *testing.T) {
		sitetest.WantError(t, post(t, "/limited", chattest.ChatWith(""), withoutLength), http.StatusRequestEntityTooLarge, "too_large:chat")
	})
}

// Method, origin and content type of a request are checked before its body is read. A request that fails does not reach
// the upstream.
func TestFrontDoor(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, ""))
	type fields = map[string]string
	for _, row := range []struct {
		name, method string
		header       fields
		status       int
		code         string
	}{
		{"GET", "GET", nil, 405, "method_not_allowed:chat"},
		{"PUT", "PUT", nil, 405, "method_not_allowed:chat"},
		{"HEAD", "HEAD", nil, 405, "method_not_allowed:chat"},
		{"DELETE", "DELETE", nil, 405, "method_not_allowed:chat"},
		{"a method that nobody knows", "CHAT", nil, 405, "method_not_allowed:chat"},
		{"a GET from another site", "GET", fields{"Sec-Fetch-Site": "cross-site"}, 405, "method_not_allowed:chat"},
		{"OPTIONS", "OPTIONS", nil, 405, "method_not_allowed:chat"},
		{"OPTIONS with an Origin alone", "OPTIONS", fields{"Origin": "https://else.example"}, 405, "method_not_allowed:chat"},
		{"OPTIONS with a method alone", "OPTIONS", fields{"Access-Control-Request-Method": "POST"}, 405, "method_not_allowed:chat"},
		{"a preflight", "OPTIONS", fields{"Origin": "https://else.example", "Access-Control-Request-Method": "POST"}, 204, ""},

		{"no type", "POST", fields{"Content-Type": ""}, 415, "unsupported_media_type:chat"},
		{"plain text", "POST", fields{"Content-Type": "text/plain"}, 415, "unsupported_media_type:chat"},
		{"a form", "POST", fields{"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type:chat"},
		{"jsonx", "POST", fields{"Content-Type": "application/jsonx"}, 415, "unsupported_media_type:chat"},
		{"problem+json", "POST", fields{"Content-Type": "application/problem+json"}, 415, "unsupported_media_type:chat"},
		{"two types", "POST", fields{"Content-Type": "application/json, text/plain"}, 415, "unsupported_media_type:chat"},
		{"a broken parameter", "POST", fields{"Content-Type": "application/json; charset"}, 415, "unsupported_media_type:chat"},
		{"a parameter twice", "POST", fields{"Content-Type": "application/json; a=1; a=2"}, 415, "unsupported_media_type:chat"},
		{"JSON", "POST", fields{"Content-Type": "application/json"}, 200, ""},
		{"JSON in capitals", "POST", fields{"Content-Type": "APPLICATION/JSON"}, 200, ""},
		{"JSON with a charset", "POST", fields{"Content-Type": "application/json; charset=utf-8"}, 200, ""},
		{"JSON with any parameter", "POST", fields{"Content-Type": `application/json;x="y;z"`}, 200, ""},

		{"another site's page", "POST", fields{"Sec-Fetch-Site": "cross-site"}, 403, "forbidden:origin"},
		{"a subdomain's page", "POST", fields{"Sec-Fetch-Site": "same-site"}, 403, "forbidden:origin"},
		{"another origin in an old browser", "POST", fields{"Origin": "https://else.example"}, 403, "forbidden:origin"},
		{"no origin that can be told", "POST", fields{"Origin": "null"}, 403, "forbidden:origin"},
		{"another site's page with our origin", "POST", fields{"Sec-Fetch-Site": "cross-site", "Origin": s.Plain}, 403, "forbidden:origin"},
		{"another site's form", "POST", fields{"Origin": "https://else.example", "Content-Type": "text/plain"}, 403, "forbidden:origin"},
		{"our page", "POST", fields{"Sec-Fetch-Site": "same-origin", "Origin": s.Plain}, 200, ""},
		{"our page in an old browser", "POST", fields{"Origin": s.Plain}, 200, ""},
		{"the visitor's own doing", "POST", fields{"Sec-Fetch-Site": "none"}, 200, ""},
		{"no browser", "POST", nil, 200, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			req := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
			req.Method = row.method
			for name, value := range row.header {
				req.Header.Set(name, value)
			}
			if req.Header.Get("Content-Type") == "" {
				req.Header.Del("Content-Type")
			}
			resp := s.Send(http.DefaultTransport, req)

			switch {
			case row.code == "" || row.method == http.MethodHead: // the answer to a HEAD has no body
				if body := sitetest.ReadAll(t, resp); resp.StatusCode != row.status {
					t.Errorf("got status %d, want %d: %s", resp.StatusCode, row.status, body)
				}
			default:
				sitetest.WantError(t, resp, row.status, row.code)
			}
			if got := resp.Header.Get("Allow"); (row.status == 405) != (got == "POST, OPTIONS") {
				t.Errorf("got Allow: %q with status %d", got, row.status)
			}
			for name := range resp.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("got %s: another origin is let in", name)
				}
			}
			if asked := len(upstream.Take()); (asked == 1) != (row.status == 200) || asked > 1 {
				t.Errorf("the upstream got %d requests", asked)
			}
		})
	}
}

// dial opens a connection to the site and writes the request headers of a chat, for requests that no HTTP client sends.
func dial(tb testing.TB, s *sitetest.Site, head string) net.Conn {
	tb.Helper()
	host := strings.TrimPrefix(s.Plain, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(sitetest.Patience)); err != nil {
		tb.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n%s\r\n\r\n", sitetest.ChatPath, host, head)
	if err != nil {
		tb.Fatal(err)
	}
	return conn
}

func readResponse(tb testing.TB, conn net.Conn) *http.Response {
	tb.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		tb.Fatalf("reading the answer: %v", err)
	}
	tb.Cleanup(func() { resp.Body.Close() })
	return resp
}

// A visitor whose body takes longer than body_timeout gets a 408, and the upstream is not asked.
func TestSlowBody(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "body_timeout 100ms"))

	for proto, transport := range sitetest.Protocols(t) {
		t.Run("stalled over "+proto, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), sitetest.Patience)
			defer cancel()
			resp := s.Send(transport, tornRequest(ctx, t, s.Secure+sitetest.ChatPath))
			sitetest.WantError(t, resp, http.StatusRequestTimeout, "timeout:chat")
		})
	}
	// The timeout is for the whole body, so a byte now and then does not extend it.
	t.Run("trickling", func(t *testing.T) {
		conn := dial(t, s, "Content-Length: 1000000")
		done := make(chan struct{})
		go func() {
			defer close(done)
			for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
				if _, err := io.WriteString(conn, " "); err != nil {
					return
				}
			}
		}()
		sitetest.WantError(t, readResponse(t, conn), http.StatusRequestTimeout, "timeout:chat")
		conn.Close()
		<-done
	})
	if asked := upstream.Take(); len(asked) != 0 {
		t.Errorf("the upstream got %d requests", len(asked))
	}
	for _, line := range logLines(t, s.Log()) {
		if line.Logger == "http.handlers.illumichat" && strings.Contains(line.Cause, "127.0.0.1") {
			t.Errorf("the log has the visitor's address: %s", line.raw)
		}
	}
}

// tornRequest returns a chat whose last byte never comes. Its body ends with an error when ctx ends.
func tornRequest(ctx context.Context, tb testing.TB, url string) *http.Request {
	tb.Helper()
	rest, visitor := io.Pipe()
	context.AfterFunc(ctx, func() { visitor.CloseWithError(ctx.Err()) }) // the HTTP/3 client waits for its body
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, io.MultiReader(strings.NewReader(sitetest.Hello), rest))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.ContentLength = int64(len(sitetest.Hello)) + 1
	return req
}

// Malformed chunks are answered 400. A visitor who leaves within the body has the status 499 in the access log, and is
// no error.
func TestBrokenBody(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	// Caddy logs the rewrite, which shows that a request has come.
	s := sitetest.Serve(t, "log\n rewrite /rewritten "+sitetest.ChatPath+"\n"+sitetest.ChatToURL(upstream.URL, ""))

	// Each request leaves a line in the access log.
	accessLog := func() []string {
		return slices.DeleteFunc(strings.Split(s.Log(), "\n"), func(line string) bool {
			return !strings.Contains(line, `"handled request"`)
		})
	}

	for name, row := range map[string]struct{ head, body string }{
		"a chunk's size that is none":  {"Transfer-Encoding: chunked", "zz\r\n" + sitetest.Hello + "\r\n0\r\n\r\n"},
		"a chunk longer than its size": {"Transfer-Encoding: chunked", "2\r\n" + sitetest.Hello + "\r\n0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(accessLog())
			conn := dial(t, s, row.head)
			if _, err := io.WriteString(conn, row.body); err != nil {
				t.Fatal(err)
			}
			sitetest.WantError(t, readResponse(t, conn), http.StatusBadRequest, "bad_request:chat")
			sitetest.Eventually(t, "the request is in the access log", func() bool { return len(accessLog()) > before })
		})
	}

	wantGone := func(t *testing.T, before int) {
		t.Helper()
		sitetest.Eventually(t, "the request is in the access log", func() bool { return len(accessLog()) > before })
		if line := accessLog()[before]; !strings.Contains(line, `"status":499`) {
			t.Errorf("the access log does not tell of a visitor who is gone: %s", line)
		}
	}
	for name, row := range map[string]struct{ head, body string }{
		"a body shorter than its length":        {fmt.Sprintf("Content-Length: %d", len(sitetest.Hello)+1), sitetest.Hello},
		"chunks without an end":                 {"Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n", len(sitetest.Hello), sitetest.Hello)},
		"a chunk that is shorter than its size": {"Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s", len(sitetest.Hello)+1, sitetest.Hello)},
		"a length and nothing else":             {"Content-Length: 10", ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(accessLog())
			conn := dial(t, s, row.head)
			if _, err := io.WriteString(conn, row.body); err != nil {
				t.Fatal(err)
			}
			conn.Close()
			wantGone(t, before)
		})
	}
	for proto, transport := range sitetest.Protocols(t) {
		t.Run("cancelled over "+proto, func(t *testing.T) {
			before := len(accessLog())
			came := strings.Count(s.Log(), `"rewrote request"`)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req := tornRequest(ctx, t, s.Secure+"/rewritten")
			failed := make(chan error)
			go func() {
				resp, err := transport.RoundTrip(req)
				if err == nil && resp.StatusCode == 499 {
					err = errors.New("the visitor is gone") // the 499 that is written for the log may arrive
				}
				failed <- err
			}()
			sitetest.Eventually(t, "the request has come", func() bool {
				return strings.Count(s.Log(), `"rewrote request"`) > came
			})
			cancel()
			if err := <-failed; err == nil {
				t.Error("the request was answered")
			}
			wantGone(t, before)
		})
	}
	if asked := upstream.Take(); len(asked) != 0 {
		t.Errorf("the upstream got %d requests", len(asked))
	}
	if strings.Contains(s.Log(), `"level":"error"`) {
		t.Error("a visitor who is gone counts as an error")
	}
}

// bodySites are the sites that the bodies are sent to.
const bodySites = `
	illumichat /one {
		token {env.BODY_TEST_TOKEN}
		endpoint %[1]s
		assistants asst_demo
		max_messages 3
		pass_fields model grüße
	}
	illumichat /several {
		token {env.BODY_TEST_TOKEN}
		endpoint %[1]s
		assistants asst_demo asst_two
		alias helper asst_hidden
		roles user system
	}
	illumichat /alias {
		token {env.BODY_TEST_TOKEN}
		endpoint %[1]s
		alias helper asst_hidden
	}
	illumichat /any {
		token {env.BODY_TEST_TOKEN}
		endpoint %[1]s
		assistants *
	}
	illumichat /small {
		token {env.BODY_TEST_TOKEN}
		endpoint %[1]s
		assistants asst_demo
		max_body_size 1KiB
	}
	request_body /limited {
		max_size 20
	}
	illumichat /limited {
		token {env.BODY_TEST_TOKEN}
		endpoint %[1]s
		assistants asst_demo
	}`

// withoutLength sends a request's body chunked, as a page does that streams the body.
func withoutLength(req *http.Request) { req.ContentLength = -1 }

func withLength(*http.Request) {}
