package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// sesame is the password "sesame", hashed with bcrypt's lowest cost.
const sesame = "$2a$04$PYypsWhdQIqAKVsXaCB/p.0km1AJ91arpN.78TwS0QCFpsH6InNma"

// authServer is the server that forward_auth asks. It accepts requests that have an X-Pass header.
type authServer struct {
	url string

	mu    sync.Mutex
	asked []http.Header
}

func newAuthServer(tb testing.TB) *authServer {
	tb.Helper()
	a := new(authServer)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.asked = append(a.asked, r.Header.Clone())
		if r.Method != http.MethodGet || r.URL.Path != "/auth" {
			tb.Errorf("the auth server got %s %s", r.Method, r.URL)
		}
		if r.Header.Get("X-Pass") == "" {
			http.Error(w, "no pass", http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-User", "alice")
	}))
	tb.Cleanup(server.Close)
	a.url = server.URL
	return a
}

// requests returns the headers of the requests that came.
func (a *authServer) requests() []http.Header {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

// pages creates the folder of a single-page site and returns its path.
func pages(tb testing.TB) string {
	tb.Helper()
	root := tb.TempDir()
	for name, content := range map[string]string{"index.html": "the one page", "app.js": "the script"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return root
}

// fetch sends a request without a body to a path of the site.
func fetch(tb testing.TB, s *sitetest.Site, method, path string) (status int, body string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, s.Plain+path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		tb.Fatalf("sending the request: %v", err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, sitetest.ReadAll(tb, resp)
}

// The chat works next to each of Caddy's usual directives, and next to all of them at once. None of them holds events
// back or changes what the upstream gets.
func TestNeighbors(t *testing.T) {
	// Caddy's tracing reads this variable once per process.
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	u := sitetest.NewHandUpstream(t)
	auth := newAuthServer(t)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "the backend")
	}))
	t.Cleanup(backend.Close)

	const refused = `{"assistantId":"asst_other","messages":[{"role":"user","content":"Hello"}]}`
	type refusal struct {
		chat    string
		chunked bool // the chat is sent without its length
		status  int
		code    string // the module's; "" if another directive answers
		body    string
	}
	large := sitetest.Saying(strings.Repeat("x", 2000))
	neighbors := []struct {
		name, directives string
		header           map[string]string // that the visitor sends
		without          *refusal          // what a visitor gets without that header
		refused          []refusal         // chats with the header that are refused
		check            func(*testing.T, *sitetest.Site, *sitetest.Conversation)
	}{
		{name: "nobody"},
		{
			name:       "forward_auth",
			directives: "forward_auth " + auth.url + " {\nuri /auth\ncopy_headers X-User\n}",
			header:     map[string]string{"X-Pass": "yes"},
			without:    &refusal{chat: sitetest.Hello, status: http.StatusUnauthorized, body: "no pass\n"},
			check: func(t *testing.T, _ *sitetest.Site, _ *sitetest.Conversation) {
				asked := auth.requests()
				if len(asked) != 1 {
					t.Fatalf("the auth server got %d requests, want 1", len(asked))
				}
				if all := fmt.Sprint(asked); strings.Contains(all, sandbox.Token) || strings.Contains(all, "Idempotency-Key") {
					t.Errorf("the auth server got what is for the chat's upstream: %s", all)
				}
			},
		},
		{
			name:       "basic_auth",
			directives: "basic_auth {\nvisitor " + sesame + "\n}",
			header:     map[string]string{"Authorization": "Basic dmlzaXRvcjpzZXNhbWU="}, // visitor:sesame
			without:    &refusal{chat: sitetest.Hello, status: http.StatusUnauthorized},
		},
		{
			name:       "encode",
			directives: "encode gzip zstd",
			header:     map[string]string{"Accept-Encoding": "gzip, zstd"},
		},
		{
			name:       "log",
			directives: "log",
			header:     map[string]string{"X-Test": "log"},
			check: func(t *testing.T, s *sitetest.Site, _ *sitetest.Conversation) {
				sitetest.Eventually(t, "the access log has the request", func() bool {
					status, ok := loggedStatus(t, s, "log")
					return ok && status == http.StatusOK
				})
			},
		},
		{
			name:       "tracing",
			directives: "tracing {\nspan chat\n}",
			header:     map[string]string{"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		},
		{
			name:       "handle_errors",
			directives: "handle_errors {\nrespond replaced 418\n}",
			refused:    []refusal{{chat: refused, status: http.StatusForbidden, code: "forbidden:assistant"}},
		},
		{
			name: "intercept",
			directives: "intercept {\n@error status 4xx\nhandle_response @error {\n" +
				"respond `" + `{"error": "closed", "code": "{http.illumichat.code}"}` + "` 418\n}\n}",
			refused: []refusal{{chat: refused, status: http.StatusTeapot, body: `{"error": "closed", "code": "forbidden:assistant"}`}},
		},
		{
			name:       "request_body",
			directives: "request_body {\nmax_size 1KB\n}",
			refused: []refusal{
				{chat: large, chunked: true, status: http.StatusRequestEntityTooLarge, code: "too_large:chat"},
				// With a Content-Length that is too large, Caddy itself answers, before the request comes to the chat.
				{chat: large, status: http.StatusRequestEntityTooLarge},
			},
		},
		{
			name:       "header",
			directives: "header {\nX-Extra yes\nCache-Control public\n}",
			check: func(t *testing.T, _ *sitetest.Site, c *sitetest.Conversation) {
				if got := c.Response.Header.Get("X-Extra"); got != "yes" {
					t.Errorf("got the site's own header %q", got)
				}
			},
		},
		{
			name:       "file_server",
			directives: "root " + pages(t) + "\nfile_server",
			check: func(t *testing.T, s *sitetest.Site, _ *sitetest.Conversation) {
				if status, body := fetch(t, s, http.MethodGet, "/app.js"); status != http.StatusOK || body != "the script" {
					t.Errorf("got %d, %q of the file server", status, body)
				}
			},
		},
		{
			name:       "reverse_proxy",
			directives: "reverse_proxy " + backend.URL,
			check: func(t *testing.T, s *sitetest.Site, _ *sitetest.Conversation) {
				if status, body := fetch(t, s, http.MethodPost, "/else"); status != http.StatusOK || body != "the backend" {
					t.Errorf("got %d, %q of the backend", status, body)
				}
			},
		},
	}

	// visit passes a stream event by event, and checks what the visitor and the upstream get.
	visit := func(t *testing.T, s *sitetest.Site, header map[string]string) *sitetest.Conversation {
		t.Helper()
		req := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
		req.Header.Set("Accept-Encoding", "identity")
		for name, value := range header {
			req.Header.Set(name, value)
		}
		c := sitetest.Converse(t, u, http.DefaultTransport, req)
		for range 3 {
			c.Step(t)
		}
		c.Finish(t)
		if got := c.Response.Header.Get("Content-Encoding"); got != "" {
			t.Errorf("the stream is encoded: %s", got)
		}
		// Without this value, encode would hold events back, and so would caches.
		if got := c.Response.Header.Values("Cache-Control"); len(got) != 1 || got[0] != "no-cache, no-transform" {
			t.Errorf("got Cache-Control: %q", got)
		}
		for _, name := range []string{"Traceparent", "Cookie", "X-User", "X-Pass", "X-Forwarded-For"} {
			if got := c.Upstream.Request.Header.Values(name); got != nil {
				t.Errorf("the upstream got %s: %q", name, got)
			}
		}
		if got := c.Upstream.Request.Header.Values("Authorization"); len(got) != 1 || got[0] != "Bearer "+sandbox.Token {
			t.Errorf("the upstream got Authorization: %q", got)
		}
		return c
	}
	// ask sends a chat that is refused and never reaches the upstream.
	ask := func(t *testing.T, s *sitetest.Site, header map[string]string, want refusal) {
		t.Helper()
		req := sitetest.ChatRequest(t, s.Plain, want.chat)
		if want.chunked {
			req.ContentLength = -1
		}
		for name, value := range header {
			req.Header.Set(name, value)
		}
		resp := s.Send(http.DefaultTransport, req)
		if want.code != "" {
			sitetest.WantError(t, resp, want.status, want.code)
			return
		}
		if body := sitetest.ReadAll(t, resp); resp.StatusCode != want.status || body != want.body {
			t.Errorf("got %d, %q, want %d, %q", resp.StatusCode, body, want.status, want.body)
		}
	}

	for _, n := range neighbors {
		t.Run(n.name, func(t *testing.T) {
			s := sitetest.Serve(t, n.directives+"\n"+sitetest.ChatToURL(u.URL, ""))
			c := visit(t, s, n.header)
			if n.check != nil {
				n.check(t, s, c)
			}
			if n.without != nil {
				ask(t, s, nil, *n.without)
			}
			for _, refused := range n.refused {
				ask(t, s, n.header, refused)
			}
		})
	}

	t.Run("all together", func(t *testing.T) {
		var directives strings.Builder
		header := make(map[string]string)
		for _, n := range neighbors {
			directives.WriteString(n.directives + "\n")
			for name, value := range n.header {
				header[name] = value
			}
		}
		s := sitetest.Serve(t, directives.String()+sitetest.ChatToURL(u.URL, ""))
		visit(t, s, header)
		ask(t, s, nil, refusal{chat: sitetest.Hello, status: http.StatusTeapot, body: "replaced"})
		ask(t, s, header, refusal{chat: refused, status: http.StatusTeapot, body: `{"error": "closed", "code": "forbidden:assistant"}`})
	})
}

// On a single-page site the chat needs a handle block of its own: try_files rewrites every path that is no file before
// the chat's matcher sees it.
func TestSinglePageSite(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	root := pages(t)
	for _, tc := range []struct {
		name, directives string
		chats            bool
	}{
		{"naive", `
			root ` + root + `
			try_files {path} /index.html
			` + sitetest.ChatTo(server, "") + `
			file_server`, false},
		{"in handle blocks", `
			root ` + root + `
			handle ` + sitetest.ChatPath + ` {
				` + strings.Replace(sitetest.ChatTo(server, ""), sitetest.ChatPath, "", 1) + `
			}
			handle {
				try_files {path} /index.html
				file_server
			}`, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := sitetest.Serve(t, tc.directives)
			for path, want := range map[string]string{
				"/": "the one page", "/some/view": "the one page", "/app.js": "the script",
			} {
				if status, body := fetch(t, s, http.MethodGet, path); status != http.StatusOK || body != want {
					t.Errorf("%s: got %d, %q, want %q", path, status, body, want)
				}
			}
			resp := s.Ask(sitetest.Hello)
			stream := sitetest.ReadAll(t, resp)
			if !tc.chats {
				if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
					t.Errorf("got %s, %v, want the file server's refusal: if this form works, the README need not warn of it", resp.Status, resp.Header)
				}
				return
			}
			if sitetest.OnlyFinish(t, stream).FinishReason != "stop" {
				t.Errorf("got the stream %s", stream)
			}
		})
	}
}

