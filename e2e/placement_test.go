package e2e

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/docstest"
	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// placedBlock is what has to work with a block of docs/caddyfile.md. A URL is a host and a path, or only a path of example.com.
type placedBlock struct {
	chats []placedChat
	pages map[string]string // the URL of a chat page → the chat that it asks
	rest  map[string]string // a URL of the rest of the site → what it answers to GET
	posts map[string]string // the same for POST
}

// placedChat is a chat, and what is special about it.
type placedChat struct {
	url       string
	assistant string // that the page names; "" for none
	origin    string // of the page; "" for the site's own
	status    int    // of the response; 0 means 200
	asked     string // the id that the upstream gets; "" for asst_abc123
}

const (
	onePage = "the one page" // of pages
	theApp  = "the app got "
	thePHP  = "PHP got "
)

// placedBlocks are the sections of docs/caddyfile.md that have a block, by their headings.
var placedBlocks = map[string]placedBlock{
	"Caddyfile and JSON": {
		chats: []placedChat{{url: "/api/chat-proxy"}},
		pages: map[string]string{"/chat/": "/api/chat-proxy"},
	},
	"A single-page app": {
		chats: []placedChat{{url: "/api/chat-proxy"}},
		pages: map[string]string{"/chat/": "/api/chat-proxy"},
		rest:  map[string]string{"/": onePage, "/some/view": onePage, "/app.js": "the script", "/api/other": onePage, "/chatter": ""},
	},
	"PHP": {
		chats: []placedChat{{url: "/api/chat-proxy"}},
		pages: map[string]string{"/chat/": "/api/chat-proxy"},
		rest:  map[string]string{"/orders": thePHP + "GET /orders", "/app.js": "the script"},
		posts: map[string]string{"/api/other": thePHP + "POST /api/other"},
	},
	"An app behind reverse_proxy": {
		chats: []placedChat{{url: "/api/chat-proxy"}},
		pages: map[string]string{"/chat/": "/api/chat-proxy"},
		rest:  map[string]string{"/": theApp + "GET /", "/chatter": theApp + "GET /chatter"},
		posts: map[string]string{"/api/other": theApp + "POST /api/other"},
	},
	"An app in a handle block": {
		chats: []placedChat{{url: "/api/chat-proxy"}},
		pages: map[string]string{"/chat/": "/api/chat-proxy"},
		rest:  map[string]string{"/": onePage, "/app.js": "the script", "/api/other": theApp + "GET /api/other"},
		posts: map[string]string{"/api/other": theApp + "POST /api/other"},
	},
	"Inside handle_path": {
		chats: []placedChat{{url: "/api/chat-proxy"}},
		pages: map[string]string{"/chat/": "/api/chat-proxy"},
		rest:  map[string]string{"/": onePage, "/app.js": "the script", "/api/other": theApp + "GET /other"},
		posts: map[string]string{"/api/other": theApp + "POST /other"},
	},
	"Inside route": {
		chats: []placedChat{{url: "/api/chat-proxy"}},
		pages: map[string]string{"/chat/": "/api/chat-proxy"},
		rest:  map[string]string{"/": onePage, "/app.js": "the script"},
	},
	"Wildcard hosts": {
		chats: []placedChat{{url: "shop.example.com/api/chat-proxy"}},
		pages: map[string]string{"shop.example.com/chat/": "/api/chat-proxy"},
		rest:  map[string]string{"shop.example.com/": onePage, "other.example.com/": "no shop"},
		posts: map[string]string{"other.example.com/api/chat-proxy": "no shop"},
	},
	"Snippets with arguments": {
		chats: []placedChat{
			{url: "one.example.com/api/chat-proxy"},
			{url: "two.example.com/api/chat-proxy", asked: "asst_def456"},
			{url: "one.example.com/api/chat-proxy", assistant: "asst_def456", status: http.StatusForbidden},
		},
		pages: map[string]string{"one.example.com/chat/": "/api/chat-proxy", "two.example.com/chat/": "/api/chat-proxy"},
		rest:  map[string]string{"one.example.com/": onePage, "two.example.com/app.js": "the script"},
	},
	"Several sites and assistants": {
		chats: []placedChat{
			{url: "shop.example.com/api/chat-proxy"},
			{url: "shop.example.com/api/chat-proxy", assistant: "guide", status: http.StatusForbidden},
			{url: "staff.example.com/api/chat-proxy", asked: "asst_def456"},
			{url: "staff.example.com/api/chat-proxy", assistant: "sales"},
		},
		pages: map[string]string{
			"shop.example.com/": "/api/chat-proxy", "staff.example.com/sales/": "/api/chat-proxy", "staff.example.com/guide/": "/api/chat-proxy",
		},
	},
	"With and without a trailing slash": {
		chats: []placedChat{{url: "/api/chat-proxy"}, {url: "/api/chat-proxy/"}},
		rest:  map[string]string{"/": onePage, "/app.js": "the script"},
	},
	"A chat on its own host": {
		chats: []placedChat{
			{url: "chat.example.com/api/chat-proxy"},
			{url: "chat.example.com/api/chat-proxy", origin: "https://www.example.com"},
			{url: "chat.example.com/api/chat-proxy", origin: "https://other.example.org", status: http.StatusForbidden},
		},
		pages: map[string]string{"chat.example.com/": "/api/chat-proxy"},
	},
}

