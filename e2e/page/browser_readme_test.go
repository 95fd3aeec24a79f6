package page

import (
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/docstest"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// Both pages in the project's README chat as they are, next to the directives in it.
func TestBrowserOnTheReadmesPages(t *testing.T) {
	pages := docstest.Read(t, "README.md").In("html")
	if len(pages) != 2 {
		t.Fatalf("the README has %d pages, and this test knows 2", len(pages))
	}
	dir := t.TempDir()
	for i, file := range []string{"element.html", "own.html"} {
		sitetest.WriteFile(t, dir+"/"+file, "<!DOCTYPE html><title>Shop</title><body>"+pages[i])
	}
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, "root "+dir+"\nfile_server\n"+sitetest.ChatTo(server, "")+"\nillumichat_page /chat*")

	b := openBrowser(t)
	b.open(s.Plain + "/element.html")
	b.click(".launcher")
	b.say("Hello")
	b.answered()

	eval[any](b, `void (location.href = "/own.html")`)
	b.eventually(`document.forms[0]?.onsubmit`)
	eval[any](b, `document.querySelector("input").value = "Hello"; document.querySelector("button").click()`)
	b.shows(sitetest.SandboxText(t, "Hello"))
}
