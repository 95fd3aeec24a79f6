package page

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// builtPages are the files of examples' pages, by the example's name. A build takes seconds.
var builtPages = make(map[string]fstest.MapFS)

// buildPage builds the page of an example, and returns its directory. The build is React's for development, because only that
// runs each effect twice in StrictMode.
func buildPage(tb testing.TB, name string) (directory string) {
	tb.Helper()
	if built := builtPages[name]; built != nil {
		directory = tb.TempDir()
		if err := os.CopyFS(directory, built); err != nil {
			tb.Fatal(err)
		}
		return directory
	}
	directory = sitetest.BuildExample(tb, name, `--define:process.env.NODE_ENV="development"`)
	files, err := os.ReadDir(directory)
	if err != nil {
		tb.Fatal(err)
	}
	built := make(fstest.MapFS)
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(directory, file.Name()))
		if err != nil {
			tb.Fatal(err)
		}
		built[file.Name()] = &fstest.MapFile{Data: data, Mode: 0o644}
	}
	builtPages[name] = built
	return directory
}

// aiSDKPage is the page of an example whose chat is the AI SDK's, in a browser.
type aiSDKPage struct {
	*browser

	site   *sitetest.Site
	server *sandboxtest.Server
	events steps // of the upstream
}

// openAISDKPage opens the page of an example, with further subdirectives of illumichat. The upstream sends an event for each
// value of events.
func openAISDKPage(t *testing.T, example, subdirectives string) *aiSDKPage {
	t.Helper()
	directory := buildPage(t, example)
	p := &aiSDKPage{browser: openBrowser(t), events: make(steps)}
	p.server = sandboxtest.NewServer(t, sandbox.Options{OnEvent: p.events.wait})
	file := "example/" + example + "/Caddyfile"
	directives := exampleSite(t, file, p.server.URL, subdirectives)
	root := "\troot example/" + example + "/dist\n"
	if strings.Count(directives, root) != 1 {
		t.Fatalf("%s is not as this test knows it", file)
	}
	p.site = sitetest.Serve(t, strings.Replace(directives, root, "\troot "+directory+"\n", 1))
	p.open(p.site.Plain)
	p.eventually(`document.querySelector("#question")`)
	return p
}

// send lets the upstream send n more events.
func (p *aiSDKPage) send(n int) {
	p.tb.Helper()
	timeout := time.After(sitetest.Patience)
	for i := range n {
		select {
		case p.events <- struct{}{}:
		case <-timeout:
			p.tb.Fatalf("the upstream has sent %d events, want %d", i, n)
		}
	}
}

const (
	// said is the JavaScript that lists the messages of the page. A question has "> " before it.
	said = `Array.from(document.querySelectorAll("article"), (e) => (e.matches(".user") ? "> " : "") + Array.from(e.querySelectorAll("p"), (p) => p.textContent).join(""))`

	// answering is the JavaScript that tells whether an answer is being written.
	answering = `document.querySelector("[role=log]")?.ariaBusy === "true"`
)

// wantSaid waits until the page shows these messages. The last one is still being written if more is set.
func (p *aiSDKPage) wantSaid(more bool, want ...string) {
	p.tb.Helper()
	var got []string
	var busy, shown bool
	defer func() {
		if !shown {
			p.tb.Logf("busy: %t; the page shows %d messages, want %d: %s", busy, len(got), len(want),
				sitetest.FirstDifference(strings.Join(got, "|"), strings.Join(want, "|")))
		}
	}()
	sitetest.Eventually(p.tb, "the page shows the conversation", func() bool {
		busy, got = eval[bool](p.browser, answering), eval[[]string](p.browser, said)
		shown = busy == more && slices.Equal(got, want)
		return shown
	})
}

// wantAsked checks how many questions have reached the upstream, and that it has answered the last one to its end.
func (p *aiSDKPage) wantAsked(times int) {
	p.tb.Helper()
	last := p.server.Request(p.tb, times-1)
	last.Wait(p.tb)
	if last.Canceled() {
		p.tb.Error("the upstream request was cancelled")
	}
	if got := len(p.server.Requests()); got != times {
		p.tb.Errorf("the upstream was asked %d times, want %d", got, times)
	}
}

// wantContinued checks whether the n-th question, counted from 0, continues the API's chat.
func (p *aiSDKPage) wantContinued(n int, want bool) {
	p.tb.Helper()
	var question struct{ ChatID string }
	if err := json.Unmarshal(p.server.Request(p.tb, n).Body, &question); err != nil {
		p.tb.Fatal(err)
	}
	if got := question.ChatID != ""; got != want {
		p.tb.Errorf("question %d continues the API's chat: %t, want %t", n, got, want)
	}
}

