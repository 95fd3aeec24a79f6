package page

import (
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// seenColors is the JavaScript for the colors of an element, with the one behind it where it has no background.
const seenColors = `((e) => {
	const { color, backgroundColor, borderColor, borderStyle } = getComputedStyle(e);
	const background = /^rgba\(.*, 0\)$/.test(backgroundColor) ? getComputedStyle(ui("#panel")).backgroundColor : backgroundColor;
	return [color, background, borderColor, borderStyle].join(' ');
})`

// unseen finds the controls and the boxes that a visitor does not see whose colors are the same for all pages: without a border
// of a color other than that behind it, and pictures whose lines have the color behind them.
const unseen = `(() => {
	const styleOf = (e) => getComputedStyle(e);
	const isClear = (color) => /^rgba\(.*, 0\)$/.test(color);
	const behind = (e) => {
		for (e = ui.around(e); e; e = ui.around(e)) if (!isClear(styleOf(e).backgroundColor)) return styleOf(e).backgroundColor;
		return styleOf(document.documentElement).backgroundColor;
	};
	const hasBorder = (e) => ['Top', 'Bottom'].every((side) => {
		const style = styleOf(e);
		return parseFloat(style['border' + side + 'Width']) > 0 && style['border' + side + 'Style'] !== 'none' &&
			!isClear(style['border' + side + 'Color']) && style['border' + side + 'Color'] !== behind(e);
	});
	const boxes = ui.all('button, #composer .box, .question, .code, .details, th, td').filter((e) => e.checkVisibility() && !hasBorder(e));
	const pictures = ui.all('svg').filter((e) => e.checkVisibility() && (isClear(styleOf(e).stroke) || styleOf(e).stroke === behind(e)));
	return [...boxes, ...pictures].map((e) => e.localName + '.' + (e.getAttribute('class') ?? '') + (e.id && '#' + e.id));
})()`

// Where the user's own colors replace those of all pages, backgrounds are gone. Controls and boxes have borders then, and what is
// pressed, disabled or busy looks different from what is not.
func TestBrowserInTheUsersColors(t *testing.T) {
	b := openBrowser(t)
	s := sitetest.Serve(t, statesSite(newChatStates(t)))
	for _, state := range states {
		t.Run(state.name, func(t *testing.T) {
			b := b.in(t)
			b.use(forced)
			b.begin(s, englishPage)
			if !eval[bool](b, `matchMedia("(forced-colors: active)").matches`) {
				t.Fatal("the browser does not use the user's colors")
			}
			state.reach(b)
			b.nextFrame()
			if got := eval[[]string](b, unseen); len(got) > 0 {
				t.Errorf("not to be seen: %q", got)
			}
		})
	}
	t.Run("what is pressed", func(t *testing.T) {
		b := b.in(t)
		b.use(forced)
		b.begin(s, englishPage)
		b.say("end")
		b.answered()
		before := eval[string](b, seenColors+`(ui(".helpful"))`)
		b.focus(".helpful")
		b.press(keySpace)
		b.eventually(`ui(".helpful").ariaPressed === "true"`)
		b.focus("#question")
		if got := eval[string](b, seenColors+`(ui(".helpful"))`); got == before {
			t.Errorf("a pressed button looks as before: %s", got)
		}
	})
	t.Run("a closed bubble", func(t *testing.T) {
		b := b.in(t)
		b.use(forced)
		b.forget()
		b.open(s.Plain + bubblePage)
		b.eventually(`ui(".launcher")`)
		if got := eval[[]string](b, unseen); len(got) > 0 {
			t.Errorf("not to be seen: %q", got)
		}
	})
}
