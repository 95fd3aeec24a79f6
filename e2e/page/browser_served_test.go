package page

import (
	"fmt"
	"slices"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// The page that illumichat_page serves chats, under its policy. It has announced each module that it loads, so that none waits
// for another. A page of the site's own imports the same modules.
func TestBrowserOnTheServedPage(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, "resume")+`
		illumichat_page /chat* {
			lang de
			title "Frag uns"
			theme page/testdata/theme.css
		}
		header Content-Type text/html
		respond /own "<!DOCTYPE html><title>Own</title>" 200`)
	b := openBrowser(t)
	b.open(s.Plain + "/chat")
	b.eventually(`document.querySelector("illumichat-chat").shadowRoot.querySelector("#question")`)
	if got := eval[string](b, `location.pathname + " " + document.title`); got != "/chat/ Frag uns" {
		t.Errorf("the page is %q", got)
	}
	if got := eval[string](b, `document.querySelector("illumichat-chat").shadowRoot.querySelector("h1").textContent`); got != "Frag uns" {
		t.Errorf("the heading is %q", got)
	}

	loaded := eval[[]string](b, `performance.getEntriesByType("resource").map((r) => r.name).filter((name) => name.endsWith(".js"))`)
	announced := eval[[]string](b, `[...document.querySelectorAll("script, link[rel=modulepreload]")].map((e) => e.src || e.href)`)
	slices.Sort(loaded)
	slices.Sort(announced)
	if loaded = slices.Compact(loaded); len(loaded) < 20 || !slices.Equal(loaded, announced) {
		t.Errorf("the page loads %q, but announces %q", loaded, announced)
	}

	eval[any](b, `document.querySelector("illumichat-chat").ask("Hello")`)
	b.eventually(`document.querySelector("illumichat-chat").chat.messages.length === 2`)
	b.eventually(`document.querySelector("illumichat-chat").shadowRoot.querySelector(".end")`)
	if n := len(server.Requests()); n != 1 {
		t.Errorf("%d chats went upstream", n)
	}

	b.open(s.Plain + "/own")
	if !eval[bool](b, `import("/chat/element.js").then(({ IllumichatChat }) => customElements.get("illumichat-chat") === IllumichatChat)`) {
		t.Error("the element of /chat/element.js is another one")
	}
	// Whichever module a page imports, there is one copy of each class.
	eval[any](b, `void document.body.append(document.createElement("illumichat-chat"))`)
	b.eventually(`document.querySelector("illumichat-chat").chat`)
	for name, same := range map[string]string{
		"element.js": `document.querySelector("illumichat-chat").chat.constructor === core.Chat`,
		"ai-sdk.js":  `other.ChatError === core.ChatError`,
	} {
		if !eval[bool](b, fmt.Sprintf(`Promise.all([import("/chat/illumichat.js"), import("/chat/%s")]).then(([core, other]) => %s)`, name, same)) {
			t.Errorf("%s has another copy of the client", name)
		}
	}
}
