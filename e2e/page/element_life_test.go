package page

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// These tests are of the element's life in a page: it comes, changes, moves, and goes.

// A question that was refused with a 429 is not asked by itself once the visitor has gone on to something else.
func TestBrowserForgetsACountdown(t *testing.T) {
	for name, goOn := range map[string]func(b *browser){
		"new chat": func(b *browser) {
			b.click(".new")
			b.say("Else")
		},
		"edit": func(b *browser) {
			b.click(".edit")
			b.write("!")
			b.press(keyEnter)
		},
		"removed": func(b *browser) {
			eval[chromedp.Void](b, `
				globalThis.away = document.querySelector("illumichat-chat");
				away.remove();
			`)
			eval[chromedp.Void](b, `document.body.append(away)`)
			b.say("Else")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := openBrowser(t)
			site := newScriptedSite(t, fails(http.StatusTooManyRequests, "rate_limit:chat", "20"), answers("Fine."))
			b.passTime()
			b.openChat(site.url, "")
			b.say("Hello")
			b.answered()
			b.click(".automatic input")
			goOn(b)
			b.eventually(lastTurn + `?.querySelector(".text")?.textContent === "Fine."`)
			b.answered()
			// A timer of the countdown that is left would come before one that is set now.
			eval[any](b, `(passed = 20_000, new Promise((resolve) => setTimeout(resolve, 1100)))`)
			if got := len(site.questions()); got != 2 {
				t.Errorf("the page has asked %d times, want 2", got)
			}
		})
	}
}

// passTime lets the test set how many milliseconds the clock of the next pages is ahead, as passed.
func (b *browser) passTime() {
	b.tb.Helper()
	b.onNewPage(`
		const now = performance.now.bind(performance);
		globalThis.passed = 0;
		performance.now = () => now() + passed;
	`)
}

// A new chat ends the editing of a question of the old one.
func TestBrowserEndsAnEdit(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, answers("One."), answers("Two."))
	b.openChat(site.url, "")
	b.say("First")
	b.answered()
	b.click(".edit")
	b.eventually(`ui(".editing").checkVisibility()`)
	b.click(".new")
	b.eventually(`!ui(".editing").checkVisibility() && ` + value + ` === ""`)
	b.say("Second")
	b.answered()
	if got := b.shown(); !slices.Equal(got, []string{"Second"}) {
		t.Errorf("the page shows %q", got)
	}
}

// The element may be moved within its page, and its texts may change, while an answer is being written: without resume, too.
func TestBrowserChangesTheElement(t *testing.T) {
	b := openBrowser(t)
	events := make(steps)
	site := newScriptedSite(t, inSteps(events, says("One "), says("two."), goodEnd))
	b.open(sitetest.Serve(t, shop(proxyTo(site.url), `<main></main><illumichat-chat></illumichat-chat>`)).Plain + "/shop")
	b.say("Hello")
	events <- struct{}{}
	b.eventually(lastTurn + `?.querySelector(".text")?.textContent.trim() === "One"`)
	eval[chromedp.Void](b, `
		const element = document.querySelector("illumichat-chat");
		document.querySelector("main").append(element);
		element.setAttribute("heading", "Help");
		element.setAttribute("placeholder", "Go ahead");
		element.setAttribute("greeting", "Hi");
	`)
	events <- struct{}{}
	events <- struct{}{}
	b.answered()
	if got := b.text(); got != "One two." {
		t.Errorf("the answer is %q", got)
	}
	if got := eval[string](b, `[ui(".title").textContent, ui("#question").placeholder, ui(".welcome p").textContent].join()`); got != "Help,Go ahead,Hi" {
		t.Errorf("the texts are %q", got)
	}
}

