package page

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/require"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// firefox is a real Firefox with one tab, which a script in Node drives over WebDriver BiDi.
type firefox struct {
	tb     testing.TB
	script *nodeScript
}

// firefoxPatience is how long a test waits for a command of Firefox. It starts slowly.
const firefoxPatience = 2 * time.Minute

// openFirefox starts a Firefox, and closes it when the test ends. The test fails if a page in it throws an exception.
func openFirefox(tb testing.TB) *firefox {
	tb.Helper()
	program := require.Program(tb, "firefox-esr", "firefox")
	requirePackages(tb, packages)
	// Firefox would outlive a script that is killed. At the end of its input, the script closes Firefox.
	return &firefox{tb, startScriptGently(tb, firefoxPatience, packages+"/firefox.mjs", program, uiScript)}
}

// command lets Firefox do something, and returns its value.
func (f *firefox) command(name string, value any) json.RawMessage {
	f.tb.Helper()
	defer time.AfterFunc(firefoxPatience, f.script.kill).Stop()
	if err := f.script.requests.Encode(map[string]any{name: value}); err != nil {
		f.tb.Fatalf("asking Firefox: %v", err)
	}
	var view struct {
		Value json.RawMessage
		Error string
	}
	if err := f.script.views.Decode(&view); err != nil {
		f.tb.Fatalf("waiting for Firefox: %v", err)
	}
	if view.Error != "" {
		f.tb.Fatalf("in Firefox: %s", view.Error)
	}
	return view.Value
}

// open loads a page, and waits for its script.
func (f *firefox) open(url string) {
	f.tb.Helper()
	f.command("open", url)
	f.eventually("globalThis.ready")
}

// reload loads the page anew, and waits for its script.
func (f *firefox) reload() {
	f.tb.Helper()
	f.command("reload", nil)
	f.eventually("globalThis.ready")
}

// eventually waits until an expression is true in the page.
func (f *firefox) eventually(expression string) {
	f.tb.Helper()
	defer func() {
		if f.tb.Failed() {
			f.tb.Logf("the page has seen %s", f.command("run", "JSON.stringify(globalThis.seen)"))
		}
	}()
	sitetest.Eventually(f.tb, expression, func() bool {
		return string(f.command("run", "Boolean("+expression+")")) == "true"
	})
}

// say lets the page ask a question.
func (f *firefox) say(text string) {
	f.tb.Helper()
	f.command("run", fmt.Sprintf("say(%q)", text))
}

// wantSeen waits for the last answer to end, and checks its text and how it ended.
func (f *firefox) wantSeen(text, end string) {
	f.tb.Helper()
	f.eventually("seen.end")
	var seen struct {
		Text, End string
	}
	if err := json.Unmarshal(f.command("run", "seen"), &seen); err != nil {
		f.tb.Fatal(err)
	}
	if seen.Text != text {
		f.tb.Errorf("the answer differs: %s", sitetest.FirstDifference(seen.Text, text))
	}
	if seen.End != end {
		f.tb.Errorf("the answer ended with %q, want %q", seen.End, end)
	}
}

// wantNoWrongs checks that no page threw an exception.
func (f *firefox) wantNoWrongs() {
	f.tb.Helper()
	if wrongs := f.command("wrongs", nil); string(wrongs) != "[]" {
		f.tb.Errorf("in Firefox: %s", wrongs)
	}
}

// corePage returns the directives of a site whose page is testdata/core.html, with the client's files and subdirectives of
// illumichat.
func corePage(server *sandboxtest.Server, subdirectives string) string {
	return sitetest.ChatTo(server, subdirectives) + `
	root client
	handle / {
		root e2e/page/testdata
		rewrite /core.html
		file_server
	}
	file_server`
}

