package page

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// Tools are one line each, in words, and one stop of the Tab key. What they took and returned is shown on demand.
func TestBrowserDescribesTools(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, sends(
		toolEvent("call", "web_search", `"toolCallId":"a","args":{"query":"weather"}`)+
			toolEvent("call", "find_order", `"toolCallId":"b","args":{"number":"10"}`)+
			toolEvent("result", "web_search", `"toolCallId":"a","result":{"found":"sun & <b>rain</b>"}`)+
			someDelta+goodEnd))
	b.openChat(site.url, "")
	b.say("Hello")
	b.answered()
	if got, want := eval[[]string](b, `ui.all(".tool").map((tool) => tool.innerText.trim())`), []string{"Searched the web", "find order: no result"}; !slices.Equal(got, want) {
		t.Errorf("the tools say %q, want %q", got, want)
	}
	if got := eval[int](b, `ui.all(".tool pre").length`); got != 0 {
		t.Errorf("there are %d values before anybody wants to see them", got)
	}
	b.click(".tool summary")
	b.eventually(`ui(".tool pre")`)
	if got, want := eval[[]string](b, `ui.all(".tool pre").map((pre) => pre.textContent)`), []string{"{\n  \"query\": \"weather\"\n}", "{\n  \"found\": \"sun & <b>rain</b>\"\n}"}; !slices.Equal(got, want) {
		t.Errorf("the details are %q, want %q", got, want)
	}
	if got := eval[int](b, `ui.all(".tool pre[tabindex]").length`); got != 0 {
		t.Errorf("%d values that do not scroll are stops of the Tab key", got)
	}
}

// A tool's result of some megabytes does not keep the page from reacting, not even when it is shown.
func TestBrowserTakesLargeResults(t *testing.T) {
	b := openBrowser(t)
	large := strings.Repeat("0123456789", 200_000)
	site := newScriptedSite(t, sends(toolEvent("call", "export", `"args":{}`)+toolEvent("result", "export", fmt.Sprintf(`"result":[%q]`, large))+someDelta+goodEnd))
	b.openChat(site.url, "")
	b.say("Hello")
	b.answered()
	b.click(".tool summary")
	b.eventually(`ui(".tool pre")`)
	if got := eval[int](b, `ui.all(".tool pre").at(-1).textContent.length`); got > 11_000 {
		t.Errorf("the page lays out %d characters", got)
	}
	b.eventually(`ui.all(".tool pre[tabindex='0']").length === 1`) // the one that scrolls is a stop of the Tab key
}

// The sources that events carry are links, each once, and only to the web.
func TestBrowserListsSources(t *testing.T) {
	b := openBrowser(t)
	source := func(event string) string { return "data: " + event + "\n\n" }
	site := newScriptedSite(t, sends(
		source(`{"type":"source-url","sourceId":"1","url":"https://example.com/a","title":"A <b>page</b>"}`)+
			source(`{"type":"source","source":{"url":"https://example.com/b"}}`)+
			source(`{"type":"sources","sources":["https://example.com/a",{"url":"javascript:alert(1)","title":"x"},{"url":"data:text/html,x"},{"url":"no url"},null,7]}`)+
			someDelta+goodEnd))
	b.openChat(site.url, "")
	b.say("Hello")
	b.answered()
	got := eval[[]string](b, `ui.all(".sources a").map(({ href, rel, textContent }) => [href, rel, textContent].join(" "))`)
	want := []string{
		"https://example.com/a noopener noreferrer nofollow ugc example.com",
		"https://example.com/b noopener noreferrer nofollow ugc example.com",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the sources are %q, want %q", got, want)
	}
}

// inSteps returns a handler that sends one part of a stream for each value that the test sends.
func inSteps(s steps, parts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for n, part := range parts {
			s.wait(r, n)
			_, _ = io.WriteString(w, part)
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// A screen reader gets each sentence once, when it is complete, and not the whole answer at its end.
func TestBrowserAnnouncesSentences(t *testing.T) {
	b := openBrowser(t)
	events := make(steps)
	site := newScriptedSite(t, inSteps(events, says("The first sentence. The sec"), says("ond one. The **third"), says("** one"), goodEnd))
	b.openChat(site.url, "")
	b.eventually(`ui("#announcer")`)
	eval[chromedp.Void](b, `
		globalThis.announced = [];
		new MutationObserver((changes) => {
			for (const { addedNodes } of changes) announced.push(...Array.from(addedNodes, (node) => node.textContent));
		}).observe(ui("#announcer"), { childList: true });
	`)
	b.say("Hello")
	events <- struct{}{}
	b.eventually(`announced.includes("The first sentence.")`)
	events <- struct{}{}
	b.eventually(lastTurn + `.querySelector(".text").textContent.includes("third")`)
	events <- struct{}{}
	events <- struct{}{}
	b.answered()
	got := eval[string](b, `announced.filter(Boolean).join(" ")`)
	if want := "The assistant is answering. The first sentence. The second one. The third one The answer is complete."; got != want {
		t.Errorf("a screen reader says %q, want %q", got, want)
	}
}