// An element that is removed while an answer is being written tells the page no more, and leaves the answer without an error.
func TestBrowserRemovesTheElement(t *testing.T) {
	b := openBrowser(t)
	events := make(steps, 10)
	server := sandboxtest.NewServer(t, sandbox.Options{OnEvent: events.wait})
	b.open(sitetest.Serve(t, shop(sitetest.ChatTo(server, "resume"), `<illumichat-chat></illumichat-chat>`)).Plain + "/shop")
	b.listen("answer", "question")
	b.say("Hello")
	for range 3 {
		events <- struct{}{}
	}
	b.eventually(lastTurn + `?.querySelector(".text")?.textContent === "` + firstWords + `"`)
	eval[chromedp.Void](b, `
		globalThis.away = document.querySelector("illumichat-chat");
		away.addEventListener("illumichat-answer", () => heard.push("an event of the element"));
		away.remove();
	`)
	b.eventually(`away.chat === undefined`)
	eval[chromedp.Void](b, `document.body.append(away)`)
	close(events)
	b.answered()
	b.wantHeard(`illumichat-question {"content":"Hello"}`, `an event of the element`, `illumichat-answer done Hello {}`)
	if got := len(server.Requests()); got != 1 {
		t.Errorf("the upstream was asked %d times", got)
	}
}

// A question that a script asks while the element continues an answer is not asked later.
func TestBrowserForgetsAnEarlyQuestion(t *testing.T) {
	b := openBrowser(t)
	events := make(steps, 20)
	server := sandboxtest.NewServer(t, sandbox.Options{OnEvent: events.wait})
	b.open(sitetest.Serve(t, shop(sitetest.ChatTo(server, "resume"), `<illumichat-chat></illumichat-chat>`)).Plain + "/shop")
	b.say("Hello")
	for range 3 {
		events <- struct{}{}
	}
	b.eventually(lastTurn + `?.querySelector(".text")?.textContent === "` + firstWords + `"`)
	b.onNewPage(`
		document.addEventListener("readystatechange", () => {
			customElements.whenDefined("illumichat-chat").then(() => document.querySelector("illumichat-chat").ask("Early"));
		}, { once: true });
	`)
	b.reload()
	b.eventually(lastTurn + `?.querySelector(".text")?.textContent === "` + firstWords + `"`)
	close(events)
	b.answered()
	eval[chromedp.Void](b, `document.querySelector("illumichat-chat").strings = { send: "Go" }`)
	b.eventually(`ui("#send").textContent === "Go" && !ui(".answer[aria-busy=true]") && ui(".end")`)
	if got := b.shown(); !slices.Equal(got, []string{"Hello"}) {
		t.Errorf("the page shows %q", got)
	}
}

// A language that the chat does not speak has English words, but what is said in it is marked as what it is.
func TestBrowserMarksTheLanguage(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, answers("Olá."))
	b.open(sitetest.Serve(t, shop(proxyTo(site.url), `<illumichat-chat lang="pt-BR" heading="Ajuda"></illumichat-chat>`)).Plain + "/shop")
	b.say("Olá")
	b.answered()
	for part, want := range map[string]string{".title": "pt-BR", ".welcome": "pt-BR", ".question": "pt-BR", ".text": "pt-BR", "#send": "en", ".edit": "en"} {
		if got := eval[string](b, `ui("`+part+`").closest("[lang]").lang`); got != want {
			t.Errorf("%s is marked as %q, want %q", part, got, want)
		}
	}
}

// A script's calls do not take the focus away from the page.
func TestBrowserAsksWithoutTheFocus(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, answers("One."))
	b.open(sitetest.Serve(t, shop(proxyTo(site.url), `<input id="else"><illumichat-chat></illumichat-chat>`)).Plain + "/shop")
	b.eventually(`ui("#question")`)
	eval[chromedp.Void](b, `
		document.querySelector("#else").focus();
		document.querySelector("illumichat-chat").ask("Hello");
	`)
	b.answered()
	eval[chromedp.Void](b, `document.querySelector("illumichat-chat").reset()`)
	if got := eval[string](b, `document.activeElement.id`); got != "else" {
		t.Errorf("the focus is at %q", got)
	}
}

// A script can set the element's properties before it is defined, and ask before it is drawn.
func TestBrowserUpgradesTheElement(t *testing.T) {
	b := openBrowser(t)
	var token string
	site := newScriptedSite(t, func(w http.ResponseWriter, r *http.Request) {
		token = r.Header.Get("X-Token")
		answers("Yes.")(w, r)
	})
	b.onNewPage(`
		document.addEventListener("readystatechange", () => {
			const element = document.querySelector("illumichat-chat");
			if (!element || customElements.get("illumichat-chat")) return;
			element.options = { headers: () => ({ "X-Token": "abc" }) };
			element.strings = { send: "Go" };
			customElements.whenDefined("illumichat-chat").then(() => element.ask("Hello"));
		});
	`)
	b.open(sitetest.Serve(t, shop(proxyTo(site.url), `<illumichat-chat></illumichat-chat>`)).Plain + "/shop")
	b.answered()
	if got := eval[string](b, `ui("#send").textContent`); got != "Go" || token != "abc" {
		t.Errorf("the button says %q, and the site has got the header %q", got, token)
	}
}