// Each placement of docs/caddyfile.md works as it is written: the chat is answered, its page is served, and the rest of the site
// works as it does without them.
func TestPlacements(t *testing.T) {
	blocks := placementBlocks(t)
	for heading := range placedBlocks {
		if blocks[heading] == "" {
			t.Errorf("docs/caddyfile.md has no block under %q", heading)
		}
	}
	for heading, block := range blocks {
		t.Run(heading, func(t *testing.T) {
			p, ok := placedBlocks[heading]
			if !ok {
				t.Fatal("this placement has no test")
			}
			p.check(t, servePlacement(t, block))
		})
	}
}

// What docs/caddyfile.md says about a chat in the wrong place is so.
func TestMisplacements(t *testing.T) {
	const chat = "token {file./etc/caddy/illumichat_token}\nassistants asst_abc123\n}\n"
	for _, tc := range []struct {
		name, directives string
		path             string // of the request
		status           int
		body             string // "" for an empty one
	}{
		{"try_files", "root /srv/www\ntry_files {path} /index.html\nfile_server\nillumichat /api/chat-proxy {\n" + chat, "/api/chat-proxy", 405, ""},
		{"handle", "handle /api/* {\nreverse_proxy localhost:3000\n}\nillumichat /api/chat-proxy {\n" + chat, "/api/chat-proxy", 200, theApp + "POST /api/chat-proxy"},
		{"respond", "respond \"closed\"\nillumichat /api/chat-proxy {\n" + chat, "/api/chat-proxy", 200, "closed"},
		{"handle_path", "handle_path /api/* {\nillumichat /api/chat-proxy {\n" + chat + "}\n", "/api/chat-proxy", 200, ""},
		{
			"handle_path with an app", "handle_path /api/* {\nillumichat /api/chat-proxy {\n" + chat + "reverse_proxy localhost:3000\n}\n",
			"/api/chat-proxy", 200, theApp + "POST /chat-proxy",
		},
		{"route", "route {\nroot /srv/www\nfile_server\nillumichat /api/chat-proxy {\n" + chat + "}\n", "/api/chat-proxy", 404, ""},
		{"another path", "root /srv/www\nfile_server\nillumichat /api/chat-proxy {\n" + chat, "/api/chat-proxy/", 404, ""},
		{"order", "root /srv/www\nfile_server\nillumichat /api/chat-proxy {\n" + chat, "/api/chat-proxy", 404, ""},
		{"nothing else", "illumichat /api/chat-proxy {\n" + chat, "/api/chat-proxy/", 200, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := servePlacement(t, "example.com {\n"+tc.directives+"}\n", map[string]string{"order": "order illumichat last"}[tc.name])
			resp := s.send(t, http.MethodPost, tc.path, sitetest.Hello, "Content-Type", "application/json")
			if body := sitetest.ReadAll(t, resp); resp.StatusCode != tc.status || body != tc.body {
				t.Errorf("got %s, %q, want %d, %q", resp.Status, body, tc.status, tc.body)
			}
			if allow := resp.Header.Get("Allow"); tc.status == http.StatusMethodNotAllowed && allow != "GET, HEAD" {
				t.Errorf("got Allow: %q", allow)
			}
		})
	}
	t.Run("no path", func(t *testing.T) {
		s := servePlacement(t, "example.com {\nroot /srv/www\nfile_server\nillumichat {\n"+chat+"}\n")
		sitetest.WantError(t, s.send(t, http.MethodGet, "/app.js", ""), http.StatusMethodNotAllowed, "method_not_allowed:chat")
	})
}

