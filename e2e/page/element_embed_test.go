package page

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// shop returns the directives of a site with a chat whose own page, at /shop, has body. The chat page and its modules are
// below /chat.
func shop(chat, body string) (directives string) {
	return fmt.Sprintf(`%s
		illumichat_page /chat*
		handle /shop {
			header Content-Type text/html
			header Content-Security-Policy "default-src 'none'; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'"
			respond <<HTML
				<!DOCTYPE html>
				<html lang="de">
				<title>Shop</title>
				<script type="module" src="/chat/element.js"></script>
				<body>%s</body>
				</html>
				HTML
		}`, chat, body)
}

// On any page of a site, the element is a bubble in the corner. It opens and closes, and says when an answer has come.
func TestBrowserOpensABubble(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, stalls(someDelta), answers("Two."))
	b.open(sitetest.Serve(t, shop(proxyTo(site.url), `<illumichat-chat mode="bubble" heading="Hilfe"></illumichat-chat>`)).Plain + "/shop")
	b.eventually(`ui(".launcher")`)
	b.listen("toggle")
	isOpen := `ui("#panel").checkVisibility()`
	if eval[bool](b, isOpen) {
		t.Error("the bubble is open")
	}
	if got := eval[string](b, `ui(".launcher").getAttribute("aria-label") + ui(".launcher").getAttribute("aria-expanded")`); got != "Chat öffnenfalse" {
		t.Errorf("the button is %q", got)
	}
	b.click(".launcher")
	b.eventually(isOpen + ` && ui("#question") === ui.active()`)
	b.wantHeard(`illumichat-toggle {"open":true}`)

	b.say("Hallo")
	b.eventually(lastTurn + `?.querySelector(".text")?.textContent === "Yes."`)
	b.press(keyEscape) // stops the answer
	b.answered()
	b.press(keyEscape)
	b.eventually(`!` + isOpen + ` && ui(".launcher") === ui.active()`)
	b.wantHeard(`illumichat-toggle {"open":false}`)

	eval[chromedp.Void](b, `document.querySelector("illumichat-chat").ask("Noch etwas?")`)
	b.eventually(`ui(".news").checkVisibility()`)
	eval[chromedp.Void](b, `document.querySelector("illumichat-chat").open = true`)
	b.eventually(isOpen + ` && !ui(".news").checkVisibility()`)
	if got := b.shown(); !slices.Equal(got, []string{"Hallo", "Noch etwas?"}) {
		t.Errorf("the bubble shows %q", got)
	}
}

// A framework may move the element, or remove it and add it again. The answer goes on, and is asked for once.
func TestBrowserMovesTheElement(t *testing.T) {
	b := openBrowser(t)
	events := make(steps, 10)
	server := sandboxtest.NewServer(t, sandbox.Options{OnEvent: events.wait})
	b.open(sitetest.Serve(t, shop(sitetest.ChatTo(server, "resume"), `<main></main><illumichat-chat></illumichat-chat>`)).Plain + "/shop")
	b.say("Hello")
	for range 3 {
		events <- struct{}{}
	}
	b.eventually(lastTurn + `?.querySelector(".text")?.textContent === "` + firstWords + `"`)
	eval[chromedp.Void](b, `document.querySelector("main").append(document.querySelector("illumichat-chat"))`)
	eval[chromedp.Void](b, `
		globalThis.away = document.querySelector("illumichat-chat");
		away.remove();
	`)
	eval[chromedp.Void](b, `document.body.append(away)`)
	close(events)
	b.answered()
	if got, want := strings.ReplaceAll(b.text(), " ", ""), strings.ReplaceAll(sitetest.SandboxText(t, "Hello"), " ", ""); got != want {
		t.Errorf("the answer is %q, want %q", got, want)
	}
	if got := len(server.Requests()); got != 1 {
		t.Errorf("the upstream was asked %d times", got)
	}
}

// Two chats on one page, with keys of their own, keep their conversations apart.
func TestBrowserHasTwoChats(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, answers("One."), answers("Two."))
	b.open(sitetest.Serve(t, shop(proxyTo(site.url), `<illumichat-chat lang="fr"></illumichat-chat><illumichat-chat storage-key="other" lang="ja"></illumichat-chat>`)).Plain + "/shop")
	b.say("Hello")
	b.answered()
	eval[chromedp.Void](b, `document.querySelectorAll("illumichat-chat")[1].ask("Hi")`)
	log := `document.querySelectorAll("illumichat-chat")[1].shadowRoot.querySelector("#log")`
	b.eventually(log + `.querySelector(".end")`)
	b.reload()
	b.eventually(`ui("#log")?.querySelector(".end") && ` + log + `?.querySelector(".end")`)
	if got := eval[[]string](b, `Array.from(document.querySelectorAll("illumichat-chat"), ({ shadowRoot }) => shadowRoot.querySelector("#send").textContent + shadowRoot.querySelector(".question").textContent)`); !slices.Equal(got, []string{"EnvoyerHello", "送信Hi"}) {
		t.Errorf("the chats are %q", got)
	}
}
