package page

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	cdpinput "github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// These tests are of what a visitor can do with the chat beyond asking and reading.

var (
	keyEscape = cdpinput.DispatchKeyEventParams{Key: "Escape", WindowsVirtualKeyCode: 27}
	keyPaste  = cdpinput.DispatchKeyEventParams{Key: "v", WindowsVirtualKeyCode: 86, Modifiers: 2, Commands: []string{"paste"}}
)

// proxyTo returns a directive that lets something else than the module answer the chat.
func proxyTo(url string) string { return fmt.Sprintf("reverse_proxy %s %s", sitetest.ChatPath, url) }

// openChat opens the chat page of a site whose chat is at url.
func (b *browser) openChat(url, options string) {
	b.tb.Helper()
	b.open(sitetest.Serve(b.tb, sitePage(url, options)).Plain + "/chat/")
}

// sitePage returns the directives of a site whose chat is at url, with a chat page at /chat/.
func sitePage(url, options string) (directives string) {
	return proxyTo(url) + "\nillumichat_page /chat* {\n" + options + "\n}"
}

// says returns an event of text.
func says(text string) string {
	event, _ := json.Marshal(map[string]string{"type": "text-delta", "textDelta": text})
	return "data: " + string(event) + "\n\n"
}

// answers returns a handler that answers with a text.
func answers(text string) http.HandlerFunc { return sends(says(text) + goodEnd) }

// shown returns the questions in the log.
func (b *browser) shown() []string {
	b.tb.Helper()
	return eval[[]string](b, `ui.all(".question").map((question) => question.textContent)`)
}

// listen notes the details of the element's events from now on, each as "name detail".
func (b *browser) listen(names ...string) {
	b.tb.Helper()
	encoded, _ := json.Marshal(names)
	eval[chromedp.Void](b, fmt.Sprintf(`
		globalThis.heard = [];
		for (const name of %s) {
			document.addEventListener('illumichat-' + name, ({ type, detail }) => {
				const { turn, ...rest } = detail;
				heard.push([type, ...(turn ? [turn.state, turn.content] : []), JSON.stringify(rest)].join(' '));
			});
		}
	`, encoded))
}

// wantHeard checks which events the page has got since the last call.
func (b *browser) wantHeard(want ...string) {
	b.tb.Helper()
	if got := eval[[]string](b, `heard.splice(0)`); !slices.Equal(got, want) {
		b.tb.Errorf("the page has got the events %q, want %q", got, want)
	}
}

// A visitor can ask the last question again, or change it. What came of it before is gone, for the assistant too.
func TestBrowserAsksTheLastQuestionAgain(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, answers("One."), answers("Two."), answers("Three."), answers("Four."))
	b.openChat(site.url, "")
	b.say("First")
	b.answered()
	b.say("Second")
	b.answered()
	if got := eval[int](b, `ui.all(".again, .edit").length`); got != 2 {
		t.Errorf("there are %d ways to ask again, want two, for the last question only", got)
	}

	b.click(".again")
	b.eventually(`ui("#log").textContent.includes("Three.")`)
	b.answered()

	b.write("A draft")
	b.click(".edit")
	b.eventually(value + ` === "Second" && ui("#question") === ui.active()`)
	b.press(keyEscape)
	if got := eval[string](b, value); got != "A draft" {
		t.Errorf("after Escape, the box has %q", got)
	}
	b.click(".edit")
	b.eventually(value + ` === "Second"`)
	b.write(" and third")
	b.press(keyEnter)
	b.eventually(`ui("#log").textContent.includes("Four.")`)
	b.answered()
	if got, want := b.shown(), []string{"First", "Second and third"}; !slices.Equal(got, want) {
		t.Errorf("the page shows the questions %q, want %q", got, want)
	}
	if got := eval[string](b, value); got != "A draft" {
		t.Errorf("the draft is lost: the box has %q", got)
	}
	for n, want := range []string{"First", "First One. Second", "First One. Second", "First One. Second and third"} {
		var said []string
		for _, message := range site.questions()[n].Messages {
			said = append(said, message.Content)
		}
		if got := strings.Join(said, " "); got != want {
			t.Errorf("request %d has %q, want %q", n+1, got, want)
		}
	}
}

