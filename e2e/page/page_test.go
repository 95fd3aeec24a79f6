package page

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// page is a page's client, which runs in Node.
type page struct{ *nodeScript }

// pageRequest is what a page says in one chat. Without Say, the page is loaded anew, and continues its answer. Stop says when
// the page leaves or stops the last answer: "before" it sends the request, in the "pause" before a retry, or by a "stop", a
// "detach", an "abort" or a "break" after the first text.
type pageRequest struct {
	URL         string        `json:"url"`
	Say         []string      `json:"say,omitempty"`
	Messages    []pageMessage `json:"messages,omitempty"` // what was said before
	ChatID      string        `json:"chatId,omitempty"`
	AssistantID string        `json:"assistantId,omitempty"`
	Tries       int           `json:"tries,omitempty"`
	Heartbeat   float64       `json:"heartbeat,omitempty"`
	Again       bool          `json:"again"` // the last question is asked twice
	Stop        string        `json:"stop,omitempty"`
	Stay        string        `json:"stay,omitempty"` // the page waits only until the last question is "asked", or a response "opened"
	Leave       bool          `json:"leave"`          // the page is left
	ByBytes     bool          `json:"byBytes"`        // each read of the answer gives one byte
	Twice       bool          `json:"twice"`          // each request is sent twice
}

type pageMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// pageView is what a page sees of the last answer, and of its chat after that.
type pageView struct {
	Events       []json.RawMessage `json:"events"`
	Text         string            `json:"text"` // of all text-deltas
	Retries      []pageRetry       `json:"retries"`
	Reconnects   int               `json:"reconnects"`
	Error        pageError         `json:"error"`
	OpenQuestion string            `json:"openQuestion"` // when the page was loaded anew
	ChatID       string            `json:"chatId"`
	History      []pageMessage     `json:"history"`
	States       []string          `json:"states"` // of the turns
}

// pageRetry is what the client reports before it sends a question again. Slept is how many seconds it then waits.
type pageRetry struct {
	Error pageError `json:"error"`
	Wait  float64   `json:"wait"`
	Slept float64   `json:"slept"`
}

// pageError is what the client throws. The zero value means that it throws nothing.
type pageError struct {
	Name       string `json:"name"`
	Message    string `json:"message"`
	Code       string `json:"code"`
	Status     int    `json:"status"`
	Details    string `json:"details"`    // as JSON; empty: undefined
	RetryAfter string `json:"retryAfter"` // the number as JavaScript writes it; empty: undefined
}

// chatFailed returns the error for an answer that does not arrive, or not to its end.
func chatFailed(status int, code string) pageError {
	return pageError{Name: "ChatError", Status: status, Code: code}
}

// after returns e with the seconds of a Retry-After.
func (e pageError) after(seconds string) pageError {
	e.RetryAfter = seconds
	return e
}

// The errors of a page that stops or leaves an answer.
var (
	stoppedByPage = pageError{Name: "ChatError", Message: "the answer was stopped", Code: "stopped:page"}
	detached      = pageError{Name: "AbortError", Message: "This operation was aborted", Code: "20"} // DOMException.ABORT_ERR
)

// openPage starts a page, and closes it when the test ends.
func openPage(tb testing.TB) page {
	tb.Helper()
	return page{startScript(tb, "e2e/page/testdata/visitor.mjs", sitetest.PageClient)}
}

// see lets the page ask, and returns what it has seen by the end of the loop over the events.
func (p page) see(tb testing.TB, request pageRequest) pageView {
	tb.Helper()
	var view pageView
	p.ask(tb, request, &view)
	return view
}

// wantFirstEvent checks that the page saw the first event of the sandbox's numbered ones, and no other, and then an error.
func (v *pageView) wantFirstEvent(tb testing.TB, err pageError) {
	tb.Helper()
	if kinds := v.kinds(tb); kinds != someText || v.Text != "event 1\n" {
		tb.Errorf("the page saw the events %q and the text %q after the first one", kinds, v.Text)
	}
	if v.Error != err {
		tb.Errorf("the page saw the error %+v, want %+v", v.Error, err)
	}
}

// kinds returns the types of the events, separated by spaces. Text-deltas in a row count as one.
func (v *pageView) kinds(tb testing.TB) string {
	tb.Helper()
	var kinds []string
	for _, raw := range v.Events {
		var e sitetest.Event
		if err := json.Unmarshal(raw, &e); err != nil {
			tb.Fatalf("reading %s: %v", raw, err)
		}
		if e.Type != "text-delta" || len(kinds) == 0 || kinds[len(kinds)-1] != e.Type {
			kinds = append(kinds, e.Type)
		}
	}
	return strings.Join(kinds, " ")
}

// holds reports whether data is one of the events.
func (v *pageView) holds(data string) bool {
	return slices.ContainsFunc(v.Events, func(raw json.RawMessage) bool { return string(raw) == data })
}

