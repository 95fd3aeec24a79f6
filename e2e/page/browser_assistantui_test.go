package page

import (
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// assistant-ui streams the answer with its tools, and the next question continues the chat.
func TestAssistantUIChats(t *testing.T) {
	p := openAISDKPage(t, "assistant-ui", "")
	p.say("Hello")
	p.send(3)
	p.wantSaid(true, "> Hello", firstWords)
	close(p.events)
	p.wantSaid(false, "> Hello", sitetest.SandboxText(t, "Hello"))
	if got, want := eval[string](p.browser, `document.querySelector("details summary").textContent`), "web_search: done"; got != want {
		t.Errorf("the tool shows %q, want %q", got, want)
	}
	p.wantAsked(1)
	p.wantNext([]string{"> Hello", sitetest.SandboxText(t, "Hello")}, "Hello")
}

// assistant-ui shows an error and its code.
func TestAssistantUIShowsErrors(t *testing.T) {
	p := openAISDKPage(t, "assistant-ui", "")
	close(p.events)
	p.say("/cut")
	p.wantFailure("closed:upstream")
	p.wantSaid(false, "> /cut", firstWords)
}

// assistant-ui's Cancel cancels the upstream request at once.
func TestAssistantUIStops(t *testing.T) {
	p := openAISDKPage(t, "assistant-ui", "resume {\ngrace 1h\n}")
	p.onlyStopStops()
	p.say("/endless")
	p.send(3)
	p.wantSaid(true, "> /endless", numberedText(3))
	p.click("Stop")
	p.wantStopped(0)
	p.wantSaid(false, "> /endless", numberedText(3))
}

// After a reload in the middle of an answer, the answer continues in its own message, and the chat afterwards.
func TestAssistantUIContinuesAfterReload(t *testing.T) {
	p := openAISDKPage(t, "assistant-ui", "")
	p.say("/events 20")
	p.send(5)
	p.wantSaid(true, "> /events 20", numberedText(5))
	p.reload()
	p.wantSaid(true, "> /events 20", numberedText(5))
	close(p.events)
	p.wantSaid(false, "> /events 20", numberedText(20))
	p.wantAsked(1)
	p.wantNext([]string{"> /events 20", numberedText(20)}, "/events 20")
}
