package page

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

const directive = "illumichat_page"

func init() {
	httpcaddyfile.RegisterDirective(directive, parseCaddyfile)
}

// parseCaddyfile returns the route of a directive. A matcher that is one path says where the page is. It is then replaced
// by a matcher for the page and its files, because `/chat` alone would not match the files.
func parseCaddyfile(helper httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	helper.Next() // the directive's name
	h := new(Handler)
	if helper.NextArg() {
		h.Path = pathOf(helper.Val())
	}
	helper.Reset()
	helper.Next()
	matcher, err := helper.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	switch h.Path {
	case "":
	case "/":
		matcher = nil
	default:
		matcher = caddy.ModuleMap{"path": helper.JSON(caddyhttp.MatchPath{h.Path, h.Path + "/*"})}
	}
	if err := h.UnmarshalCaddyfile(helper.Dispenser); err != nil {
		return nil, err
	}
	return helper.NewRoute(matcher, h), nil
}

// pathPattern matches a path matcher for a folder and what is in it.
var pathPattern = regexp.MustCompile(`^(/[^*?#%{}\\]*?)/?\*?$`)

// pathOf returns the page's path for a path matcher, or "" for any other matcher.
func pathOf(matcher string) string {
	match := pathPattern.FindStringSubmatch(matcher)
	if match == nil || checkPath(match[1]) != nil {
		return ""
	}
	return match[1]
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	illumichat_page [<matcher>] {
//		chat        <path or URL>
//		assistant   <name>
//		title       <text>
//		greeting    <text>
//		suggestions <text...>
//		lang        <tag>
//		theme       <file.css>
//		csp         off
//	}
//
// Only `suggestions` may be repeated. A matcher that is one path, such as `/chat`, `/chat/*` or `/chat*`, says where the page is:
// each of these three matches `/chat` and all that is below it.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return values.PrintableError(h.unmarshalCaddyfile(d))
}

func (h *Handler) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return values.Surplus(d, d.Val(), "one matcher may follow the directive, such as /chat*; write a title into the block")
	}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		name := d.Val()
		if seen[name] && name != "suggestions" {
			return d.Errf("%s is already specified", name)
		}
		seen[name] = true
		if err := h.unmarshalSubdirective(d, name); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) unmarshalSubdirective(d *caddyfile.Dispenser, name string) error {
	if name == "suggestions" {
		return h.unmarshalSuggestions(d)
	}
	for _, o := range h.options() {
		if o.name == name {
			return unmarshalWord(d, o)
		}
	}
	return d.Errf("unrecognized subdirective '%s'%s", values.Printable(name), didYouMean(name))
}

// unmarshalWord reads the only argument of the option at d.
func unmarshalWord(d *caddyfile.Dispenser, o option) error {
	word, err := values.OneArg(d, examples[o.name])
	switch {
	case err != nil:
		return err
	case word == "":
		return d.Errf("%s is empty; an example is: %s", o.name, examples[o.name])
	}
	if err := o.check(word); err != nil {
		return d.Errf("%s: %w", o.name, err)
	}
	*o.value = word
	return nil
}

func (h *Handler) unmarshalSuggestions(d *caddyfile.Dispenser) error {
	texts := d.RemainingArgs()
	if len(texts) == 0 {
		return values.Missing(d, examples["suggestions"])
	}
	if err := checkTexts(texts); err != nil {
		return d.Errf("suggestions: %w", err)
	}
	h.Suggestions = append(h.Suggestions, texts...)
	return nil
}

// examples has a line for each option. Its keys are the options' names.
var examples = map[string]string{
	"chat":        "chat " + defaultChat,
	"assistant":   "assistant support",
	"title":       `title "Ask us"`,
	"greeting":    `greeting "How can we help?"`,
	"suggestions": `suggestions "Where is my order?" "How do I return it?"`,
	"lang":        "lang de",
	"theme":       "theme /etc/caddy/chat.css",
	"csp":         "csp off",
}

// synonyms maps names that options of other software, or attributes of the element, have to ours.
var synonyms = map[string]string{
	"url": "chat", "endpoint": "chat", "proxy": "chat", "upstream": "chat", "model": "assistant",
	"heading": "title", "name": "title", "welcome": "greeting", "prompts": "suggestions", "questions": "suggestions",
	"locale": "lang", "language": "lang", "css": "theme", "style": "theme", "stylesheet": "theme", "content_security_policy": "csp",
}

// didYouMean returns the end of an error about an unknown option: the option that may be meant, or nothing.
func didYouMean(name string) string {
	if meant := synonyms[strings.ToLower(name)]; meant != "" {
		return "; did you mean " + meant + "?"
	}
	return values.DidYouMean(name, slices.Sorted(maps.Keys(examples))...)
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