// placementBlocks returns the Caddyfiles of docs/caddyfile.md before the section "Production", by their headings.
func placementBlocks(tb testing.TB) map[string]string {
	tb.Helper()
	blocks := make(map[string]string)
	for _, block := range docstest.Read(tb, "docs/caddyfile.md").Blocks() {
		switch {
		case block.Heading == "Production":
			return blocks
		case block.Language != "caddyfile":
		case blocks[block.Heading] != "":
			tb.Errorf("%q has several Caddyfiles, and this test knows one", block.Heading)
		default:
			blocks[block.Heading] = block.Text
		}
	}
	tb.Fatal("docs/caddyfile.md has no section Production, which ends the placements")
	return nil
}

// placedSite is a Caddyfile of the documentation that this process's Caddy serves.
type placedSite struct {
	client   *http.Client // connects to the site, whatever the host
	upstream *sandboxtest.Server
}

// The parts of a Caddyfile of the documentation that differ on this machine.
var (
	placedAddress = regexp.MustCompile(`(?m)^([\w*.-]*example\.com) \{$`)
	placedToken   = regexp.MustCompile(`(?m)^\s*token .*$`)
)

// servePlacement serves a Caddyfile of the documentation over plain HTTP until the test ends, with further global options. The
// sandbox is the upstream.
func servePlacement(tb testing.TB, caddyfile string, global ...string) *placedSite {
	tb.Helper()
	s := &placedSite{upstream: sandboxtest.NewServer(tb, sandbox.Options{Assistants: []string{"asst_abc123", "asst_def456"}})}
	address := fmt.Sprintf("127.0.0.1:%d", localhost.Port(tb))
	s.client = &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, address)
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	_, port, _ := net.SplitHostPort(address)
	token := filepath.Join(tb.TempDir(), "token")
	sitetest.WriteFile(tb, token, sandbox.Token)

	caddyfile = placedAddress.ReplaceAllString(caddyfile, "http://$1:"+port+" {")
	caddyfile = placedToken.ReplaceAllString(caddyfile, "$0\nendpoint "+s.upstream.URL)
	caddyfile = strings.NewReplacer(
		"/etc/caddy/illumichat_token", token,
		"/srv/www", pages(tb),
		"localhost:3000", serveApp(tb),
		"localhost:9000", servePHP(tb),
	).Replace(caddyfile)
	if regexp.MustCompile(`(?m)^[\w*.-]*example\.com\b`).MatchString(caddyfile) {
		tb.Fatalf("this test does not know how a site is written:\n%s", caddyfile)
	}
	tb.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			tb.Errorf("stopping Caddy: %v", err)
		}
	})
	sitetest.Load(tb, sitetest.Adapt(tb, fmt.Sprintf(`{
	admin off
	persist_config off
	grace_period 1ms
	default_bind 127.0.0.1
	storage file_system %s
	log {
		output file %s
	}
	%s
}
%s`, tb.TempDir(), filepath.Join(tb.TempDir(), "caddy.log"), strings.Join(global, "\n"), caddyfile)))
	return s
}

// serveApp runs a web app until the test ends, and returns its address. It answers with the requests that it gets.
func serveApp(tb testing.TB) string {
	tb.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, theApp, r.Method, " ", r.URL)
	}))
	tb.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// servePHP runs a FastCGI server until the test ends, and returns its address. It answers with the requests that it gets.
func servePHP(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { listener.Close() })
	go func() {
		_ = fcgi.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // it ends with the listener
			fmt.Fprint(w, thePHP, r.Method, " ", r.URL.RequestURI())
		}))
	}()
	return listener.Addr().String()
}

