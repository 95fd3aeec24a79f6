package illumichat

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
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
	const address = "http://localhost:8080"
	server := sandboxtest.NewServer(t, sandbox.Options{})
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	t.Setenv("ILLUMICHAT_ASSISTANT", sandbox.Assistant)
	t.Setenv("ILLUMICHAT_ENDPOINT", server.URL)

	text, err := os.ReadFile("example/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	adaptSilently(t, string(text))
	if n := strings.Count(string(text), "\n"+address+" {"); n != 1 {
		t.Fatalf("the example has %d sites at %s", n, address)
	}
	s := newSite(t, "")
	s.plain = fmt.Sprintf("http://localhost:%d", freePort(t))
	config := adapt(t, "{\nadmin off\npersist_config off\ndefault_bind 127.0.0.1\ngrace_period 1ms\n}\n"+
		strings.Replace(string(text), "\n"+address, "\n"+s.plain, 1))
	if strings.Contains(string(config), sandbox.Token) {
		t.Error("the adapted config holds the token")
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	load(t, config)

	files, err := filepath.Glob("example/site/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("the example has the files %q, %v", files, err)
	}
	for _, file := range files {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		path := strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(file), "example/site"), "index.html")
		if status, body := s.fetch(t, http.MethodGet, path); status != http.StatusOK || body != string(want) {
			t.Errorf("%s: got %d, %.100q", path, status, body)
		}
	}
	page, err := os.ReadFile("example/site/chat.js")
	if err != nil || !strings.Contains(string(page), chatPath) {
		t.Errorf("the page does not ask %s: %v", chatPath, err)
	}

	resp := s.ask(hello)
	if finish := onlyFinish(t, readAll(t, resp)); finish.FinishReason != "stop" {
		t.Errorf("got the finish %+v", finish)
	}
	if resp.Header.Get("Content-Security-Policy") == "" {
		t.Error("the site's own header is missing")
	}
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
