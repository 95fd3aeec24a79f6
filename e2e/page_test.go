package e2e

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// get sends a GET request to a path of the site, or a request of another method before the path. Each header has the form
// "Name: value". The body is as it came.
func get(tb testing.TB, s *sitetest.Site, path string, header ...string) (resp *http.Response, body string) {
	tb.Helper()
	method := http.MethodGet
	if before, after, ok := strings.Cut(path, " "); ok {
		method, path = before, after
	}
	req, err := http.NewRequestWithContext(tb.Context(), method, s.Plain+path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	for _, field := range header {
		name, value, _ := strings.Cut(field, ": ")
		req.Header.Set(name, value)
	}
	resp = s.Send(sitetest.OneShot, req)
	return resp, sitetest.ReadAll(tb, resp)
}

// chatPage is what a page consists of.
type chatPage struct {
	html    string
	header  http.Header
	element map[string]string // the attributes of <illumichat-chat>
	lang    map[string]string // the attributes of <html>
	title   string
	files   []string // the paths of the files that it loads, on the site
}

// openPage gets the page at a path of the site.
func openPage(tb testing.TB, s *sitetest.Site, at string) *chatPage {
	tb.Helper()
	resp, body := get(tb, s, at)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		tb.Fatalf("%s: got %s, %v, %.100q", at, resp.Status, resp.Header, body)
	}
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	p := &chatPage{html: body, header: resp.Header}
	for node := range root.Descendants() {
		attributes := make(map[string]string)
		for _, attribute := range node.Attr {
			attributes[attribute.Key] = attribute.Val
		}
		switch node.Data {
		case "html":
			p.lang = attributes
		case "title":
			p.title = node.FirstChild.Data
		case "illumichat-chat":
			p.element = attributes
		case "script", "style":
			if node.FirstChild != nil {
				tb.Errorf("the page has a %s in it: %s", node.Data, node.FirstChild.Data)
			}
		}
		for _, name := range []string{"src", "href"} {
			if url := attributes[name]; url != "" {
				if strings.HasPrefix(url, "/") || strings.Contains(url, ":") {
					tb.Errorf("the URL %s is not relative", url)
				}
				p.files = append(p.files, path.Join(at, url))
			}
		}
	}
	return p
}

// wantPage checks that there is a page at a path, with all of its files, and returns it.
func wantPage(tb testing.TB, s *sitetest.Site, at string) *chatPage {
	tb.Helper()
	p := openPage(tb, s, at)
	if len(p.files) < 3 {
		tb.Errorf("the page has the files %q", p.files)
	}
	for _, file := range p.files {
		resp, _ := get(tb, s, file)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
			tb.Errorf("%s: got %s, %v", file, resp.Status, resp.Header)
		}
	}
	return p
}

// reexported matches a module that stands for another.
var reexported = regexp.MustCompile(`^export \* from '\./(assets/[0-9a-f]{16}/[a-z-]+\.js)';\n$`)

// wantModule checks that a module is at a path, and returns the path of the one that it stands for.
func wantModule(tb testing.TB, s *sitetest.Site, at string) string {
	tb.Helper()
	resp, body := get(tb, s, at)
	match := reexported.FindStringSubmatch(body)
	if resp.StatusCode != http.StatusOK || match == nil || resp.Header.Get("Cache-Control") != "no-cache" {
		tb.Fatalf("%s: got %s, %v, %.100q", at, resp.Status, resp.Header, body)
	}
	return path.Join(path.Dir(at), match[1])
}

