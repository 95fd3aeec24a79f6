package page

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	cdpperformance "github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// markdownDir has a page that shows Markdown, and Markdown that attacks it.
const markdownDir = "e2e/page/testdata/markdown"

// strictPolicy is a Content-Security-Policy that forbids a page whatever the renderer does not need.
const strictPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'; trusted-types 'none'"

// openMarkdown opens a page that shows Markdown under the strict policy.
func openMarkdown(tb testing.TB) *browser {
	tb.Helper()
	b := openBrowser(tb)
	b.open(sitetest.Serve(tb, `
	header Content-Security-Policy "`+strictPolicy+`"
	root client
	@page path / /index.html /page.js /style.css
	handle @page {
		root `+markdownDir+`
		file_server
	}
	file_server`).Plain)
	b.eventually(`globalThis.stream`)
	return b
}

// hostileMarkdown returns the Markdown that attacks a page, by name.
func hostileMarkdown(tb testing.TB) map[string]string {
	tb.Helper()
	files, err := filepath.Glob(markdownDir + "/*.md")
	if err != nil || len(files) == 0 {
		tb.Fatalf("there is no hostile Markdown, %v", err)
	}
	texts := make(map[string]string)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		texts[filepath.Base(file)] = string(text)
	}
	texts["NUL"] = "a\x00b [c](java\x00script:alert(1)) <java\x00script:alert(1)> [d](\x00javascript:alert(1)) `\x00`\n\n```\x00\n\x00\n```\n"
	texts["nested"] = strings.Repeat("> - 1. ", 3000) + strings.Repeat("[*a **b ~~c ", 3000) + strings.Repeat("](javascript:alert(1))", 3000)
	return texts
}

// callWith returns the JavaScript that calls a function of the page with a text and further arguments.
func callWith(function, text string, more ...string) string {
	literal, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string can be written as JSON
	}
	return function + "(" + strings.Join(append([]string{string(literal)}, more...), ", ") + ")"
}

// Markdown that attacks a page gets nothing but text and safe links into it. It makes the page load nothing, and do nothing
// that a strict Content-Security-Policy forbids.
func TestBrowserShowsHostileMarkdown(t *testing.T) {
	b := openMarkdown(t)
	const resources = `performance.getEntriesByType("resource").map(({ name }) => name).filter((name) => !name.endsWith("/favicon.ico"))`
	loaded := eval[[]string](b, resources)
	for name, text := range hostileMarkdown(t) {
		for _, render := range []string{callWith("show", text), callWith("stream", text, "1"), callWith("stream", text, "7")} {
			eval[chromedp.Void](b, render)
			if faults := eval[[]string](b, `faults()`); len(faults) > 0 {
				t.Errorf("%s makes %q", name, faults)
			}
			if eval[int](b, `answer.textContent.length`) == 0 {
				t.Errorf("of %s, nothing is shown", name)
			}
		}
	}
	if got := eval[[]string](b, resources); !slices.Equal(got, loaded) {
		t.Errorf("the page has loaded %q, and before %q", got, loaded)
	}
	if got := eval[[]string](b, `violations`); len(got) > 0 {
		t.Errorf("the policy has forbidden %q", got)
	}

	// The checks find what they are for.
	eval[chromedp.Void](b, `
		const image = document.createElement("img");
		image.id = "question";
		image.src = "https://attacker.example/";
		answer.append(image);
		try { answer.innerHTML += "x" } catch { /* it is forbidden */ }
	`)
	if got := eval[[]string](b, `faults()`); !slices.Equal(got, []string{"<img>: id", "<img>: element"}) {
		t.Errorf("the page finds the faults %q", got)
	}
	b.eventually(`violations.some((v) => v.startsWith("img-src")) && violations.some((v) => v.startsWith("require-trusted-types-for"))`)
	for _, part := range []string{"attacker.example", "TrustedHTML"} {
		b.wantWrong(part)
	}
}

// The time that Chromium takes for Markdown grows with its length, and not with the square of it, even if it is made to be
// expensive.
func TestBrowserShowsLongMarkdown(t *testing.T) {
	b := openMarkdown(t)
	call(b, cdpperformance.Enable, cdpperformance.EnableParams{})
	// The processor's time is the same on a busy machine.
	processorTime := func() float64 {
		for _, metric := range call(b, cdpperformance.GetMetrics, cdp.Empty{}).Metrics {
			if metric.Name == "ThreadTime" {
				return 1000 * metric.Value
			}
		}
		t.Fatal("Chromium does not measure its time")
		return 0
	}
	took := func(text string) (ms float64) {
		before := processorTime()
		eval[chromedp.Void](b, callWith("stream", text, "4"))
		return processorTime() - before
	}
	const (
		length     = 5_000
		soonEnough = 500 // ms; a text that is rendered anew with each piece takes far longer
	)
	fill := func(length int, first, unit string) string { return first + strings.Repeat(unit, length/len(unit)) }
	for name, unit := range map[string][2]string{
		"a paragraph":            {"", "lorem ipsum **dolor** sit amet, "},
		"a list":                 {"", "- lorem ipsum **dolor** sit amet\n"},
		"code":                   {"```js\n", "const lorem = ipsum(dolor);\n"},
		"a table":                {"| a | b |\n|---|---|\n", "| lorem ipsum | **dolor** |\n"},
		"an open asterisk":       {"*", "lorem ipsum dolor sit amet "},
		"brackets":               {"", "["},
		"links without an end":   {"", "[a](b "},
		"openers":                {"", "*a _b "},
		"angles":                 {"", "<a@"},
		"quotes with lazy lines": {"", "> a\nb\n"},
	} {
		short, long := math.Inf(1), math.Inf(1)
		for range 3 {
			long = min(long, took(fill(4*length, unit[0], unit[1])))
			if long < soonEnough {
				break
			}
			short = min(short, took(fill(length, unit[0], unit[1])))
			if long < 8*short {
				break
			}
		}
		t.Logf("%s of %d characters in pieces of 4: %.0f ms", name, 4*length, long)
		if long >= soonEnough && long >= 8*short {
			t.Errorf("%s: %d characters take %.0f ms, four times as many %.0f ms", name, length, short, long)
		}
	}
}