// The kinds of events in the sandbox's usual answer, and in two beginnings of it.
const (
	wholeAnswer = "text-delta tool-call tool-result text-delta finish"
	unfinished  = "text-delta tool-call tool-result text-delta"
	someText    = "text-delta"
)

// firstWords is the text of the first three events of the sandbox's usual answer.
const firstWords = "Hello! You said: "

// pageCase is something that a page says, and what the page must see.
type pageCase struct {
	say   string
	kinds string
	text  string
	err   pageError // an empty Message stands for any
	holds []string  // some of the events
}

// wholeAnswers returns the cases in which a page sees the same whether or not Caddy is in front of the sandbox.
func wholeAnswers(tb testing.TB) []pageCase {
	tb.Helper()
	var thousand strings.Builder
	for n := range 1000 {
		fmt.Fprintf(&thousand, "event %d\n", n+1)
	}
	cases := []pageCase{
		{
			say: "Hello", kinds: wholeAnswer, text: sitetest.SandboxText(tb, "Hello"),
			holds: []string{
				`{"type":"text-delta","textDelta":"Hello! "}`,
				`{"type":"tool-call","toolName":"web_search","args":{"query":"Hello"}}`,
			},
		},
		{
			// A CRLF that is split between two chunks must not end an event after its first line.
			say: "/multi-data /chunk 1 /crlf", kinds: wholeAnswer,
			text:  "This event has three lines. " + sitetest.SandboxText(tb, "/multi-data /chunk 1 /crlf"),
			holds: []string{`{"type":"text-delta","textDelta":"This event has three lines. "}`},
		},
		{
			say: "/extras", kinds: "mood text-delta tool-call tool-result text-delta finish",
			text: "This event has a language. This one has an id. " + sitetest.SandboxText(tb, "/extras"),
			holds: []string{
				`{"type":"mood","mood":"cheerful"}`,
				`{"type":"text-delta","textDelta":"This event has a language. ","language":"en"}`,
			},
		},
		{say: "/events 1000", kinds: "text-delta finish", text: thousand.String()},
		{say: "/events 1000 /chunk 1 /crlf", kinds: "text-delta finish", text: thousand.String()},
		{
			say: "/error", kinds: unfinished, text: sitetest.SandboxText(tb, "/error"),
			err: chatFailed(http.StatusOK, ""),
		},
	}
	for _, say := range []string{
		"/chunk 1", "/chunk 1 /crlf", "/chunk 1 /cr", "/chunk 2 /crlf", "/crlf", "/cr",
		"/comments 3", "/comments 3 /chunk 1", "/bad-json", "/two-finishes",
	} {
		cases = append(cases, pageCase{say: say, kinds: wholeAnswer, text: sitetest.SandboxText(tb, say)})
	}
	return cases
}

// checkPage lets the page make the request with what each case says, one case after the other, and checks what it sees.
func checkPage(t *testing.T, p page, request pageRequest, cases []pageCase) {
	t.Helper()
	request.AssistantID = sandbox.Assistant
	request.Tries = 1
	for _, c := range cases {
		t.Run(c.say, func(t *testing.T) {
			request.Say = []string{c.say}
			got := p.see(t, request)
			if kinds := got.kinds(t); kinds != c.kinds {
				t.Errorf("the page saw the events %q, want %q", kinds, c.kinds)
			}
			if got.Text != c.text {
				t.Errorf("the page saw the text %.1000q, want %.1000q", got.Text, c.text)
			}
			if got.Error.Name != "" && got.Error.Message == "" {
				t.Error("the error has no text")
			}
			if c.err.Message == "" {
				got.Error.Message = ""
			}
			if got.Error != c.err {
				t.Errorf("the page saw the error %+v, want %+v", got.Error, c.err)
			}
			for _, data := range c.holds {
				if !got.holds(data) {
					t.Errorf("the page did not see the event %s", data)
				}
			}
		})
	}
}