// The directive alone makes a page, and each file of the page has the right header.
func TestPage(t *testing.T) {
	s := sitetest.Serve(t, "illumichat_page /chat*")
	p := wantPage(t, s, "/chat/")
	want := map[string]string{"mode": "page", "url": "/api/chat-proxy"}
	if fmt.Sprint(p.element) != fmt.Sprint(want) || p.title != "Chat" || p.lang["lang"] != "en" {
		t.Errorf("got the element %v, the title %q, and %v", p.element, p.title, p.lang)
	}
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " +
			"form-action 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'; trusted-types 'none'",
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-cache",
		"Access-Control-Allow-Origin": "", "Last-Modified": "",
	} {
		if got := p.header.Get(name); got != want {
			t.Errorf("the page has %s: %q, want %q", name, got, want)
		}
	}
	types := map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
	for _, file := range append(p.files, "/chat/illumichat.js", "/chat/ai-sdk.js") {
		resp, _ := get(t, s, file)
		if got := resp.Header.Get("Content-Type"); got != types[path.Ext(file)] || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got %v", file, resp.Header)
		}
		// The modules are for pages of other origins as well.
		if got := resp.Header.Get("Access-Control-Allow-Origin"); (got == "*") != (path.Ext(file) == ".js") {
			t.Errorf("%s: got Access-Control-Allow-Origin %q", file, got)
		}
	}
	// A page of the site's own imports the client, whole.
	core := wantModule(t, s, "/chat/illumichat.js")
	for _, module := range []string{core, path.Dir(core) + "/lib/turn.js", wantModule(t, s, "/chat/ai-sdk.js"), path.Dir(core) + "/ai-sdk/chunks.js"} {
		resp, got := get(t, s, module)
		_, name, _ := strings.Cut(strings.TrimPrefix(module, "/chat/assets/"), "/")
		if resp.StatusCode != http.StatusOK || got != sitetest.ReadExample(t, "../client/"+name) {
			t.Errorf("%s: got %s, %.100q", module, resp.Status, got)
		}
	}
}

// What is not the page's goes to the next handler, and what only another version of the page has is not found.
func TestPageLeavesTheRestOfTheSite(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s", r.Method, r.URL)
	}))
	t.Cleanup(backend.Close)
	s := sitetest.Serve(t, "reverse_proxy "+backend.URL+"\nillumichat_page /chat*")
	wantPage(t, s, "/chat/")
	for _, request := range []string{"GET /", "GET /chatty", "GET /chat.html", "GET /chat/nothing", "GET /chat/lib/turn.js", "GET /chat/index.html", "POST /chat/else", "GET /chat//"} {
		if resp, body := get(t, s, request); resp.StatusCode != http.StatusTeapot || body != request {
			t.Errorf("%s: got %s, %q", request, resp.Status, body)
		}
	}
	for _, request := range []string{"POST /chat", "POST /chat/", "DELETE /chat/illumichat.js", "OPTIONS /chat/"} {
		resp, _ := get(t, s, request)
		if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" || resp.Header.Get("Cache-Control") != "" {
			t.Errorf("%s: got %s, %v", request, resp.Status, resp.Header)
		}
	}
	core := wantModule(t, s, "/chat/illumichat.js")
	other := regexp.MustCompile(`[0-9a-f]{16}`).ReplaceAllString(core, "0123456789abcdef")
	if resp, _ := get(t, s, other); resp.StatusCode != http.StatusNotFound || resp.Header.Get("Cache-Control") != "" {
		t.Errorf("%s: got %s, %v", other, resp.Status, resp.Header)
	}
}

// Without a next handler, Caddy would answer what is not the page's with an empty 200.
func TestPageAloneKnowsWhatThereIsNot(t *testing.T) {
	s := sitetest.Serve(t, "illumichat_page /\nhandle_errors {\nrespond {err.status_code}\n}")
	wantPage(t, s, "/")
	for _, path := range []string{"/else", "/robots.txt", "/chat/", "/assets/0123456789abcdef/element.js"} {
		if resp, body := get(t, s, path); resp.StatusCode != http.StatusNotFound || body != "404" {
			t.Errorf("%s: got %s, %q", path, resp.Status, body)
		}
	}
	s.Reload("illumichat_page /\nrespond /empty 200")
	if resp, _ := get(t, s, "/empty"); resp.StatusCode != http.StatusOK {
		t.Errorf("got %s of a handler whose answer is empty", resp.Status)
	}
}