// A new chat stops the answer of the old one, although the site would let it go on.
func TestBrowserStopsForANewChat(t *testing.T) {
	b := openBrowser(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	b.open(sitetest.Serve(t, sitetest.ChatTo(server, "resume")+"\nillumichat_page /chat*").Plain + "/chat/")
	b.say("/stall 3")
	b.eventually(lastTurn + `?.querySelector(".text")?.textContent`)
	b.click(".new")
	asked := server.Request(t, 0)
	asked.Wait(t)
	if !asked.Canceled() {
		t.Error("the upstream goes on with the answer")
	}
}

// A visitor can begin a new chat. The old one is gone, also after a reload.
func TestBrowserBeginsANewChat(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, answers("One."), stalls(says("Two.")), answers("Three."))
	b.openChat(site.url, "suggestions \"What is new?\" \"What else?\"\ngreeting \"Welcome.\"")
	isWelcome := `ui(".welcome").checkVisibility() && ui(".welcome").innerText.includes("Welcome.") && !ui(".new").checkVisibility()`
	b.eventually(isWelcome)
	b.click(".suggestion")
	b.answered()
	b.say("And then?")
	b.eventually(lastTurn + `.querySelector(".text")?.textContent === "Two."`)
	b.listen("reset")
	b.click(".new")
	b.eventually(isWelcome)
	b.wantHeard("illumichat-reset {}")
	if got := b.focused(); got != "question" {
		t.Errorf("the focus is at %q", got)
	}
	b.reload()
	b.eventually(isWelcome)
	b.say("Hello")
	b.answered()
	asked := site.questions()
	if got := asked[0].Messages[0].Content; got != "What is new?" {
		t.Errorf("the suggestion asks %q", got)
	}
	if got := len(asked[2].Messages); got != 1 {
		t.Errorf("the new chat begins with %d messages", got)
	}
}

// A visitor can copy an answer as the assistant wrote it, and say whether it was helpful. The page around the chat is told.
func TestBrowserCopiesAndRates(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, answers("**Yes.**\n\n- one\n"), sends(goodEnd))
	b.openChat(site.url, "")
	b.listen("question", "answer", "feedback")
	b.say("Really?")
	b.answered()
	b.wantHeard(`illumichat-question {"content":"Really?"}`, `illumichat-answer done Really? {}`)
	b.click(".actions .copy")
	b.eventually(`ui(".actions .copy").getAttribute("aria-label") === "Copied"`)
	b.focus("#question")
	b.press(keyPaste)
	if got := eval[string](b, value); got != "**Yes.**\n\n- one\n" {
		t.Errorf("the clipboard has %q", got)
	}
	eval[chromedp.Void](b, `ui("#question").select()`)
	pressed := func(name string) string { return eval[string](b, `ui(".`+name+`").getAttribute("aria-pressed")`) }
	for _, step := range []struct{ click, helpful, not, heard string }{
		{"helpful", "true", "false", `{"helpful":true}`},
		{"notHelpful", "false", "true", `{"helpful":false}`},
		{"notHelpful", "false", "false", `{}`},
	} {
		b.click("." + step.click)
		b.eventually(`heard.length > 0`)
		b.wantHeard("illumichat-feedback done Really? " + step.heard)
		if got := pressed("helpful") + pressed("notHelpful"); got != step.helpful+step.not {
			t.Errorf("after a click on %s, the thumbs are %s", step.click, got)
		}
	}
	b.say("And?")
	b.answered()
	if got := eval[int](b, lastTurn+`.querySelectorAll(".helpful, .copy").length`); got != 0 {
		t.Error("an empty answer can be copied or rated")
	}
}

// Escape stops an answer, wherever in the chat the focus is.
func TestBrowserStopsByEscape(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, stalls(someDelta))
	b.openChat(site.url, "")
	b.say("Hello")
	b.eventually(lastTurn + `?.querySelector(".text")?.textContent === "Yes."`)
	b.focus("#scroller")
	b.press(keyEscape)
	if got := b.answered(); !strings.HasPrefix(got, "Stopped.") {
		t.Errorf("the answer ends with %q", got)
	}
}

// A visitor who reads further up can jump to the newest message.
func TestBrowserJumpsToTheNewest(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, answers(strings.Repeat("A line.\n\n", 100)))
	b.openChat(site.url, "")
	b.say("Hello")
	b.answered()
	atEnd := `ui("#scroller").scrollTop + ui("#scroller").clientHeight >= ui("#scroller").scrollHeight - 1`
	b.eventually(atEnd + ` && !ui(".newest").checkVisibility()`)
	eval[chromedp.Void](b, `ui("#scroller").scrollTop = 0`)
	b.eventually(`ui(".newest").checkVisibility()`)
	b.click(".newest")
	b.eventually(atEnd + ` && !ui(".newest").checkVisibility()`)
}