// Before the site has said whose conversation the tab holds, nothing can be asked with it. What the visitor was writing stays,
// even if they go on before that.
func TestBrowserWaitsForTheVisitor(t *testing.T) {
	b := openBrowser(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, shop(sitetest.ChatTo(server, "resume"), `<illumichat-chat suggestions="One?"></illumichat-chat>`))
	b.open(s.Plain + "/shop")
	b.say("Hello")
	b.answered()
	b.write("A draft")
	b.onNewPage(`
		const request = fetch;
		globalThis.waiting = [];
		globalThis.fetch = (...args) => new Promise((resolve) => waiting.push(() => resolve(request(...args))));
	`)
	b.open(s.Plain + "/shop?2")
	b.eventually(`globalThis.waiting?.length === 1`)
	b.focus("#question")
	b.write("Hello")
	b.press(keyEnter)
	if eval[bool](b, `ui(".suggestion").checkVisibility() || !ui("#send").disabled || `+value+` !== "Hello"`) {
		t.Error("the page lets the visitor ask before it knows who they are")
	}
	eval[chromedp.Void](b, `document.querySelector("illumichat-chat").ask("Early")`)
	b.open(s.Plain + "/shop?3")
	b.eventually(`globalThis.waiting?.length === 1`)
	eval[chromedp.Void](b, `waiting.shift()()`)
	b.eventually(value + ` === "A draft"`)
	b.eventually(`ui.all(".end").length === 1`)
	if got := b.shown(); !slices.Equal(got, []string{"Hello"}) {
		t.Errorf("the page shows %q", got)
	}
}

// If a page cannot make the headers of its requests, the chat can be used all the same, and shows nobody else's conversation.
func TestBrowserWithoutHeaders(t *testing.T) {
	b := openBrowser(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, shop(sitetest.ChatTo(server, "resume"), `<illumichat-chat></illumichat-chat>`))
	b.open(s.Plain + "/shop")
	b.say("Hello")
	b.answered()
	b.onNewPage(`
		document.addEventListener("readystatechange", () => {
			const element = document.querySelector("illumichat-chat");
			if (element) element.options = { headers: async () => { throw new Error("no login"); } };
		}, { once: true });
	`)
	b.open(s.Plain + "/shop?2")
	b.eventually(`ui("#question") && document.querySelector("illumichat-chat").chat?.turns.length === 0`)
	b.say("Hello again")
	if got := b.answered(); !strings.HasPrefix(got, "Auf dieser Seite") {
		t.Errorf("the page says %q", got)
	}
}

// An event that is not as it should be does not break the chat, nor its conversation after a reload.
func TestBrowserTakesOddEvents(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, sends(`data: {"type":"tool-call"}`+"\n\n"+`data: {"type":"tool-result","result":1,"isError":true}`+"\n\n"+
		`data: {"type":"text-delta","textDelta":7}`+"\n\n"+`data: {"type":"sources","sources":{"url":1}}`+"\n\n"+someDelta+goodEnd), answers("Two."))
	b.openChat(site.url, "")
	b.say("Hello")
	b.answered()
	b.reload()
	b.answered()
	if got := b.text(); got != "Yes." {
		t.Errorf("the answer is %q", got)
	}
	b.say("And?")
	b.eventually(lastTurn + `?.querySelector(".text")?.textContent === "Two."`)
}