// The page's path without its slash is redirected, wherever the page is.
func TestPageIsRedirected(t *testing.T) {
	s := sitetest.Serve(t, `
		illumichat_page /chat
		handle_path /stripped* {
			illumichat_page
		}
		handle /handled* {
			illumichat_page
		}
		handle_path /app/* {
			illumichat_page /deep/chat*
		}
		illumichat_page /index.html
		@named path /one* /two*
		illumichat_page @named
		route /routed* {
			illumichat_page
			respond elsewhere 404
		}`)
	for _, at := range []string{"/chat", "/stripped", "/handled", "/handled/any", "/app/deep/chat", "/one", "/two", "/routed", "/index.html", "/handled/any%2F"} {
		for query, suffix := range map[string]string{"": "", "?a=1&b=%2f": "?a=1&b=%2f"} {
			for _, method := range []string{"GET ", "HEAD "} {
				resp, _ := get(t, s, method+at+query)
				to, err := resp.Location()
				if resp.StatusCode != http.StatusPermanentRedirect || err != nil || to.String() != s.Plain+at+"/"+suffix {
					t.Errorf("%s%s: got %s to %v, %v", method, at+query, resp.Status, to, err)
				}
				// A proxy in front may have stripped a prefix.
				if location := resp.Header.Get("Location"); !strings.HasPrefix(location, "./") {
					t.Errorf("%s: the location %q is not relative", at, location)
				}
			}
		}
		wantPage(t, s, at+"/")
		wantModule(t, s, at+"/illumichat.js")
	}
}

// Browsers keep what they have while it is current, also when the site compresses it, and also after a restart.
func TestPageIsCached(t *testing.T) {
	for name, directives := range map[string]string{"plain": "illumichat_page /chat*", "compressed": "encode gzip\nillumichat_page /chat*"} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.Serve(t, directives)
			module := wantModule(t, s, "/chat/illumichat.js")
			etags := make(map[string]string)
			for _, file := range []string{"/chat/", "/chat/illumichat.js", module} {
				resp, body := get(t, s, file, "Accept-Encoding: gzip")
				etag := resp.Header.Get("Etag")
				etags[file] = etag
				if !regexp.MustCompile(`^"[0-9a-f]{16}(-gzip)?"$`).MatchString(etag) {
					t.Errorf("%s: got the ETag %s", file, etag)
				}
				if compressed := resp.Header.Get("Content-Encoding") == "gzip"; compressed != (name == "compressed" && len(body) < 1<<20 && file != "/chat/illumichat.js") {
					t.Errorf("%s: got Content-Encoding %q", file, resp.Header.Get("Content-Encoding"))
				} else if compressed {
					if resp.Header.Get("Vary") != "Accept-Encoding" {
						t.Errorf("%s: got Vary: %q", file, resp.Header.Values("Vary"))
					}
					reader, err := gzip.NewReader(strings.NewReader(body))
					if err != nil {
						t.Fatal(err)
					}
					plain, err := io.ReadAll(reader)
					if _, want := get(t, s, file); err != nil || string(plain) != want {
						t.Errorf("%s: got %.100q, %v", file, plain, err)
					}
				}
			}
			s.Reload(directives + "\nheader X-Changed yes")
			for file, etag := range etags {
				resp, body := get(t, s, file, "Accept-Encoding: gzip", "If-None-Match: "+etag)
				if resp.StatusCode != http.StatusNotModified || body != "" {
					t.Errorf("%s: got %s, %.100q", file, resp.Status, body)
				}
				if resp, _ := get(t, s, file, `If-None-Match: "0123456789abcdef"`); resp.StatusCode != http.StatusOK {
					t.Errorf("%s: with another ETag, got %s", file, resp.Status)
				}
			}
			_, whole := get(t, s, module)
			if resp, body := get(t, s, module, "Range: bytes=5-9"); resp.StatusCode != http.StatusPartialContent || body != whole[5:10] {
				t.Errorf("got %s, %q of a range, want %q", resp.Status, body, whole[5:10])
			}
			if resp, body := get(t, s, "HEAD "+module); resp.StatusCode != http.StatusOK || body != "" || resp.ContentLength != int64(len(whole)) {
				t.Errorf("HEAD gets %s, %d bytes, want %d", resp.Status, resp.ContentLength, len(whole))
			}
		})
	}
}

// A browser keeps the policy of a page that has not changed. So a page with another policy is another page.
func TestPagePolicyIsPartOfItsETag(t *testing.T) {
	s := sitetest.Serve(t, "illumichat_page /chat")
	with := openPage(t, s, "/chat/")
	s.Reload("illumichat_page /chat {\ncsp off\n}")
	without := openPage(t, s, "/chat/")
	if got := without.header.Values("Content-Security-Policy"); got != nil {
		t.Errorf("with csp off, the policy is %q", got)
	}
	if with.html != without.html || with.header.Get("Etag") == without.header.Get("Etag") {
		t.Errorf("the ETags are %s and %s", with.header.Get("Etag"), without.header.Get("Etag"))
	}
}

