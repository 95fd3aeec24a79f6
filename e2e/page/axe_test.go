package page

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// axeScript is axe-core, which finds what keeps people with a disability from using a page.
const axeScript = packages + "/node_modules/axe-core/axe.min.js"

// axeRun runs all rules of axe-core for WCAG 2.2 at the levels A and AA, and those of its best practices. It returns what
// violates them, each with the element and the reason.
const axeRun = `axe.run(document, {
	resultTypes: ['violations'],
	runOnly: { type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] },
}).then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map(({ target, any, all, none }) => {
	const why = [...any, ...all, ...none].map(({ message }) => message).join('; ');
	return id + ' at ' + target.flat().join(' > ') + ': ' + why;
})))`

// violations returns what axe-core finds wrong with the page as it is.
func (b *browser) violations() []string {
	b.tb.Helper()
	if !eval[bool](b, `Boolean(globalThis.axe)`) {
		script, err := os.ReadFile(axeScript)
		if err != nil {
			b.tb.Fatal(err)
		}
		// The page's Content-Security-Policy keeps the page from loading it, but not DevTools.
		eval[chromedp.Void](b, string(script))
	}
	return eval[[]string](b, axeRun)
}

// axe-core finds faults of each kind, in a shadow root too. So a page without findings has none of them.
func TestAxeFindsFaults(t *testing.T) {
	requirePackages(t, packages)
	b := openBrowser(t)
	b.open("about:blank")
	eval[chromedp.Void](b, `
		document.documentElement.lang = 'en';
		document.title = 'Faults';
		document.body.innerHTML = '<main><h1>Faults</h1><x-chat></x-chat></main>';
		document.querySelector('x-chat').attachShadow({ mode: 'open' }).innerHTML = `+"`"+`
			<p style="color: #999; background: #fff">Pale</p>
			<input>
			<p tabindex="3">First</p>
			<button style="width: 9px; height: 9px; padding: 0">a</button><button style="width: 9px; height: 9px; padding: 0">b</button>
		`+"`"+`;
	`)
	got := b.violations()
	for _, rule := range []string{"color-contrast", "label", "tabindex", "target-size"} {
		if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, rule+" at x-chat > ") }) {
			t.Errorf("axe-core does not find %s: %q", rule, got)
		}
	}
}
