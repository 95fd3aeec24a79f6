package page

import (
	"fmt"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// deepChat is a page with the deep-chat component.
type deepChat struct{ *browser }

// inDeepChat is JavaScript that finds what a selector selects in the component.
func inDeepChat(selector string) string {
	return fmt.Sprintf(`document.querySelector("deep-chat").shadowRoot?.querySelector(%q)`, selector)
}

// open loads the page, and waits until the component can be used.
func (d deepChat) open(url string) {
	d.tb.Helper()
	d.browser.open(url)
	d.eventually(inDeepChat("#text-input"))
}

// say enters a message and sends it.
func (d deepChat) say(text string) {
	d.tb.Helper()
	eval[any](d.browser, fmt.Sprintf(`document.querySelector("deep-chat").submitUserMessage({ text: %q })`, text))
}

// shows waits until the component's last messages are these. Spaces and line ends count as one space.
func (d deepChat) shows(messages ...string) {
	d.tb.Helper()
	last := `Array.from(document.querySelector("deep-chat").shadowRoot.querySelectorAll(".message-bubble"), (e) => e.innerText.replace(/\s+/g, " ").trim())`
	defer func() {
		if d.tb.Failed() {
			d.tb.Logf("it shows %q", eval[[]string](d.browser, last))
		}
	}()
	d.eventually(fmt.Sprintf("%s.slice(-%d).join('|') === %q", last, len(messages), strings.Join(messages, "|")))
}

// stop presses the component's Stop.
func (d deepChat) stop() {
	d.tb.Helper()
	eval[any](d.browser, inDeepChat("#stop-icon")+`.parentElement.click()`)
}

// isIdle waits until the component takes the next message.
func (d deepChat) isIdle() {
	d.tb.Helper()
	d.eventually(inDeepChat("#submit-icon"))
}

// The example with the deep-chat component streams answers, stops them in each phase, and shows errors in their own words.
func TestBrowserDeepChat(t *testing.T) {
	requirePackages(t, "example/deep-chat")
	events := make(steps, 100)
	e := sitetest.RunExample(t, "deep-chat/Caddyfile", sandbox.Options{OnEvent: events.wait})
	d := deepChat{openBrowser(t)}
	d.open(e.Ports.Replace("http://localhost:8080"))
	say := func(text string) *sandboxtest.Request {
		asked := len(e.Upstream.Requests())
		d.say(text)
		return e.Upstream.Request(t, asked)
	}
	wantCanceled := func(asked *sandboxtest.Request) {
		t.Helper()
		asked.Wait(t)
		if !asked.Canceled() {
			t.Error("after Stop, the upstream goes on")
		}
	}

	say("/events 2")
	events <- struct{}{}
	d.shows("/events 2", "event 1")
	events <- struct{}{}
	events <- struct{}{}
	d.shows("/events 2", "event 1 event 2")
	d.isIdle()

	asked := say("/endless")
	events <- struct{}{}
	d.shows("/endless", "event 1")
	d.stop()
	wantCanceled(asked)
	d.shows("event 1 event 2", "/endless", "event 1")
	d.isIdle()

	asked = say("/endless 1000")
	d.stop()
	wantCanceled(asked)
	d.shows("event 1", "/endless 1000")
	d.isIdle()

	say("/cut 1")
	for range 2 {
		events <- struct{}{}
	}
	d.shows("/cut 1", "You", "There is no whole answer: the answer broke off.")
	d.isIdle()

	// An answer is no part of the page.
	say("<b>/turns</b>")
	for range cap(events) - len(events) {
		events <- struct{}{}
	}
	d.isIdle()
	if eval[bool](d.browser, inDeepChat("b")+` != null`) {
		t.Error("the page has made an element of a text")
	}

	// This is the last one, because the assistant then cools down.
	say("/status 429 30")
	d.shows("/status 429 30", "There is no whole answer: Too many requests; please wait a little. Try again in 30 s.")
	d.isIdle()
}

// The example with the deep-chat component shows the conversation after a reload, and goes on with the answer, which is
// paid for once.
func TestBrowserDeepChatGoesOnAfterAReload(t *testing.T) {
	requirePackages(t, "example/deep-chat")
	events := make(steps, 100)
	e := sitetest.RunExample(t, "deep-chat/Caddyfile", sandbox.Options{OnEvent: events.wait})
	d := deepChat{openBrowser(t)}
	page := e.Ports.Replace("http://localhost:8080")
	d.open(page)
	for range 3 {
		events <- struct{}{}
	}
	d.say("/events 2")
	d.shows("/events 2", "event 1 event 2")
	d.isIdle()
	d.say("/events 3")
	events <- struct{}{}
	d.shows("/events 3", "event 1")

	d.open(page)
	d.shows("/events 2", "event 1 event 2", "/events 3", "event 1")
	for range 3 {
		events <- struct{}{}
	}
	d.shows("/events 2", "event 1 event 2", "/events 3", "event 1 event 2 event 3")
	d.isIdle()
	if asked := len(e.Upstream.Requests()); asked != 2 {
		t.Errorf("the API was asked %d times", asked)
	}
}

// The deep-chat component reads answers and errors through its interceptors, without the client. It sends the conversation,
// and its Stop cancels the upstream request.
func TestDeepChatThroughItsInterceptors(t *testing.T) {
	requirePackages(t, "example/deep-chat")
	events := make(steps, 100)
	server := sandboxtest.NewServer(t, sandbox.Options{OnEvent: events.wait})
	s := sitetest.Serve(t, sitetest.ChatTo(server, sitetest.Once)+`
		handle /deep-chat.js {
			root example/deep-chat/node_modules/deep-chat/dist
			rewrite /deepChat.bundle.js
			file_server
		}
		rewrite / /deep-chat.html
		root e2e/page/testdata
		file_server`)
	d := deepChat{openBrowser(t)}
	d.open(s.Plain)

	d.say("/events 2")
	events <- struct{}{}
	d.shows("/events 2", "event 1")
	events <- struct{}{}
	events <- struct{}{}
	d.shows("/events 2", "event 1 event 2")
	d.isIdle()

	d.say("/endless")
	events <- struct{}{}
	d.shows("/endless", "event 1")
	d.stop()
	request := server.Request(t, 1)
	request.Wait(t)
	if !request.Canceled() {
		t.Error("after Stop, the upstream goes on")
	}
	if got, want := string(request.Body), `"messages":[{"role":"user","content":"/events 2"},{"role":"assistant","content":"event 1\nevent 2\n"},{"role":"user","content":"/endless"}]`; !strings.Contains(got, want) {
		t.Errorf("the component has sent %s", got)
	}
	d.isIdle()

	d.say("/cut 1")
	events <- struct{}{}
	d.shows("/cut 1", "You", "the answer broke off")
	d.isIdle()

	d.say("/status 429 30")
	d.shows("/status 429 30", "Too many requests; please wait a little.")
	d.isIdle()
}