// A policy of the whole site stays, and browsers enforce both. A deferred one has the last word.
func TestPageNextToASitesHeader(t *testing.T) {
	s := sitetest.Serve(t, `
		header Content-Security-Policy "default-src 'self'"
		header Referrer-Policy no-referrer
		illumichat_page /chat
		handle_path /deferred* {
			header >Content-Security-Policy "default-src 'none'"
			illumichat_page
		}`)
	p := openPage(t, s, "/chat/")
	if got := p.header.Values("Content-Security-Policy"); len(got) != 2 || got[0] != "default-src 'self'" || !strings.Contains(got[1], "trusted-types") {
		t.Errorf("got the policies %q", got)
	}
	if got := p.header.Values("Referrer-Policy"); !slices.Equal(got, []string{"no-referrer"}) {
		t.Errorf("got Referrer-Policy %q", got)
	}
	if got := openPage(t, s, "/deferred/").header.Values("Content-Security-Policy"); !slices.Equal(got, []string{"default-src 'none'"}) {
		t.Errorf("with a deferred header, the policies are %q", got)
	}
}

// Two pages of one site have their own options. What an operator writes is text, whatever is in it.
func TestPagesHaveTheirOptions(t *testing.T) {
	const hostile = `</title><script>alert("1")</script> & 'x' $y {{ z }}`
	s := sitetest.Serve(t, `
		illumichat_page /sales* {
			assistant sales
			title `+"`"+hostile+"`"+`
			greeting `+"`"+hostile+"`"+`
			suggestions `+"`"+hostile+"`"+` "Two words"
			suggestions Three
			lang pt-br
		}
		illumichat_page /chat/ar* {
			chat https://Chat.Example.com:443/api/chat
			lang ar
			theme page/testdata/theme.css
		}
		illumichat_page /ja {
			chat https://chat.example.com:8443/api/chat?x=1
			lang ja
		}`)
	sales := wantPage(t, s, "/sales/")
	if sales.title != hostile || sales.lang["lang"] != "pt-BR" || sales.lang["dir"] != "" {
		t.Errorf("got the title %q, and %v", sales.title, sales.lang)
	}
	for name, want := range map[string]string{
		"url": "/api/chat-proxy", "assistant": "sales", "heading": hostile, "greeting": hostile, "suggestions": hostile + "\nTwo words\nThree",
	} {
		if got := sales.element[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if strings.Contains(sales.html, "<script>") {
		t.Errorf("the title is a script:\n%s", sales.html)
	}

	arabic := wantPage(t, s, "/chat/ar/")
	if arabic.lang["lang"] != "ar" || arabic.lang["dir"] != "rtl" || arabic.title != "محادثة" || !strings.Contains(arabic.html, "تحتاج") {
		t.Errorf("got %v, %q", arabic.lang, arabic.title)
	}
	if got := arabic.element["url"]; got != "https://Chat.Example.com:443/api/chat" {
		t.Errorf("the chat is %q", got)
	}
	if policy := arabic.header.Get("Content-Security-Policy"); !strings.Contains(policy, "; font-src 'self'; connect-src https://chat.example.com; ") {
		t.Errorf("the policy is %s", policy)
	}
	theme := slices.IndexFunc(arabic.files, func(file string) bool { return strings.HasSuffix(file, "/theme.css") })
	if theme < 0 {
		t.Fatalf("the page has no theme, but %q", arabic.files)
	}
	if _, body := get(t, s, arabic.files[theme]); body != ":root {\n\t--illumichat-accent: #a11;\n}\n" {
		t.Errorf("the theme is %q", body)
	}

	japanese := wantPage(t, s, "/ja/")
	if policy := japanese.header.Get("Content-Security-Policy"); japanese.title != "チャット" || !strings.Contains(policy, "; connect-src https://chat.example.com:8443; ") {
		t.Errorf("got the title %q, and the policy %s", japanese.title, policy)
	}
}

// A login in front of the page keeps all of it.
func TestPageBehindALogin(t *testing.T) {
	s := sitetest.Serve(t, "basic_auth /chat* {\nvisitor "+sesame+"\n}\nillumichat_page /chat*\nillumichat_page /open*")
	module := strings.Replace(wantModule(t, s, "/open/illumichat.js"), "/open/", "/chat/", 1)
	for _, file := range []string{"/chat", "/chat/", "/chat/illumichat.js", module} {
		if resp, _ := get(t, s, file); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("without a login, %s gets %s", file, resp.Status)
		}
		if resp, _ := get(t, s, file, "Authorization: Basic dmlzaXRvcjpzZXNhbWU="); resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPermanentRedirect {
			t.Errorf("with a login, %s gets %s", file, resp.Status)
		}
	}
}

// The page takes no request of the chat, not even if it has no matcher. On a single-page site both need a handle block.
func TestPageNextToAChat(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	root := pages(t)
	chat := sitetest.ChatTo(server, "resume")
	for name, directives := range map[string]string{
		"no matcher":       "illumichat_page\n" + chat,
		"at the root":      "root " + root + "\nfile_server\nillumichat_page /\n" + chat,
		"before the files": "root " + root + "\nfile_server\nillumichat_page /chat*\n" + chat,
		"single-page site": "root " + root + "\nhandle " + sitetest.ChatPath + " {\n" + strings.Replace(chat, " "+sitetest.ChatPath, "", 1) + "\n}\n" +
			"handle /chat* {\nillumichat_page\n}\nhandle {\ntry_files {path} /index.html\nfile_server\n}",
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.Serve(t, directives)
			at := "/chat/"
			if strings.Contains(directives, "illumichat_page /\n") {
				at = "/"
			}
			wantPage(t, s, at)
			if sitetest.OnlyFinish(t, sitetest.ReadAll(t, s.Ask(sitetest.Hello))).FinishReason != "stop" {
				t.Error("the chat does not answer")
			}
			if resp, _ := get(t, s, sitetest.ChatPath); resp.StatusCode == http.StatusPermanentRedirect || resp.StatusCode == http.StatusOK {
				t.Errorf("a request to resume an answer gets %s", resp.Status)
			}
			if strings.Contains(directives, "file_server") {
				if resp, body := get(t, s, "/app.js"); resp.StatusCode != http.StatusOK || body != "the script" {
					t.Errorf("got %s, %q of the file server", resp.Status, body)
				}
			}
		})
	}
}