// The client works in Firefox: it chats and streams, Stop cancels the upstream request, and an answer goes on after a reload
// and after a lost network.
func TestFirefox(t *testing.T) {
	f := openFirefox(t)
	serve := func(t *testing.T, subdirectives string, options sandbox.Options) (*firefox, *sandboxtest.Server, *network) {
		t.Helper()
		server := sandboxtest.NewServer(t, options)
		n := newNetwork(t, sitetest.Serve(t, corePage(server, subdirectives)))
		f := &firefox{t, f.script}
		f.open(n.url)
		return f, server, n
	}

	t.Run("chats and streams", func(t *testing.T) {
		events := make(steps)
		f, _, _ := serve(t, "", sandbox.Options{OnEvent: events.wait})
		f.say("Hello")
		for range 3 {
			events <- struct{}{}
		}
		f.eventually(fmt.Sprintf("seen.text === %q", firstWords))
		close(events)
		f.wantSeen(sitetest.SandboxText(t, "Hello"), "done")
		var kinds []string
		if err := json.Unmarshal(f.command("run", "seen.kinds"), &kinds); err != nil || strings.Join(kinds, " ") != wholeAnswer {
			t.Errorf("the page saw the events %q, %v", kinds, err)
		}
		f.say("/turns")
		f.wantSeen("1. Hello\n2. /turns\n", "done")
		f.say("/status 400")
		f.wantSeen("", "bad_request:chat")
	})

	for _, resume := range []string{"", "resume {\ngrace 1h\n}"} {
		t.Run("Stop cancels the upstream request "+resume[:min(6, len(resume))], func(t *testing.T) {
			f, server, _ := serve(t, resume, sandbox.Options{})
			f.say("/burst 10 /endless")
			f.eventually(`seen.text.includes("event 10")`)
			f.command("run", "chat.stop()")
			f.eventually(`seen.end === "stopped:page"`)
			upstream := server.Request(t, 0)
			upstream.Wait(t)
			if !upstream.Canceled() {
				t.Error("the upstream request was not canceled")
			}
		})
	}

	for name, reload := range map[string]func(f *firefox){
		"a reload": (*firefox).reload,
		"another page, and back again": func(f *firefox) {
			f.command("open", "about:blank")
			f.command("back", nil)
			f.eventually("globalThis.ready")
		},
	} {
		t.Run("an answer goes on after "+name, func(t *testing.T) {
			f, server, _ := serve(t, "resume", sandbox.Options{})
			f.say("/drip 80 20ms /events 150")
			f.eventually(`seen.text.includes("event 10\n")`)
			reload(f)
			f.wantSeen(numberedText(150), "done")
			wantAskedOnce(t, server)
		})
	}

	t.Run("a question is asked once though the page is loaded anew before the first word", func(t *testing.T) {
		events := make(steps)
		f, server, _ := serve(t, "resume", sandbox.Options{OnEvent: events.wait})
		f.say("Hello")
		server.Request(t, 0)
		f.reload()
		if got := string(f.command("run", "seen.resumed")); got != `"Hello"` {
			t.Errorf("the page continues the answer to %s", got)
		}
		close(events)
		f.wantSeen(sitetest.SandboxText(t, "Hello"), "done")
		wantAskedOnce(t, server)
	})

	t.Run("an answer goes on after its connection was cut", func(t *testing.T) {
		f, server, n := serve(t, "resume", sandbox.Options{})
		f.say("/drip 80 20ms /events 150")
		f.eventually(`seen.text.includes("event 10\n")`)
		n.each((*visitorConn).close)
		f.wantSeen(numberedText(150), "done")
		if got := string(f.command("run", "seen.reconnects > 0")); got != "true" {
			t.Error("the page did not reconnect")
		}
		wantAskedOnce(t, server)
	})

	t.Run("an answer goes on when the network is back", func(t *testing.T) {
		f, server, n := serve(t, "resume", sandbox.Options{})
		f.say("/drip 80 20ms /events 150")
		f.eventually(`seen.text.includes("event 10\n")`)
		f.command("offline", true)
		n.each((*visitorConn).close)
		f.eventually("!navigator.onLine && seen.reconnects === 1")
		f.command("offline", false)
		f.wantSeen(numberedText(150), "done")
		wantAskedOnce(t, server)
	})

	f.wantNoWrongs()
}
