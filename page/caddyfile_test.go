package page

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/illumichat/caddy-illumichat/internal/docstest"
)

// everySubdirective has each subdirective.
const everySubdirective = `illumichat_page {
	chat https://chat.example.com/api/chat-proxy
	assistant support
	title "Ask us"
	greeting "How can we help?"
	suggestions "Where is my order?" Hello
	lang pt-BR
	theme testdata/theme.css
	csp off
}`

func TestCaddyfileAndJSONSayTheSame(t *testing.T) {
	want := new(Handler)
	if err := want.UnmarshalCaddyfile(caddyfile.NewTestDispenser(everySubdirective)); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatal(err)
	}
	for name := range examples {
		if fields[name] == nil {
			t.Errorf("the JSON has no field %s", name)
		}
	}
	if len(fields) != len(examples) {
		t.Errorf("the JSON is %s, want the fields of %d options", raw, len(examples))
	}
	got := new(Handler)
	if err := caddy.StrictUnmarshalJSON(raw, got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("by JSON: %+v\nby Caddyfile: %+v", got, want)
	}
}

// Every subdirective refuses the mistakes that are possible with all of them, and its example is right.
func TestEverySubdirectiveIsStrict(t *testing.T) {
	for name, example := range examples {
		if err := new(Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser("illumichat_page {\n" + example + "\n}")); err != nil {
			t.Errorf("the example of %s: %v", name, err)
		}
		for what, lines := range map[string]string{
			"repeated":             example + "\n" + example,
			"without a word":       name,
			"with an empty word":   name + ` ""`,
			"with a surplus word":  example + " surplus",
			"with a block":         example + " {\nmore\n}",
			"with a line break":    name + " \"a\nb\"",
			"with a placeholder":   name + " /{env.NAME}",
			"with the API's token": name + " /ic_sandbox000000000000000000000000000000000",
		} {
			if name == "suggestions" && (what == "repeated" || what == "with a surplus word") {
				continue
			}
			err := new(Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser("illumichat_page {\n" + lines + "\n}"))
			if err == nil || !strings.Contains(err.Error(), "Testfile:") || strings.Contains(err.Error(), "ic_sandbox0") {
				t.Errorf("%s %s: got the error %v", name, what, err)
			}
		}
	}
}

func TestPathOf(t *testing.T) {
	for matcher, want := range map[string]string{
		"/chat": "/chat", "/chat/": "/chat", "/chat/*": "/chat", "/chat*": "/chat", "/a/b*": "/a/b", "/ü*": "/ü",
		"/": "/", "/*": "/",
		"*": "", "@named": "", "title": "", "/a/*/b": "", "/*.js": "", "/a?": "", "/{path}": "", "/a%20b": "", `/a\b`: "", "//": "/", "/a//b*": "",
	} {
		if got := pathOf(matcher); got != want {
			t.Errorf("%s: got %q, want %q", matcher, got, want)
		}
	}
}

// The documentation has each option, with its default, and each key of the JSON.
func TestDocsHaveEveryOption(t *testing.T) {
	page := docstest.Read(t, "docs/caddyfile.md")
	for name := range examples {
		page.WantOption(t, name)
	}
	page.WantDefault(t, "chat", defaultChat)
	page.WantDefault(t, "lang", defaultLang)
	docstest.WantNames(t, []docstest.Page{page}, "key", docstest.JSONKeys(Handler{})...)
}