// A config whose theme cannot be served does not load, and the error names the file.
func TestThemeIsReadWhenTheConfigLoads(t *testing.T) {
	dir := t.TempDir()
	large, binary := filepath.Join(dir, "large.css"), filepath.Join(dir, "binary.css")
	sitetest.WriteFile(t, large, strings.Repeat("/* */\n", 200_000))
	sitetest.WriteFile(t, binary, "\xff\xfe")
	for file, reason := range map[string]string{
		filepath.Join(dir, "none.css"): "no such file", dir: "not a regular file", large: "more than 1048576 bytes", binary: "not UTF-8",
	} {
		err := sitetest.Validate(t, sitetest.Adapt(t, ":80 {\nillumichat_page {\ntheme "+file+"\n}\n}"))
		if err == nil || !strings.Contains(err.Error(), "theme: ") || !strings.Contains(err.Error(), filepath.Base(file)) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: got the error %v, want %q", file, err, reason)
		}
	}
}

// JSON is checked as the Caddyfile is, with the field's name in the error.
func TestPageJSONIsChecked(t *testing.T) {
	for field, value := range map[string]string{
		"path": `"chat"`, "chat": `"api"`, "assistant": `"a\nb"`, "title": `"{http.request.host}"`, "greeting": `"a\u0000"`,
		"suggestions": `["a", ""]`, "lang": `"english"`, "theme": `"{env.THEME}"`, "csp": `"on"`,
	} {
		config := fmt.Sprintf(`{"apps": {"http": {"servers": {"srv0": {"listen": [":80"], "routes": [{"handle": [{"handler": "illumichat_page", %q: %s}]}]}}}}}`, field, value)
		if err := sitetest.Validate(t, []byte(config)); err == nil || !strings.Contains(err.Error(), field+": ") {
			t.Errorf("%s: %s: got the error %v", field, value, err)
		}
	}
}