// A selection in a part of an answer that is complete stays while the answer goes on. So does one in text that grows.
func TestBrowserKeepsSelectionInMarkdown(t *testing.T) {
	b := openMarkdown(t)
	for name, text := range map[string]string{
		"a paragraph":            "first **second** third\n\n",
		"a paragraph that grows": "first **second** third",
		"an item":                "- first **second** third\n- ",
		"a cell":                 "| a |\n|---|\n| first **second** third |\n| ",
		"code":                   "```\nfirst second third\n",
	} {
		eval[chromedp.Void](b, `begin()`)
		eval[chromedp.Void](b, callWith("view.append", text))
		eval[chromedp.Void](b, `
			{
				const walker = document.createTreeWalker(answer, NodeFilter.SHOW_TEXT);
				while (!walker.nextNode().data.includes("second"));
				const node = walker.currentNode;
				const at = node.data.indexOf("second");
				getSelection().setBaseAndExtent(node, at, node, at + "second".length);
			}
		`)
		for range 50 {
			eval[chromedp.Void](b, `view.append(" mor"); view.append("e **te"); view.append("xt** [a](https://x.y)"); view.append("\n")`)
		}
		eval[chromedp.Void](b, `view.end()`)
		if got := eval[string](b, `getSelection().toString()`); got != "second" {
			t.Errorf("in %s, %q is selected", name, got)
		}
	}
}

// The keyboard reaches a block of code and a table if it has to scroll them, and only then.
func TestBrowserReachesScrollingMarkdown(t *testing.T) {
	b := openMarkdown(t)
	stop := func(selector string) string {
		return `(({ tabIndex, role, ariaLabel }) => [tabIndex, role, ariaLabel].join(" "))(answer.querySelector("` + selector + `"))`
	}
	for selector, text := range map[string][3]string{
		"pre":    {"```\nshort", " and then too long for its line" + strings.Repeat(" and longer", 10), "0 group Code"},
		".table": {"| a | b |\n|---|---|\n| short | b |\n", "| " + strings.Repeat("toolong", 20) + " | b |\n", "0 group Table"},
	} {
		eval[chromedp.Void](b, `begin()`)
		eval[chromedp.Void](b, callWith("view.append", text[0]))
		// Two frames after the last change, nothing else will change.
		eval[chromedp.Void](b, `new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))`)
		if got := eval[string](b, stop(selector)); got != "-1  " {
			t.Errorf("before it scrolls, %s has %q", selector, got)
		}
		eval[chromedp.Void](b, callWith("view.append", text[1]))
		b.eventually(stop(selector) + ` === "` + text[2] + `"`)
		eval[chromedp.Void](b, `answer.style.inlineSize = "5000px"`)
		b.eventually(stop(selector) + ` === "-1  "`)
		eval[chromedp.Void](b, `answer.style.inlineSize = ""`)
		b.eventually(stop(selector) + ` === "` + text[2] + `"`)
	}
}

// A button copies a block of code, as it is when it is clicked. If the page may not write to the clipboard, it selects the
// code.
func TestBrowserCopiesCode(t *testing.T) {
	b := openMarkdown(t)
	b.allow("clipboard-read", "clipboard-write")
	eval[chromedp.Void](b, callWith("((text) => { begin(); view.append(text) })", "```\na < b;\n\tc &amp; d;\ne\n```\n\nf"))
	perform(b, chromedp.MouseClickXY(b.center(".copy")))
	b.eventually(`document.querySelector(".copy").textContent === "Copied"`)
	if got, want := eval[string](b, `navigator.clipboard.readText()`), "a < b;\n\tc &amp; d;\ne\n"; got != want {
		t.Errorf("the clipboard has %q, want %q", got, want)
	}
	b.eventually(`document.querySelector(".copy").textContent === "Copy"`)

	eval[chromedp.Void](b, `Object.defineProperty(navigator, "clipboard", { value: undefined })`)
	perform(b, chromedp.MouseClickXY(b.center(".copy")))
	b.eventually(`getSelection().toString().trim() === "a < b;\n\tc &amp; d;\ne"`)
	if got := eval[string](b, `document.querySelector(".copy").textContent`); got != "Copy" {
		t.Errorf("the button says %q", got)
	}
}
