package page

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// runOtherOrigin serves example/other-origin, whose allow_origins is the given origin.
func runOtherOrigin(t *testing.T, allowed string) *sitetest.RunningExample {
	t.Helper()
	const pages = "example/other-origin/page"
	root := t.TempDir()
	e := sitetest.RunEdited(t, "other-origin/Caddyfile", sandbox.Options{}, func(text string) string {
		for _, part := range []string{"root " + pages, "allow_origins http://www.localhost:8080"} {
			if strings.Count(text, part) != 1 {
				t.Fatalf("the example does not say %q", part)
			}
		}
		return strings.NewReplacer(pages, root, "allow_origins http://www.localhost:8080", "allow_origins "+allowed).Replace(text)
	})
	files, err := os.ReadDir(pages)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		sitetest.WriteFile(t, filepath.Join(root, file.Name()), e.Ports.Replace(sitetest.ReadExample(t, "other-origin/page/"+file.Name())))
	}
	return e
}

// A page of another origin can chat if allow_origins has its origin. If not, the browser blocks its request, the page says
// that the site cannot be reached, and no chat goes upstream.
func TestBrowserOnAnotherOrigin(t *testing.T) {
	const ask = `document.querySelector("#question").value = "Hello"; document.querySelector("#send").click()`
	t.Run("allowed", func(t *testing.T) {
		b := openBrowser(t)
		e := runOtherOrigin(t, "http://www.localhost:8080")
		b.open(e.Ports.Replace("http://www.localhost:8080"))
		eval[any](b, ask)
		b.eventually(`!document.querySelector("#send").disabled && document.querySelector(".assistant")`)
		if got, want := eval[string](b, `document.querySelector(".assistant").textContent`), sitetest.SandboxText(t, "Hello"); got != want {
			t.Errorf("the page shows %q, want %q", got, want)
		}
		if got := eval[string](b, `document.querySelector("#status").textContent`); got != "" {
			t.Errorf("the page says %q", got)
		}
		// The page shows the visitor's words and the answer as text, never as markup.
		eval[any](b, strings.Replace(ask, "Hello", "<b>/stall 3</b>", 1))
		b.eventually(`document.querySelectorAll(".assistant").length === 2 && !document.querySelector("#send").disabled`)
		if n := eval[int](b, `document.querySelectorAll("#log b").length`); n != 0 {
			t.Errorf("the page has made %d elements of texts", n)
		}
		eval[any](b, strings.Replace(ask, "Hello", "/stall 3", 1))
		b.eventually(`document.querySelectorAll(".assistant")[2]?.textContent`)
		eval[any](b, `document.querySelector("#question").value = "a draft"; document.querySelector("#stop").click()`)
		b.eventually(`document.querySelector("#status").textContent === "Stopped."`)
		if got := eval[string](b, `document.querySelector("#question").value`); got != "a draft" {
			t.Errorf("the draft is %q", got)
		}
		request := e.Upstream.Request(t, 2)
		request.Wait(t)
		if !request.Canceled() {
			t.Error("the upstream was not told that the visitor has stopped")
		}

		// The chat's id comes in a response header, which the page may read.
		if got := e.Upstream.Request(t, 1).Body; !strings.Contains(string(got), `"chatId":"`) {
			t.Errorf("the page does not go on with the chat: %s", got)
		}
	})

	t.Run("refused", func(t *testing.T) {
		b := openBrowser(t)
		b.hurry()
		e := runOtherOrigin(t, "http://shop.localhost:8080")
		b.open(e.Ports.Replace("http://www.localhost:8080"))
		eval[any](b, ask)
		b.eventually(`document.querySelector("#status").textContent.startsWith("There is no whole answer: the site cannot be reached.")`)
		b.wantWrong("blocked by CORS policy")
		if n := len(e.Upstream.Requests()); n != 0 {
			t.Errorf("%d chats were sent upstream", n)
		}
	})
}
