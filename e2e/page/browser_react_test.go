package page

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// A page with useChat streams the answer with its tools, and the next question continues the chat.
func TestReactChats(t *testing.T) {
	p := openAISDKPage(t, "react", "")
	p.say("Hello")
	p.send(3)
	p.wantSaid(true, "> Hello", firstWords)

	p.sendUntilTool()
	p.wantTool("web_search: running")
	p.send(1)
	p.wantTool("web_search: done")
	for _, part := range []string{`"query": "Hello"`, `"results": [`} {
		if got := eval[string](p.browser, `document.querySelector("details pre").textContent`); !strings.Contains(got, part) {
			t.Errorf("the tool shows %s, without %s", got, part)
		}
	}
	close(p.events)
	p.wantSaid(false, "> Hello", sitetest.SandboxText(t, "Hello"))
	p.wantAsked(1)

	p.wantNext([]string{"> Hello", sitetest.SandboxText(t, "Hello")}, "Hello")
}

// sendUntilTool lets the upstream send events until the page shows a tool.
func (p *aiSDKPage) sendUntilTool() {
	p.tb.Helper()
	for !eval[bool](p.browser, `Boolean(document.querySelector("details"))`) {
		shown := eval[string](p.browser, `document.querySelector("[role=log]").textContent`)
		p.send(1)
		p.eventually(`document.querySelector("[role=log]").textContent !== ` + quoted(shown))
	}
}

// wantTool waits until the page shows one tool, which says so.
func (p *aiSDKPage) wantTool(summary string) {
	p.tb.Helper()
	p.eventually(`Array.from(document.querySelectorAll("summary"), (e) => e.textContent).join() === ` + quoted(summary))
}

// quoted returns a string as JavaScript.
func quoted(text string) string {
	encoded, _ := json.Marshal(text)
	return string(encoded)
}

// useChat gets the text and the code of an error, before an answer and in the middle of one. The part of the answer that has
// arrived stays.
func TestReactShowsErrors(t *testing.T) {
	p := openAISDKPage(t, "react", "")
	close(p.events)
	said := []string{"> /cut", firstWords, "> /status 400"}
	for i, test := range []struct {
		say, code string
		said      int
	}{
		{"/cut", "closed:upstream", 2},
		{"/status 400", "bad_request:chat", 3},
	} {
		p.say(test.say)
		p.server.Request(t, i).Wait(t)
		text := p.wantFailure(test.code)
		if strings.TrimSpace(strings.Replace(text, test.code, "", 1)) == "" {
			t.Errorf("%s: the page explains nothing", test.say)
		}
		p.wantSaid(false, said[:test.said]...)
	}
	p.say("/events 1")
	p.wantSaid(false, append(said, "> /events 1", numberedText(1))...)
	p.wantAsked(3)
}

// useChat gets the number of seconds after which a visitor who has reached a limit may ask again.
func TestReactSaysWhenToAskAgain(t *testing.T) {
	p := openAISDKPage(t, "react", "limit 1 1h")
	close(p.events)
	p.say("/events 1")
	p.wantSaid(false, "> /events 1", numberedText(1))
	p.say("/events 2")
	if text := p.wantFailure("rate_limit:chat"); !regexp.MustCompile(`Try again in [1-9]\d* seconds\.`).MatchString(text) {
		t.Errorf("the page says %q", text)
	}
	p.wantSaid(false, "> /events 1", numberedText(1), "> /events 2")
	p.wantAsked(1)
}

