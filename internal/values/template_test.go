package values

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// replacer returns a replacer that knows the placeholders {a}, {b} and {empty}. The value of {b} looks like a placeholder.
func replacer(a, b string) *caddy.Replacer {
	repl := caddy.NewEmptyReplacer()
	repl.Set("a", a)
	repl.Set("b", b)
	repl.Set("empty", "")
	return repl
}

func TestTemplate(t *testing.T) {
	for source, want := range map[string]string{
		"{a}": "X", "u:{a}!": "u:X!", "{b}": "{A}", "{a}{b}": "1:X3:{A}", "{a}/{a}": "1:X/1:X", "word": "word", "": "", `\{a\}{a}`: "{a}X",
	} {
		template, err := ParseTemplate(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got, complete := template.Expand(replacer("x", "{a}"), strings.ToUpper); got != want || !complete {
			t.Errorf("%s: got %q (complete: %v), want %q", source, got, complete, want)
		}
		if template.String() != source {
			t.Errorf("%s is shown as %s", source, template)
		}
	}
}

// If any placeholder is empty or unknown, the text is not complete.
func TestTemplateWithAnEmptyPlaceholder(t *testing.T) {
	for _, source := range []string{"{empty}", "u:{empty}", "{a}{empty}", "{empty}{a}", "{nobody.knows}", "{a} {nobody.knows}"} {
		template, err := ParseTemplate(source)
		if err != nil {
			t.Fatal(err)
		}
		if got, complete := template.Expand(replacer("x", "y"), strings.ToUpper); got != "" || complete {
			t.Errorf("%s: got %q (complete: %v)", source, got, complete)
		}
	}
}

// Caddy's address of the other end of a Unix socket says nothing about a visitor.
func TestTemplateWithAUnixPeer(t *testing.T) {
	for _, source := range []string{"{a}", "u:{a}", "{a} {b}", "{b}{a}"} {
		template, err := ParseTemplate(source)
		if err != nil {
			t.Fatal(err)
		}
		if got, complete := template.Expand(replacer("@", "anna"), strings.ToUpper); got != "" || complete {
			t.Errorf("%s: got %q (complete: %v)", source, got, complete)
		}
	}
}

// A visitor who chooses a value cannot give two values the text of two others.
func TestTemplateIsNotForged(t *testing.T) {
	pairs := [][2]string{{"x", "yz"}, {"xy", "z"}, {"1:x", "y"}, {"x1", ":y"}, {"x1:", "y"}, {"1", "1:1"}}
	for _, source := range []string{"{a}{b}", "{a}:{b}", "{a}1:{b}"} {
		template, err := ParseTemplate(source)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string][2]string)
		for _, pair := range pairs {
			text, _ := template.Expand(replacer(pair[0], pair[1]), func(s string) string { return s })
			if other, ok := seen[text]; ok {
				t.Errorf("%s: %q and %q both give %q", source, other, pair, text)
			}
			seen[text] = pair
		}
	}
}

func TestTemplateIsRefused(t *testing.T) {
	for _, source := range []string{"{", "}", "{a", "a}", "{}", "{a{b}}", "{a b}", "{a}}", `{a\}`, `C:\{a}`} {
		if template, err := ParseTemplate(source); err == nil {
			t.Errorf("%s is accepted, with the placeholders %q", source, template.Names())
		}
	}
}

func TestTemplateVaries(t *testing.T) {
	for source, want := range map[string]bool{
		"": false, "word": false, "{env.HOST}": false, "{file./a}{system.hostname}": false, "{time.now}": false,
		"{http.auth.user.id}": true, "{env.HOST} {http.auth.user.id}": true, "{http.request.host}{http.request.header.HOST}": false,
		"{http.request.header.X-Host}": true, "{http.request.hosts}": true, "{http.request.uuid}": false, "{http.request.uri.path.1}": true,
	} {
		template, err := ParseTemplate(source)
		if err != nil {
			t.Fatal(err)
		}
		if got := template.Varies(); got != want {
			t.Errorf("%s varies: %v", source, got)
		}
	}
}
