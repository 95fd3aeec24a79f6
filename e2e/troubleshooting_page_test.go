package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/require"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// pageTroubles reproduce the rows about the chat page and the element.
var pageTroubles = map[string]func(*testing.T, *symptom){
	"page-is-the-app": func(t *testing.T, row *symptom) {
		row.wantIn(t, "/chat/ try_files")
		a, s := newAround(t, nil), served(t)
		s.Reload(a.in("root ROOT\ntry_files {path} /index.html\nfile_server\nillumichat_page /chat*"))
		if _, body := fetch(t, s, http.MethodGet, "/chat/"); body != "the one page" {
			t.Errorf("got %q", body)
		}
		s.Reload(a.in("root ROOT\nhandle /chat* {\nillumichat_page /chat*\n}\nhandle {\ntry_files {path} /index.html\nfile_server\n}"))
		wantPage(t, s, "/chat/")
	},
	"no-element": func(t *testing.T, row *symptom) {
		a, s := newAround(t, nil), served(t)
		s.Reload(a.in("root ROOT\nfile_server"))
		status, _ := fetch(t, s, http.MethodGet, "/chat/element.js")
		row.wantIn(t, fmt.Sprint("/chat/element.js: ", status))
		s.Reload(a.in("root ROOT\nfile_server\nillumichat_page /chat*"))
		if status, body := fetch(t, s, http.MethodGet, "/chat/element.js"); status != http.StatusOK || body == "" {
			t.Errorf("with the remedy, the module is %d, %q", status, body)
		}
	},
	"not-set-up": func(t *testing.T, row *symptom) {
		a, s := newAround(t, nil), served(t)
		s.Reload(a.in("root ROOT\nfile_server\n" + chatOf("")))
		row.wantIn(t, shownBy(t, s.Plain+"/api/chat"))
		wantShownAnswer(t, s.Plain+sitetest.ChatPath)
	},
	"signed-out": inThePage("redir "+sitetest.ChatPath+" /login 302\n", ""),
	"something-between": inThePage("header "+sitetest.ChatPath+" Content-Type text/html\nrespond "+sitetest.ChatPath+" <html>\n",
		""),
	"cors": func(t *testing.T, row *symptom) {
		const page = "https://www.example.com"
		a, s := newAround(t, nil), served(t)
		allowed := func(subdirectives string) string {
			s.Reload(a.in(chatOf(subdirectives)))
			return s.Send(sitetest.OneShot, preflight(t, s, page)).Header.Get("Access-Control-Allow-Origin")
		}
		if got := allowed(""); got != "" {
			t.Errorf("the preflight allows %s", got)
		}
		row.wantIn(t, "no Access-Control-Allow-Origin")
		if got := allowed("allow_origins " + page); got != page {
			t.Errorf("with the remedy, the preflight allows %q", got)
		}
	},
	"login-cors": func(t *testing.T, row *symptom) {
		a, s := newAround(t, nil), served(t)
		ask := func(login string) *http.Response {
			s.Reload(a.in(login + chatOf("allow_origins https://www.example.com")))
			return s.Send(sitetest.OneShot, preflight(t, s, "https://www.example.com"))
		}
		row.wantIn(t, ask("basic_auth {\nvisitor "+sesame+"\n}\n").Status+" allow_origins")
		if resp := ask(""); resp.StatusCode != http.StatusNoContent || resp.Header.Get("Access-Control-Allow-Origin") == "" {
			t.Errorf("with the remedy, the preflight gets %s, %v", resp.Status, resp.Header)
		}
	},
	"theme": func(t *testing.T, row *symptom) {
		row.wantIn(t, "")
		file := filepath.Join(t.TempDir(), "theme.css")
		sitetest.WriteFile(t, file, "/* old */")
		s := served(t)
		config := s.Adapt("illumichat_page /chat* {\ntheme " + file + "\n}")
		theme := func(force bool) string {
			if err := caddy.Load(config, force); err != nil {
				t.Fatal(err)
			}
			files := openPage(t, s, "/chat/").files
			at := slices.IndexFunc(files, func(file string) bool { return strings.HasSuffix(file, "theme.css") })
			if at < 0 {
				t.Fatalf("the page has no theme, but %q", files)
			}
			_, body := get(t, s, files[at])
			return body
		}
		theme(true)
		sitetest.WriteFile(t, file, "/* new */")
		if got := theme(false); got != "/* old */" {
			t.Errorf("after a reload, the theme is %q", got)
		}
		if got := theme(true); got != "/* new */" {
			t.Errorf("with the remedy, the theme is %q", got)
		}
	},
}

// inThePage returns the reproduction of a row with a text of the chat page. The directives are those of a site with a chat.
func inThePage(wrong, right string) func(*testing.T, *symptom) {
	return func(t *testing.T, row *symptom) {
		a, s := newAround(t, nil), served(t)
		s.Reload(a.in(wrong + chatOf("")))
		row.wantIn(t, shownBy(t, s.Plain+sitetest.ChatPath))
		s.Reload(a.in(right + chatOf("")))
		wantShownAnswer(t, s.Plain+sitetest.ChatPath)
	}
}

// shows asks a question with the client, and prints what the chat page shows.
const shows = `
const { Chat } = await import(process.argv[1] + '/illumichat.js');
const { explain } = await import(process.argv[1] + '/element/explain.js');
const { loadWords } = await import(process.argv[1] + '/element/words.js');
const words = await loadWords('en');
try {
	for await (const event of new Chat(process.argv[2], { tries: 1 }).send('Hello')) process.stdout.write(event.textDelta ?? '');
	process.stdout.write('(complete)');
} catch (err) {
	process.stdout.write(explain(words, err));
}`

// shownBy returns what the chat page shows if its chat is at url.
func shownBy(t *testing.T, url string) string {
	t.Helper()
	client, err := filepath.Abs("client")
	if err != nil {
		t.Fatal(err)
	}
	output, err := exec.CommandContext(t.Context(), require.Program(t, "node"), "--input-type=module", "-e", shows, client, url).CombinedOutput()
	if err != nil {
		t.Fatalf("running the client: %v\n%s", err, output)
	}
	return string(output)
}

func wantShownAnswer(t *testing.T, url string) {
	t.Helper()
	if got := shownBy(t, url); !strings.HasSuffix(got, "(complete)") {
		t.Errorf("with the remedy, the page shows %q", got)
	}
}