// onlyStopStops keeps the transport from stopping an answer that nobody has read for a second: that second does not end.
func (p *aiSDKPage) onlyStopStops() {
	p.tb.Helper()
	call(p.browser, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: `
		const wait = globalThis.setTimeout;
		globalThis.setTimeout = (callback, milliseconds, ...more) => milliseconds === 1000 ? 0 : wait(callback, milliseconds, ...more);
	`})
	p.reload()
}

// wantStopped checks that the n-th upstream request, counted from 0, is the last one, and is cancelled.
func (p *aiSDKPage) wantStopped(n int) {
	p.tb.Helper()
	asked := p.server.Request(p.tb, n)
	asked.Wait(p.tb)
	if !asked.Canceled() {
		p.tb.Error("the upstream request was not cancelled")
	}
	if got := len(p.server.Requests()); got != n+1 {
		p.tb.Errorf("the upstream was asked %d times, want %d", got, n+1)
	}
}

// wantFailure waits until the page says that the chat has failed, and checks the code.
func (p *aiSDKPage) wantFailure(code string) (text string) {
	p.tb.Helper()
	p.eventually(`document.querySelector("[role=alert]") && !(` + answering + `)`)
	if got := eval[string](p.browser, `document.querySelector("[role=alert] code")?.textContent ?? ""`); got != code {
		p.tb.Errorf("the page shows the code %q, want %q", got, code)
	}
	return eval[string](p.browser, `document.querySelector("[role=alert]").innerText`)
}

// click presses the button with this text.
func (p *aiSDKPage) click(text string) {
	p.tb.Helper()
	button := fmt.Sprintf(`Array.from(document.querySelectorAll("button:enabled")).find((button) => button.textContent === %q)`, text)
	p.eventually(button)
	eval[chromedp.Void](p.browser, button+`.click()`)
}

// reload loads the page again.
func (p *aiSDKPage) reload() {
	p.tb.Helper()
	eval[chromedp.Void](p.browser, `globalThis.before = true`)
	call(p.browser, cdppage.Reload, cdppage.ReloadParams{})
	p.eventually(`!globalThis.before && document.readyState === "complete"`)
}

// openTab opens another tab of the browser, by default an empty one.
func (p *aiSDKPage) openTab(options ...chromedp.ContextOption) *aiSDKPage {
	p.tb.Helper()
	tab, closeTab := chromedp.NewContext(p.tab, options...)
	p.tb.Cleanup(closeTab)
	if err := chromedp.Listen(tab, p.notice); err != nil {
		p.tb.Fatalf("opening a tab: %v", err)
	}
	other := *p
	other.browser = &browser{tb: p.tb, tab: tab}
	other.findParts()
	return &other
}

// duplicate opens the page in another tab that begins with a copy of this tab's storage, as a browser's "Duplicate" does.
func (p *aiSDKPage) duplicate() *aiSDKPage {
	p.tb.Helper()
	opened := chromedp.WaitNewTarget(p.tab, func(info *target.Info) bool { return info.URL != "" })
	eval[chromedp.Void](p.browser, `void window.open(location.href)`)
	select {
	case id := <-opened:
		return p.openTab(chromedp.WithTargetID(id))
	case <-time.After(sitetest.Patience):
		p.tb.Fatal("there is no other tab")
		return nil
	}
}

// wantNext asks a further question, for which the API continues its chat. asked are the questions so far, and said is what
// the page shows of them.
func (p *aiSDKPage) wantNext(said []string, asked ...string) {
	p.tb.Helper()
	p.say("/turns")
	var turns strings.Builder
	for i, question := range append(asked, "/turns") {
		fmt.Fprintf(&turns, "%d. %s\n", i+1, question)
	}
	p.wantSaid(false, append(said, "> /turns", turns.String())...)
	p.wantContinued(len(asked), true)
	p.wantAsked(len(asked) + 1)
}

// regenerate replaces the answer, and does not repeat the question in the API's chat.
func TestAISDKRegenerates(t *testing.T) {
	for _, example := range []string{"react", "assistant-ui"} {
		t.Run(example, func(t *testing.T) {
			p := openAISDKPage(t, example, "")
			close(p.events)
			p.say("/turns")
			p.wantSaid(false, "> /turns", "1. /turns\n")
			p.click("Try again")
			p.wantContinued(1, false)
			p.wantSaid(false, "> /turns", "1. /turns\n")
			p.wantAsked(2)
		})
	}
}