// Two chats in one site each have their own token, assistants and upstream.
func TestTwoChatsInOneSite(t *testing.T) {
	chats := []struct{ path, token, assistant string }{
		{"/sales", "ic_sandboxsales0000000000000000000000000000", "asst_sales"},
		{"/support", "ic_sandboxsupport00000000000000000000000000", "asst_support"},
	}
	var directives strings.Builder
	var servers []*sandboxtest.Server
	for _, c := range chats {
		server := sandboxtest.NewServer(t, sandbox.Options{Token: c.token, Assistants: []string{c.assistant}})
		servers = append(servers, server)
		fmt.Fprintf(&directives, "illumichat %s {\ntoken %s\nassistants %s\nendpoint %s\n}\n", c.path, c.token, c.assistant, server.URL)
	}
	s := sitetest.Serve(t, directives.String())
	for i, c := range chats {
		for assistant, status := range map[string]int{c.assistant: http.StatusOK, chats[1-i].assistant: http.StatusForbidden} {
			req := sitetest.ChatRequest(t, s.Plain, strings.Replace(sitetest.Hello, "asst_demo", assistant, 1))
			req.URL.Path = c.path
			resp := s.Send(http.DefaultTransport, req)
			body := sitetest.ReadAll(t, resp)
			if resp.StatusCode != status {
				t.Errorf("%s of %s: got %d, want %d: %s", assistant, c.path, resp.StatusCode, status, body)
			}
			if status == http.StatusOK {
				sitetest.OnlyFinish(t, body)
			}
		}
		if n := len(servers[i].Requests()); n != 1 {
			t.Errorf("the upstream of %s got %d requests, want 1", c.path, n)
		}
	}
}