// A long conversation is there again at once after a reload.
func TestBrowserRestoresALongConversation(t *testing.T) {
	b := openBrowser(t)
	b.openChat("http://127.0.0.1:1", "")
	b.eventually(`ui("#question")`)
	eval[chromedp.Void](b, `
		(() => {
			const { chat } = document.querySelector("illumichat-chat");
			chat.reset();
			chat.draft = "x";
			const { owner } = JSON.parse(sessionStorage["illumichat draft"]);
			const turns = Array.from({ length: 200 }, (_, n) => ({
				content: "Question " + n, state: "done",
				events: [{ type: "text-delta", textDelta: "Answer **" + n + "**. ".repeat(20) }, { type: "finish", finishReason: "stop" }],
			}));
			sessionStorage.illumichat = JSON.stringify({ owner, value: { turns, earlier: [], conversation: "c" } });
		})()
	`)
	// It counts the frames in which a part of the conversation is drawn.
	b.onNewPage(`
		globalThis.drawn = new Set();
		(function count(frame) {
			drawn.add(globalThis.ui?.("#log")?.childElementCount);
			requestAnimationFrame(count);
		})();
	`)
	b.reload()
	b.eventually(`ui("#log")?.childElementCount === 200 && !ui(".answer[aria-busy=true]")`)
	if got := eval[int](b, `drawn.size`); got > 100 {
		t.Errorf("it is drawn in %d steps", got)
	}
	if got := b.shown(); got[199] != "Question 199" {
		t.Errorf("the last question is %q", got[199])
	}
}

// A page may load the element twice, from two places.
func TestBrowserLoadsTheElementTwice(t *testing.T) {
	b := openBrowser(t)
	b.open(sitetest.Serve(t, shop(proxyTo("http://127.0.0.1:1"), `<illumichat-chat></illumichat-chat>`)).Plain + "/shop")
	b.eventually(`ui("#question")`)
	if got := eval[string](b, `import("/chat/element.js?twice").then(() => "fine", String)`); got != "fine" {
		t.Error(got)
	}
}

// The chat takes the focus and Escape only where they are its own.
func TestBrowserLeavesFocusAndEscapeToThePage(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, stalls(someDelta))
	b.open(sitetest.Serve(t, shop(proxyTo(site.url),
		`<input id="else"><dialog><illumichat-chat></illumichat-chat></dialog><illumichat-chat id="bubble" mode="bubble" storage-key="b" open></illumichat-chat>`)).Plain + "/shop")
	b.eventually(`document.querySelector("#bubble")?.shadowRoot?.querySelector("#question")`)
	eval[chromedp.Void](b, `
		document.querySelector("#else").focus();
		document.querySelector("#bubble").open = false;
	`)
	if got := eval[string](b, `document.activeElement.id`); got != "else" {
		t.Errorf("a bubble that a script closes takes the focus to %q", got)
	}
	eval[chromedp.Void](b, `document.querySelector("dialog").showModal()`)
	// The dialog is as wide as its content, and the element must not be nothing.
	if got := eval[int](b, `ui("#panel").offsetWidth`); got < 300 {
		t.Errorf("the chat is %d px wide", got)
	}
	b.say("Hello")
	b.eventually(lastTurn + `?.querySelector(".text")?.textContent === "Yes."`)
	b.press(keyEscape)
	b.answered()
	b.click(".edit")
	b.eventually(value + ` === "Hello"`)
	b.press(keyEscape)
	b.eventually(value + ` === ""`)
	if !eval[bool](b, `document.querySelector("dialog").open`) {
		t.Error("an Escape that stops an answer or an edit closes the page's dialog")
	}
	b.press(keyEscape)
	b.eventually(`!document.querySelector("dialog").open`)
}

// What gets the focus is not behind the box for the question, however high that is: WCAG 2.2, success criterion 2.4.11.
func TestBrowserShowsTheFocus(t *testing.T) {
	b := openBrowser(t)
	links := make([]string, 30)
	for n := range links {
		links[n] = fmt.Sprintf("[link %d](https://example.com/%[1]d)", n)
	}
	site := newScriptedSite(t, answers(strings.Join(links, "\n\n")))
	b.openChat(site.url, "")
	b.say("Hello")
	b.answered()
	b.write(strings.Repeat("line\n", 14))
	eval[chromedp.Void](b, `ui("#scroller").scrollTop = 0; ui(".text a").focus()`)
	hidden := `(() => {
		const { left, top, bottom } = ui.active().getBoundingClientRect();
		return ui.at(left + 2, (top + bottom) / 2) !== ui.active();
	})()`
	for n := range links {
		if eval[bool](b, hidden) {
			t.Errorf("the focus on link %d is hidden", n)
		}
		b.press(keyTab)
	}
}
