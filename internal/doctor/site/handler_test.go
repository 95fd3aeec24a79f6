package site

import (
	"net/http"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// A server that answers in place of the chat is named by its headers, and the finding says what to do about it.
func TestExplain(t *testing.T) {
	const page = "<!DOCTYPE html><title>Sorry</title>"
	c := newChecker(mustParse(t, "http://example.com/chat"), Options{}, new(collected))
	for name, tc := range map[string]struct {
		status int
		header []string // names and values in turn
		body   string
		level  doctor.Level
		words  []string
	}{
		"Cloudflare's error page":    {522, []string{"Server", "cloudflare", "CF-Ray", "1-FRA"}, page, doctor.Wrong, []string{"522 with an HTML page from Cloudflare", "error 522"}},
		"Cloudflare's bot check":     {403, []string{"Server", "cloudflare"}, page, doctor.Wrong, []string{"bot check", "Cloudflare"}},
		"CloudFront's error page":    {502, []string{"X-Amz-Cf-Id", "x", "Server", "CloudFront"}, page, doctor.Wrong, []string{"log of CloudFront"}},
		"nginx without Caddy":        {502, []string{"Server", "nginx/1.22.1"}, page, doctor.Wrong, []string{"log of nginx"}},
		"nginx's own errors":         {400, []string{"Server", "nginx/1.22.1"}, page, doctor.Wrong, []string{"400 with an HTML page from nginx arrives instead", "proxy_intercept_errors off", "let it pass requests to Caddy"}},
		"Varnish's own errors":       {400, []string{"X-Varnish", "7"}, page, doctor.Wrong, []string{"Varnish may replace the chat's errors"}},
		"an unknown server":          {500, nil, "oops", doctor.Wrong, []string{"500 with another text from an unknown server"}},
		"a login page":               {302, []string{"Location", "/login"}, "", doctor.Wrong, []string{"another path", "login"}},
		"a login elsewhere":          {302, []string{"Location", "https://login.example.net/"}, "", doctor.Wrong, []string{"another host", "login"}},
		"https":                      {308, []string{"Location", "https://example.com/chat"}, "", doctor.Wrong, []string{"https (308)"}},
		"a slash":                    {301, []string{"Location", "http://example.com/chat/"}, "", doctor.Wrong, []string{"slash"}},
		"a broken redirect":          {302, []string{"Location", "http://[::1"}, "", doctor.Wrong, []string{"redirects"}},
		"a password":                 {401, []string{"WWW-Authenticate", "Basic"}, "", doctor.Warning, []string{"login"}},
		"an app's JSON":              {200, []string{"Content-Type", "application/json"}, `{"ok":true}`, doctor.Wrong, []string{"other JSON", "handle"}},
		"nothing":                    {200, []string{"Server", "Caddy"}, "", doctor.Wrong, []string{"empty body from Caddy", "matcher", "localhost is not 127.0.0.1"}},
		"a file server":              {405, []string{"Server", "Caddy"}, "", doctor.Wrong, []string{"file server"}},
		"a chat with a changed type": {415, nil, `{"error":"send the chat as application/json","code":"unsupported_media_type:chat"}`, doctor.Wrong, []string{"415 unsupported_media_type:chat", "Content-Type"}},
	} {
		header := make(http.Header)
		for i := 0; i < len(tc.header); i += 2 {
			header.Set(tc.header[i], tc.header[i+1])
		}
		f := c.explain(&answer{status: tc.status, header: header, body: tc.body})
		if f.Level != tc.level || f.Why == "" || f.Do == "" {
			t.Errorf("%s: got %+v", name, f)
		}
		for _, word := range tc.words {
			if !strings.Contains(f.Found+"\n"+f.Do, word) {
				t.Errorf("%s: the finding does not say %q: %+v", name, word, f)
			}
		}
	}
}

// A URL without a path is a likely cause, so the finding says so.
func TestURLWithoutPath(t *testing.T) {
	c := newChecker(mustParse(t, "http://example.com"), Options{}, new(collected))
	for _, a := range []*answer{{status: 405}, {status: 404}, {status: 200}, {status: 200, body: "Hello"}} {
		if f := c.explain(a); !strings.Contains(f.Do, "The URL has no path") {
			t.Errorf("%d: got %+v", a.status, f)
		}
	}
	if f := c.explain(&answer{status: 403}); strings.Contains(f.Do, "no path") {
		t.Errorf("a firewall: got %+v", f)
	}
}

func mustParse(t *testing.T, url string) target {
	t.Helper()
	parsed, err := parseTarget(url)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// Nothing of the site is printed that is long, that a terminal would interpret, or that may be a token.
func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"messages is missing":              "messages is missing",
		"two\nlines":                       "…",
		"\x1b[31mred":                      "…",
		"\xff":                             "…",
		strings.Repeat("a ", 200):          "…",
		"ic_" + strings.Repeat("7", 40):    "…",
		"a right-to-left \u202e text":      "…",
		"the token is sandbox123456789abc": "the token …",
	} {
		if got := printable(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
