package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// ownHandle has the directives of a single-page site whose chat has a handle block of its own.
var ownHandle = "root ROOT\nhandle " + sitetest.ChatPath + " {\n" + chatAt("", "") + "}\nhandle {\ntry_files {path} /index.html\nfile_server\n}"

// errorTroubles reproduce the rows about a page that gets an error.
var errorTroubles = map[string]func(*testing.T, *symptom){
	"single-page": mended(
		visiting{directives: "root ROOT\ntry_files {path} /index.html\nfile_server\n" + chatOf("")},
		visiting{directives: ownHandle}),
	"slash": mended(
		visiting{directives: "root ROOT\nfile_server\n" + chatOf(""), request: sending(sitetest.ChatPath+"/", "application/json", sitetest.Hello)},
		visiting{
			directives: "root ROOT\nfile_server\n@chat path /api/chat-proxy /api/chat-proxy/\n" + chatAt("@chat", ""),
			request:    sending(sitetest.ChatPath+"/", "application/json", sitetest.Hello),
		}),
	"handle-path": mended(
		visiting{directives: "handle_path " + sitetest.ChatPath + " {\n" + chatOf("") + "}"},
		visiting{directives: "handle " + sitetest.ChatPath + " {\n" + chatAt("", "") + "}"}),
	"route": mended(
		visiting{directives: "root ROOT\nroute {\nfile_server\n" + chatOf("") + "}"},
		visiting{directives: "root ROOT\nroute {\n" + chatOf("") + "file_server\n}"}),
	"other-answer": func(t *testing.T, row *symptom) {
		a, s := newAround(t, nil), served(t)
		const others = "handle /api/* {\nreverse_proxy APP\n}\n"
		got := visiting{directives: others + chatOf("")}.see(t, s, a)
		row.wantIn(t, got)
		if !strings.HasSuffix(got, "the application") {
			t.Errorf("another server than the application answers: %s", got)
		}
		wantAnswered(t, visiting{directives: others + "handle " + sitetest.ChatPath + " {\n" + chatAt("", "") + "}"}.see(t, s, a))
	},
	"whole-site": func(t *testing.T, row *symptom) {
		a, s := newAround(t, nil), served(t)
		s.Reload(a.in("root ROOT\nfile_server\n" + chatAt("", "")))
		for _, path := range []string{"/", "/app.js"} {
			_, body := fetch(t, s, http.MethodGet, path)
			row.wantIn(t, body)
		}
		wantAnswered(t, visiting{directives: "root ROOT\nfile_server\n" + chatOf("")}.see(t, s, a))
		if _, body := fetch(t, s, http.MethodGet, "/"); body != "the one page" {
			t.Errorf("with the remedy, the site is %q", body)
		}
	},
	"redirected-post": func(t *testing.T, row *symptom) {
		a, s := newAround(t, nil), served(t)
		post := func(status int) string {
			s.Reload(a.in(fmt.Sprintf("redir /chat %s %d\n%s", sitetest.ChatPath, status, chatOf(""))))
			client := &http.Client{Transport: sitetest.OneShot}
			resp, err := client.Post(s.Plain+"/chat", "application/json", strings.NewReader(sitetest.Hello))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			return seen(t, resp)
		}
		for _, status := range []int{301, 302} {
			row.wantIn(t, post(status)+" POST")
		}
		wantAnswered(t, post(308))
	},
	"content-type": mended(
		visiting{directives: chatOf(""), request: sending(sitetest.ChatPath, "text/plain;charset=UTF-8", sitetest.Hello)}, // fetch without a header
		visiting{directives: chatOf("")}),
	"parts": mended(
		visiting{directives: chatOf(""), request: sending(sitetest.ChatPath, "application/json",
			`{"id":"a","trigger":"submit-message","messages":[{"id":"b","role":"user","parts":[{"type":"text","text":"Hello"}]}]}`)},
		visiting{directives: chatOf(""), request: sending(sitetest.ChatPath, "application/json",
			`{"messages":[{"role":"user","content":"Hello"}]}`)}),
	"which-assistant": mended(
		visiting{directives: chatOf("alias sales asst_def456"), request: withoutAssistant},
		visiting{directives: chatOf("alias sales asst_def456\ndefault_assistant asst_demo"), request: withoutAssistant}),
	"forbidden-assistant": mended(
		visiting{directives: strings.Replace(chatOf(""), "asst_demo", "asst_abc123", 1)},
		visiting{directives: strings.Replace(chatOf(""), "asst_demo", "asst_abc123 asst_demo", 1)}),
	"token-refused": func(t *testing.T, row *symptom) {
		file := filepath.Join(t.TempDir(), "token")
		sitetest.WriteFile(t, file, sitetest.FakeToken("1"))
		a, s := newAround(t, nil), served(t)
		s.Reload(a.in(withToken(file)))
		row.wantIn(t, seen(t, s.Send(sitetest.OneShot, hello(t, s))))
		sitetest.WriteFile(t, file, sandbox.Token)
		wantAnswered(t, seen(t, s.Send(sitetest.OneShot, hello(t, s))))
	},
	"no-token-file": func(t *testing.T, row *symptom) {
		file := filepath.Join(t.TempDir(), "token")
		a, s := newAround(t, nil), served(t)
		s.Reload(a.in(withToken(file)))
		row.wantIn(t, s.Log())
		sitetest.WantError(t, s.Send(sitetest.OneShot, hello(t, s)), http.StatusBadGateway, "unauthorized:upstream")
		sitetest.WriteFile(t, file, sandbox.Token)
		wantAnswered(t, seen(t, s.Send(sitetest.OneShot, hello(t, s))))
	},
	"not-the-api": func(t *testing.T, row *symptom) {
		html := sitetest.NewUpstream(t, sitetest.Answering(200, "<html>Welcome</html>", "Content-Type", "text/html"))
		mended(
			visiting{directives: chatOf("endpoint " + html.URL)},
			visiting{directives: chatOf("")})(t, row)
	},
	"unreachable": func(t *testing.T, row *symptom) {
		mended(
			visiting{directives: chatOf(fmt.Sprintf("endpoint http://127.0.0.1:%d\n%s", localhost.Port(t), sitetest.Once))},
			visiting{directives: chatOf("")})(t, row)
	},
	"unknown-assistant": func(t *testing.T, row *symptom) {
		cause := visiting{directives: strings.Replace(chatOf(""), "asst_demo", "asst_abc123", 1), request: withoutAssistant}
		mended(cause, visiting{directives: chatOf(""), request: withoutAssistant})(t, row)
	},
	"loop": func(t *testing.T, row *symptom) {
		a, s := newAround(t, nil), served(t)
		row.wantIn(t, visiting{directives: chatOf("endpoint " + s.Plain + sitetest.ChatPath)}.see(t, s, a))
		wantAnswered(t, visiting{directives: chatOf("")}.see(t, s, a))
	},
	"blocked": mendedWith(
		func(w http.ResponseWriter, r *http.Request) { // IllumiChat lets this server's requests pass, in the second chat
			answer := sitetest.ByMessage(map[string]http.HandlerFunc{
				"code":  sitetest.Answering(http.StatusForbidden, "<title>Just a moment...</title>", "Content-Type", "text/html"),
				"Hello": sitetest.Finishing,
			})
			answer(w, r)
		},
		visiting{directives: chatOf(""), request: saying("code")},
		visiting{directives: chatOf("")}),
	"too-slow": mendedWith(
		writing(500*time.Millisecond, "", sitetest.Finish),
		visiting{directives: chatOf("response_timeout 100ms")},
		visiting{directives: chatOf("response_timeout 5s")}),
}

// withoutAssistant returns a chat of a page that names no assistant.
func withoutAssistant(t *testing.T, s *sitetest.Site) *http.Request {
	t.Helper()
	return sitetest.ChatRequest(t, s.Plain, `{"messages":[{"role":"user","content":"Hello"}]}`)
}

// withToken returns the directive of a chat whose token is in a file.
func withToken(file string) string {
	return strings.Replace(chatOf(""), "{env.ILLUMICHAT_API_TOKEN}", "{file."+file+"}", 1)
}