// Stop cancels the upstream request at once and in every phase, also after a reload.
func TestReactStops(t *testing.T) {
	p := openAISDKPage(t, "react", "resume {\ngrace 1h\n}")
	p.onlyStopStops()
	p.say("/slow 1h")
	p.server.Request(t, 0)
	p.click("Stop")
	p.wantStopped(0)
	p.wantSaid(false, "> /slow 1h")

	p.say("/endless")
	p.send(3)
	p.wantSaid(true, "> /slow 1h", "> /endless", numberedText(3))
	p.click("Stop")
	p.wantStopped(1)
	p.wantSaid(false, "> /slow 1h", "> /endless", numberedText(3))

	p.click("Try again")
	p.send(3)
	p.wantSaid(true, "> /slow 1h", "> /endless", numberedText(3))
	p.reload()
	p.send(3)
	p.wantSaid(true, "> /slow 1h", "> /endless", numberedText(6))
	p.click("Stop")
	p.wantStopped(2)
	p.wantSaid(false, "> /slow 1h", "> /endless", numberedText(6))

	// A stopped answer does not come back.
	p.reload()
	close(p.events)
	p.say("/events 1")
	p.wantSaid(false, "> /slow 1h", "> /endless", numberedText(6), "> /events 1", numberedText(1))
	p.wantAsked(4)
}

// After a reload in the middle of an answer, the answer continues in its own message, and the chat afterwards.
func TestReactContinuesAfterReload(t *testing.T) {
	p := openAISDKPage(t, "react", "")
	p.say("/events 20")
	p.send(5)
	p.wantSaid(true, "> /events 20", numberedText(5))
	p.reload()
	p.wantSaid(true, "> /events 20", numberedText(5))
	p.send(5)
	p.wantSaid(true, "> /events 20", numberedText(10))
	p.reload()
	close(p.events)
	p.wantSaid(false, "> /events 20", numberedText(20))
	p.wantAsked(1)

	p.reload()
	p.wantSaid(false, "> /events 20", numberedText(20))
	p.wantAsked(1)
	p.wantNext([]string{"> /events 20", numberedText(20)}, "/events 20")
}

// A reload while a tool runs shows the tool once, and then its result.
func TestReactContinuesWithinATool(t *testing.T) {
	p := openAISDKPage(t, "react", "")
	p.say("Hello")
	p.sendUntilTool()
	p.wantTool("web_search: running")
	p.reload()
	p.eventually(answering)
	p.wantTool("web_search: running")
	close(p.events)
	p.wantSaid(false, "> Hello", sitetest.SandboxText(t, "Hello"))
	p.wantTool("web_search: done")
	p.wantAsked(1)
}

// A reload before the first event, and even before the response headers, does not ask the question again.
func TestReactAsksOnceAcrossReload(t *testing.T) {
	for _, test := range []struct{ name, subdirectives, responses string }{
		{"before the response headers", "commit_after off", "0"},
		{"before the first event", "commit_after 1ms", "1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := openAISDKPage(t, "react", test.subdirectives)
			eval[chromedp.Void](p.browser, `
				globalThis.responses = 0;
				const { fetch } = globalThis;
				globalThis.fetch = async (request) => {
					const response = await fetch(request);
					responses++;
					return response;
				};
			`)
			p.say("/events 3")
			p.server.Request(t, 0)
			p.eventually("responses === " + test.responses)
			p.reload()
			p.eventually(answering)
			close(p.events)
			p.wantSaid(false, "> /events 3", numberedText(3))
			p.wantAsked(1)
		})
	}
}

// hideAndShow hides the chat and shows it again, so that its component is unmounted and mounted again.
func (p *aiSDKPage) hideAndShow() {
	p.tb.Helper()
	eval[chromedp.Void](p.browser, `(async () => {
		const button = document.querySelector("header button");
		const until = async (condition) => {
			while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
		};
		button.click();
		await until(() => !document.querySelector("main"));
		button.click();
		await until(() => document.querySelector("main"));
	})()`)
}

// A change of route to a page without the chat, and back, does not end the answer.
func TestReactContinuesAfterRouteChange(t *testing.T) {
	p := openAISDKPage(t, "react", "")
	p.say("/events 20")
	p.server.Request(t, 0)
	p.hideAndShow()
	p.eventually(answering)
	for n := 5; n <= 15; n += 5 {
		p.send(5)
		p.wantSaid(true, "> /events 20", numberedText(n))
		p.hideAndShow()
	}
	close(p.events)
	p.wantSaid(false, "> /events 20", numberedText(20))
	p.wantAsked(1)
}

