package doctor

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/doctor/site"
	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// Something that answers in front of the chat is found, named and explained. Then nothing else is checked, and no chat is
// sent.
func TestSomethingInFront(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	chat := sitetest.ChatTo(server, "")
	root := t.TempDir()
	sitetest.WriteFile(t, filepath.Join(root, "index.html"), "<!doctype html><p>Hello")
	for name, tc := range map[string]struct {
		site  string
		level doctor.Level
		words []string
	}{
		"a file server":       {"root " + root + "\ntry_files {path} /index.html\nfile_server\n" + chat, doctor.Wrong, []string{"405", "handle"}},
		"an app's page":       {"handle {\nheader Content-Type text/html\nrespond \"<!doctype html><p>Hello\"\n}\n" + chat, doctor.Wrong, []string{"200 with an HTML page from Caddy", "handle"}},
		"nothing":             {"handle_path /api/* {\n" + chat + "\n}", doctor.Wrong, []string{"200 with an empty body", "--config"}},
		"another path":        {"respond 404\nhandle /other {\n" + chat + "\n}", doctor.Wrong, []string{"404", "slash"}},
		"a login":             {"basic_auth {\nalice $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}\n" + chat, doctor.Warning, []string{"login", "401"}},
		"a redirect":          {"redir https://www.example.com{uri}\n" + chat, doctor.Wrong, []string{"another host"}},
		"a slash":             {"redir /api/chat-proxy /api/chat-proxy/\n" + chat, doctor.Wrong, []string{"slash at the end"}},
		"another host":        {"@other host www.example.com\nhandle @other {\n" + chat + "\n}", doctor.Wrong, []string{"200 with an empty body", "localhost is not 127.0.0.1"}},
		"a proxy without app": {"reverse_proxy 127.0.0.1:1\n", doctor.Wrong, []string{"502", "log of Caddy"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.Serve(t, tc.site)
			found := check(t, s.Secure+sitetest.ChatPath, site.Options{})
			found.want(t, "handler", tc.level, tc.words...)
			found.wantNothingElse(t, "handler")
			if len(server.Requests()) > 0 {
				t.Error("a chat was sent")
			}
		})
	}
}

// A page that the site redirects from plain HTTP to https loses time, or its chats.
func TestPlainHTTPIsRedirected(t *testing.T) {
	url := redirecting(t, http.StatusMovedPermanently, "https://127.0.0.1/api/chat-proxy")
	check(t, url, site.Options{}).want(t, "handler", doctor.Wrong, "redirected to https (301)", "check that URL")
}

func redirecting(t *testing.T, status int, to string) string {
	server := httptest.NewServer(http.RedirectHandler(to, status))
	t.Cleanup(server.Close)
	return server.URL + sitetest.ChatPath
}

// A site that cannot be reached is one finding, whose cause says why.
func TestUnreachable(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	closed := localhost.Port(t)
	for url, words := range map[string][]string{
		"https://no-such-host.invalid/chat":         {"no such host", "does not resolve"},
		fmt.Sprintf("http://127.0.0.1:%d/", closed): {"connection refused", "whether Caddy runs"},
		"https" + plain.URL[len("http"):]:           {"does not speak TLS", "http://"},
		"http" + secure.URL[len("https"):]:          {"the port speaks TLS", "https://"},
	} {
		found := check(t, url, site.Options{})
		found.want(t, "reachable", doctor.Wrong, words...)
		if len(found) != 2 { // the other one is about the token
			t.Errorf("%s: got\n%s", url, found)
		}
	}
}