// send sends a request to a URL of the site. header has names and values by turns.
func (s *placedSite) send(tb testing.TB, method, url, body string, header ...string) *http.Response {
	tb.Helper()
	if strings.HasPrefix(url, "/") {
		url = "example.com" + url
	}
	req, err := http.NewRequestWithContext(tb.Context(), method, "http://"+url, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	for pair := range slices.Chunk(header, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		tb.Fatalf("%s: %v", url, err)
	}
	tb.Cleanup(func() { resp.Body.Close() })
	return resp
}

// check checks all of a placement.
func (p *placedBlock) check(t *testing.T, s *placedSite) {
	t.Helper()
	for _, c := range p.chats {
		c.check(t, s)
	}
	for url, chat := range p.pages {
		checkPlacedPage(t, s, url, chat)
	}
	for method, answers := range map[string]map[string]string{http.MethodGet: p.rest, http.MethodPost: p.posts} {
		for url, want := range answers {
			if got := sitetest.ReadAll(t, s.send(t, method, url, "")); got != want {
				t.Errorf("%s %s: got %.100q, want %q", method, url, got, want)
			}
		}
	}
}

// check sends a chat, and checks who gets it.
func (c *placedChat) check(t *testing.T, s *placedSite) {
	t.Helper()
	before := len(s.upstream.Requests())
	body := `{"messages":[{"role":"user","content":"Hello"}]}`
	if c.assistant != "" {
		body = `{"assistantId":"` + c.assistant + `",` + body[1:]
	}
	header := []string{"Content-Type", "application/json"}
	if c.origin != "" {
		header = append(header, "Origin", c.origin, "Sec-Fetch-Site", "cross-site")
	}
	resp := s.send(t, http.MethodPost, c.url, body, header...)
	text := sitetest.ReadAll(t, resp)
	asked := s.upstream.Requests()[before:]
	if c.status != 0 {
		if resp.StatusCode != c.status || len(asked) > 0 {
			t.Errorf("%s, %+v: got %s, want %d; the upstream got %d requests: %s", c.url, c, resp.Status, c.status, len(asked), text)
		}
		return
	}
	if resp.StatusCode != http.StatusOK || len(asked) != 1 {
		t.Fatalf("%s, %+v: got %s; the upstream got %d requests: %s", c.url, c, resp.Status, len(asked), text)
	}
	if finish := sitetest.OnlyFinish(t, text); finish.FinishReason != "stop" {
		t.Errorf("%s: got the finish %+v", c.url, finish)
	}
	if want := cmp.Or(c.asked, "asst_abc123"); !strings.Contains(string(asked[0].Body), `"`+want+`"`) {
		t.Errorf("%s: the upstream got %s, want a chat with %s", c.url, asked[0].Body, want)
	}
	if want := c.origin; resp.Header.Get("Access-Control-Allow-Origin") != want {
		t.Errorf("%s: got Access-Control-Allow-Origin %q, want %q", c.url, resp.Header.Get("Access-Control-Allow-Origin"), want)
	}
}

// placedFile matches the URLs of a chat page's files.
var placedFile = regexp.MustCompile(`(?:src|href)="(assets/[^"]+)"`)

// checkPlacedPage checks that there is a chat page at a URL, that its files are there, that it asks a chat, and that its URL
// without the slash leads to it.
func checkPlacedPage(t *testing.T, s *placedSite, url, chat string) {
	t.Helper()
	resp := s.send(t, http.MethodGet, url, "")
	html := sitetest.ReadAll(t, resp)
	if resp.StatusCode != http.StatusOK || !strings.Contains(html, "<illumichat-chat") || !strings.Contains(html, `"`+chat+`"`) {
		t.Errorf("%s: got %s and no page that asks %s: %.1000s", url, resp.Status, chat, html)
	}
	files := placedFile.FindAllStringSubmatch(html, -1)
	if len(files) < 3 {
		t.Errorf("%s: the page has %d files", url, len(files))
	}
	for _, file := range files {
		if resp := s.send(t, http.MethodGet, url+file[1], ""); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: got %s", url+file[1], resp.Status)
		}
	}
	folder := strings.TrimSuffix(url, "/")
	name := folder[strings.LastIndexByte(folder, '/')+1:]
	if !strings.Contains(folder, "/") {
		return // the start page of a site
	}
	if resp := s.send(t, http.MethodGet, folder, ""); resp.StatusCode != http.StatusPermanentRedirect || resp.Header.Get("Location") != "./"+name+"/" {
		t.Errorf("%s: got %s to %q", folder, resp.Status, resp.Header.Get("Location"))
	}
}