// An answer that nobody comes back for is stopped, long before the grace of resume is over. The page keeps what has arrived.
func TestReactStopsWhenTheChatIsLeft(t *testing.T) {
	p := openAISDKPage(t, "react", "resume {\ngrace 1h\n}")
	p.say("/endless")
	p.send(3)
	p.wantSaid(true, "> /endless", numberedText(3))
	p.click("Hide the chat")
	p.wantStopped(0)
	p.click("Show the chat")
	p.wantSaid(false, "> /endless", numberedText(3))
}

// On a site without resume, an answer survives a change of route as well, Stop cancels the upstream request, and a reload keeps
// what has arrived.
func TestReactWithoutResume(t *testing.T) {
	p := openAISDKPage(t, "react", "# in place of resume")
	p.say("/events 20")
	p.send(5)
	p.wantSaid(true, "> /events 20", numberedText(5))
	p.hideAndShow()
	p.send(5)
	p.wantSaid(true, "> /events 20", numberedText(10))
	p.click("Stop")
	p.wantStopped(0)
	p.wantSaid(false, "> /events 20", numberedText(10))

	p.click("Try again")
	p.send(5)
	p.wantSaid(true, "> /events 20", numberedText(5))
	p.reload()
	p.wantStopped(1)
	p.wantSaid(false, "> /events 20", numberedText(5))
	close(p.events)
	p.click("Try again")
	p.wantSaid(false, "> /events 20", numberedText(20))
	p.wantAsked(3)
}

// Two tabs of one site chat at the same time, each with an answer of its own.
func TestReactInTwoTabs(t *testing.T) {
	p := openAISDKPage(t, "react", "resume {\ngrace 1h\n}")
	p.say("/endless")
	p.send(3)
	p.wantSaid(true, "> /endless", numberedText(3))

	other := p.openTab()
	other.open(p.site.Plain)
	other.wantSaid(false)
	other.say("/stall 3")
	p.server.Request(t, 1)
	p.click("Stop")
	p.server.Request(t, 0).Wait(t)
	close(p.events)
	other.wantSaid(true, "> /stall 3", firstWords)
	other.click("Stop")
	p.wantStopped(1)
	p.wantSaid(false, "> /endless", numberedText(3))
}

// Two tabs with the same conversation show the same answer, which is asked for once.
func TestReactInADuplicatedTab(t *testing.T) {
	p := openAISDKPage(t, "react", "")
	p.say("/events 20")
	p.send(5)
	p.wantSaid(true, "> /events 20", numberedText(5))
	other := p.duplicate()
	other.wantSaid(true, "> /events 20", numberedText(5))
	close(p.events)
	for _, tab := range []*aiSDKPage{p, other} {
		tab.wantSaid(false, "> /events 20", numberedText(20))
	}
	p.wantAsked(1)
}

// A visitor who loses the network in the middle of an answer gets the rest once the network is back.
func TestReactContinuesAfterLostNetwork(t *testing.T) {
	p := openAISDKPage(t, "react", "")
	n := newNetwork(t, p.site)
	p.open(n.url)
	p.say("/events 20")
	p.send(5)
	p.wantSaid(true, "> /events 20", numberedText(5))
	p.outOfNetwork(true)
	n.each((*visitorConn).close)
	p.send(5)
	p.outOfNetwork(false)
	p.wantSaid(true, "> /events 20", numberedText(10))
	close(p.events)
	p.wantSaid(false, "> /events 20", numberedText(20))
	p.wantAsked(1)
}

// A question that a visitor asks without a network is asked once the network is back.
func TestReactAsksOnceTheNetworkIsBack(t *testing.T) {
	p := openAISDKPage(t, "react", "")
	close(p.events)
	p.outOfNetwork(true)
	p.say("/events 3")
	p.wantSaid(true, "> /events 3")
	p.outOfNetwork(false)
	p.wantSaid(false, "> /events 3", numberedText(3))
	p.wantAsked(1)
}