// Through Caddy, the client sees the answers and errors of a site and continues its chats. When the page stops or leaves an
// answer of a site without resume, the upstream request is canceled.
func TestPageOfSite(t *testing.T) {
	p := openPage(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	url := sitetest.Serve(t, sitetest.ChatTo(server, sitetest.Once)).Plain + sitetest.ChatPath

	t.Run("unknown assistant", func(t *testing.T) {
		got := p.see(t, pageRequest{URL: url, AssistantID: "asst_other", Say: []string{"Hello"}})
		got.Error.Message = ""
		if want := chatFailed(http.StatusForbidden, "forbidden:assistant"); got.Error != want {
			t.Errorf("the page saw the error %+v, want %+v", got.Error, want)
		}
	})

	t.Run("chat that goes on", func(t *testing.T) {
		// The site has one assistant, so the page need not name it.
		first := p.see(t, pageRequest{URL: url, Say: []string{"Hello"}})
		if first.ChatID == "" {
			t.Fatalf("the page knows no chat; error %+v", first.Error)
		}
		for name, request := range map[string]pageRequest{
			"by its id": {URL: url, ChatID: first.ChatID, Say: []string{"/turns"}},
			"kept":      {URL: url, Say: []string{"Hello", "/turns"}},
		} {
			second := p.see(t, request)
			if want := "1. Hello\n2. /turns\n"; second.Text != want {
				t.Errorf("%s: the chat's turns are %q, want %q; error %+v", name, second.Text, want, second.Error)
			}
			if name == "by its id" && second.ChatID != first.ChatID {
				t.Errorf("the chat went on as %s, want %s", second.ChatID, first.ChatID)
			}
		}
	})

	// Several events arrive at once. The client must not hand out the rest of them once the page has stopped.
	const endless = "/burst 10 /endless"
	aborted := pageError{Name: "Stopped", Message: "the visitor has seen enough"}
	for stop, want := range map[string]pageError{"stop": stoppedByPage, "detach": detached, "abort": aborted, "break": {}} {
		t.Run(stop, func(t *testing.T) {
			asked := len(server.Requests())
			got := p.see(t, pageRequest{URL: url, Say: []string{endless}, Stop: stop})
			got.wantFirstEvent(t, want)
			if !slices.Equal(got.States, []string{"stopped"}) {
				t.Errorf("the turn is %q", got.States)
			}
			request := server.Request(t, asked)
			request.Wait(t)
			if !request.Canceled() {
				t.Error("the sandbox was not told that the page left")
			}
		})
	}
	t.Run("abort before the request", func(t *testing.T) {
		got := p.see(t, pageRequest{URL: url, Say: []string{"Hello"}, Stop: "before"})
		if len(got.Events) != 0 || got.Error != aborted {
			t.Errorf("the page saw %d events and the error %+v, want none and %+v", len(got.Events), got.Error, aborted)
		}
	})

	const quote = `{"type":"finish","finishReason":"stop"}`
	closed := chatFailed(http.StatusOK, "closed:upstream")
	tooMany := chatFailed(http.StatusTooManyRequests, "rate_limit:chat").after("5")
	tooMany.Message = "Too many requests; please wait a little."
	badFields := chatFailed(http.StatusBadRequest, "bad_request:chat")
	badFields.Details = `{"messages":"The sandbox was asked to refuse them."}`
	checkPage(t, p, pageRequest{URL: url}, append(wholeAnswers(t), []pageCase{
		{say: "/cut", kinds: someText, text: firstWords, err: closed},
		{say: "/torn", kinds: someText, text: firstWords, err: closed},
		{say: "/reset", kinds: someText, text: firstWords, err: closed},
		{say: "/no-blank", kinds: wholeAnswer, text: sitetest.SandboxText(t, "/no-blank")},
		{
			say: "/quote-finish", kinds: "text-delta tool-call text-delta",
			text: "A stream is complete with the event\n\ndata: " + quote + "\n\n" + quote, err: closed,
		},
		{say: "/large 100000", kinds: "text-delta finish", text: strings.Repeat("0123456789", 10_000)},
		{say: "/status 400", err: badFields},
		{say: "/html", err: chatFailed(http.StatusBadGateway, "bad_gateway:upstream")},
		{say: "/status 429 5", err: tooMany},
	}...))
}

// The client also works without Caddy, which repairs some streams and sends events whole.
func TestPageWithoutCaddy(t *testing.T) {
	p := openPage(t)
	server := httptest.NewServer(sitetest.BareChat())
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})

	closed := chatFailed(http.StatusOK, "closed:connection")
	checkPage(t, p, pageRequest{URL: server.URL, ByBytes: true}, append(wholeAnswers(t), []pageCase{
		{say: "/cut", kinds: someText, text: firstWords, err: closed},
		{say: "/torn", kinds: someText, text: firstWords, err: closed},
		{say: "/reset 0", err: chatFailed(0, "unreachable:connection")},
		{say: "/no-blank", kinds: unfinished, text: sitetest.SandboxText(t, "/no-blank"), err: closed},
		{say: "/html", err: chatFailed(http.StatusOK, "not_chat:connection")},
		{say: "/json", err: chatFailed(http.StatusOK, "not_chat:connection")},
		{say: "/status 503 7", err: chatFailed(http.StatusServiceUnavailable, "").after("7")},
		{
			say: "/status 429 Wed, 21 Oct 2015 07:28:00 GMT",
			err: chatFailed(http.StatusTooManyRequests, "rate_limit:chat").after("0"),
		},
		{say: "/status 429 soon", err: chatFailed(http.StatusTooManyRequests, "rate_limit:chat")},
	}...))

	// A reset may discard what has arrived before it, so the events are not checked.
	t.Run("/reset", func(t *testing.T) {
		got := p.see(t, pageRequest{URL: server.URL, AssistantID: sandbox.Assistant, Tries: 1, Say: []string{"/reset"}})
		got.Error.Message = ""
		if want := chatFailed(http.StatusOK, "broken:connection"); got.Error != want {
			t.Errorf("the page saw the error %+v, want %+v", got.Error, want)
		}
	})
}
