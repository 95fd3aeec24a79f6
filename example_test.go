package illumichat

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

// adaptSilently adapts a Caddyfile that must not give rise to a warning.
func adaptSilently(tb testing.TB, caddyfile string) []byte {
	tb.Helper()
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		tb.Fatalf("adapting the Caddyfile: %v", err)
	}
	for _, w := range warnings {
		tb.Errorf("adapting the Caddyfile: %s", w)
	}
	return config
}

func TestExampleServesItsPageAndAChat(t *testing.T) {
	const site = "http://localhost:8080"
	e := runExample(t, "Caddyfile", sandbox.Options{})
	e.wantPage(t, site)
	e.wantPolicy(t, site, "'self'")
	if page := readExample(t, "site/chat.js"); !strings.Contains(page, chatPath) {
		t.Errorf("the page does not ask %s", chatPath)
	}
	wantAnswer(t, e.chat(t, site, hello))
}

var (
	fencedCaddyfile = regexp.MustCompile("(?ms)^( *)```caddyfile\n(.*?)^ *```")

	// wholeCaddyfile begins with global options, a snippet or the address of a site.
	wholeCaddyfile = regexp.MustCompile(`(?m)\A(?:#.*\n|\n)*(?:\{|\(|:\d|https?://|localhost|[\w*-]+\.[\w.-]+)`)
)

// Who copies a piece of the README must get a config that loads.
func TestReadmeCaddyfilesAdapt(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("there is no README.md yet")
	}
	if err != nil {
		t.Fatal(err)
	}
	blocks := fencedCaddyfile.FindAllSubmatch(readme, -1)
	if len(blocks) == 0 {
		t.Fatal("README.md has no Caddyfile")
	}
	for i, block := range blocks {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			indent := string(block[1]) // of a block in a list
			caddyfile := strings.ReplaceAll("\n"+string(block[2]), "\n"+indent, "\n")[1:]
			if !wholeCaddyfile.MatchString(caddyfile) {
				caddyfile = "localhost {\n\t" + strings.ReplaceAll(strings.TrimSpace(caddyfile), "\n", "\n\t") + "\n}\n"
				caddyfile = strings.ReplaceAll(caddyfile, "\t\n", "\n") // empty lines are not indented
			}
			t.Log(caddyfile)
			adaptSilently(t, caddyfile)
		})
	}
}

var fencedJSON = regexp.MustCompile("(?s)```json\n(\\{\n\t\"handler\": \"illumichat\",.*?\n\\})\n```")

func TestReadmeJSONLoads(t *testing.T) {
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := fencedJSON.FindAllSubmatch(readme, -1)
	if len(blocks) == 0 {
		t.Fatal("README.md has no JSON of the handler")
	}
	for _, block := range blocks {
		config := fmt.Sprintf(`{"apps": {"http": {"servers": {"srv0": {"listen": [":80"], "routes": [{"handle": [%s]}]}}}}}`, block[1])
		if err := validate(t, []byte(config)); err != nil {
			t.Error(err)
		}
	}
}
