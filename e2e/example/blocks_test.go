package example

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/docstest"
	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/require"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// languages has a test for the fenced blocks of README.md and docs/*.md in each language. A block in any other language fails.
var languages = map[string]func(*testing.T, docstest.Block){
	"caddyfile":  adaptsSilently,
	"json":       isJSON,
	"js":         chatsAsScript,
	"html":       isPage,
	"jsx":        isTestedBy("e2e/page/package_test.go"),
	"nginx":      isTestedBy("e2e/proxies_test.go"),
	"haproxy":    isTestedBy("e2e/proxies_test.go"),
	"dockerfile": isInAFile,
	"ini":        isInAFile,
	"yaml":       isInAFile,
	"text":       isAReport,
	"sh":         hasCommands,
	"console":    hasCommands,
	"":           isNoCommand, // a syntax summary or an excerpt of a stream
}

// Each fenced block of the documentation can be copied.
func TestBlocks(t *testing.T) {
	for _, page := range docstest.Pages(t) {
		if n := len(regexp.MustCompile("(?m)^ *```").FindAllString(page.Text, -1)); n != 2*len(page.Blocks()) {
			t.Errorf("%s has %d fences and %d blocks", page.File, n, len(page.Blocks()))
		}
		for _, block := range page.Blocks() {
			t.Run(fmt.Sprintf("%s:%d", block.File, block.Line), func(t *testing.T) {
				test, ok := languages[block.Language]
				if !ok {
					t.Fatalf("nothing tests blocks in the language %s", block.Language)
				}
				test(t, block)
			})
		}
	}
}

// wholeCaddyfile matches a Caddyfile that begins with global options, a snippet or the address of a site.
var wholeCaddyfile = regexp.MustCompile(`(?m)\A(?:#.*\n|\n)*(?:\{|\(|:\d|https?://|localhost|[\w*-]+\.[\w.-]+)`)

// adaptsSilently tests that a Caddyfile adapts without a warning, also one about its format. Directives without a site get one.
func adaptsSilently(t *testing.T, block docstest.Block) {
	caddyfile := block.Text
	if !wholeCaddyfile.MatchString(caddyfile) {
		caddyfile = "localhost {\n\t" + strings.ReplaceAll(strings.TrimSpace(caddyfile), "\n", "\n\t") + "\n}\n"
		caddyfile = strings.ReplaceAll(caddyfile, "\t\n", "\n") // empty lines are not indented
	}
	t.Log(caddyfile)
	sitetest.AdaptSilently(t, caddyfile)
}

// isJSON tests that a block is one or more JSON values. A handler, a store or a whole config must also be valid.
func isJSON(t *testing.T, block docstest.Block) {
	decoder := json.NewDecoder(strings.NewReader(block.Text))
	for n := 0; ; n++ {
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			if n == 0 || !errors.Is(err, io.EOF) {
				t.Errorf("%d values, and then: %v", n, err)
			}
			return
		}
		var fields map[string]any
		if json.Unmarshal(value, &fields) != nil {
			continue
		}
		text := onThisMachine(t, string(value))
		if fields["handler"] == nil && fields["module"] != nil {
			text = fmt.Sprintf(`{"handler": "illumichat", "token": "{env.ILLUMICHAT_API_TOKEN}", "assistants": ["asst_abc123"], "store": %s}`, text)
		}
		switch {
		case fields["handler"] != nil || fields["module"] != nil:
			text = fmt.Sprintf(`{"apps": {"http": {"servers": {"srv0": {"listen": [":80"], "routes": [{"handle": [%s]}]}}}}}`, text)
		case fields["apps"] == nil:
			continue
		}
		t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
		if err := sitetest.Validate(t, []byte(text)); err != nil {
			t.Errorf("%v in %s", err, text)
		}
	}
}

var (
	themeInJSON = regexp.MustCompile(`("theme":\s*)"[^"]*"`)
	certInJSON  = regexp.MustCompile(`("(?:client_certificate_file|pem_files)":\s*\[?\s*)"[^"]*"`)
	keyInJSON   = regexp.MustCompile(`("client_certificate_key_file":\s*)"[^"]*"`)
)

// onThisMachine replaces the files that a config needs by files that exist.
func onThisMachine(t *testing.T, config string) string {
	theme, err := filepath.Abs("page/testdata/theme.css")
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := localhost.Certificate(t)
	config = themeInJSON.ReplaceAllString(config, fmt.Sprintf(`${1}%q`, theme))
	config = certInJSON.ReplaceAllString(config, fmt.Sprintf(`${1}%q`, certFile))
	return keyInJSON.ReplaceAllString(config, fmt.Sprintf(`${1}%q`, keyFile))
}

// chatsAsScript tests that a script, which declares the function ask, works in a page as it is.
func chatsAsScript(t *testing.T, block docstest.Block) {
	node := require.Program(t, "node")
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, sitetest.Once))
	// A page loads its scripts as modules. Node does so if package.json says it.
	dir := t.TempDir()
	client := filepath.Dir(sitetest.PageClient)
	if err := os.CopyFS(filepath.Join(dir, "lib"), os.DirFS(filepath.Join(client, "lib"))); err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile(sitetest.PageClient)
	if err != nil {
		t.Fatal(err)
	}
	sitetest.WriteFile(t, filepath.Join(dir, "illumichat.js"), string(module))
	sitetest.WriteFile(t, filepath.Join(dir, "package.json"), `{"type": "module"}`)
	// A page has elements, and an address to which its requests' URLs are relative. Node has neither.
	sitetest.WriteFile(t, filepath.Join(dir, "page.js"), fmt.Sprintf("globalThis.location = new URL(%q);\n", s.Plain)+block.Text+`
		const element = { append: (text) => process.stdout.write(text) };
		await ask('Hello', element);
		await ask('/status 400', element);
	`)
	got, err := exec.CommandContext(t.Context(), node, filepath.Join(dir, "page.js")).CombinedOutput()
	if want := sitetest.SandboxText(t, "Hello") + " (The request is not valid.)"; err != nil || string(got) != want {
		t.Errorf("the script shows %q, %v, want %q", got, err, want)
	}
}

var (
	scriptInHTML    = regexp.MustCompile(`<script type="module" src="([^"]+)"></script>`)
	elementInHTML   = regexp.MustCompile(`<illumichat-chat([^>]*)></illumichat-chat>`)
	attributeInHTML = regexp.MustCompile(`([a-z-]+)(?:="[^"]*")?`)
)

// isPage tests a page or a part of one. Chromium opens those of README.md.
func isPage(t *testing.T, block docstest.Block) {
	if block.File == "README.md" {
		isTestedBy("e2e/page/browser_readme_test.go")(t, block)
		return
	}
	findsTheElement(t, block)
}

// findsTheElement tests that a part of a page has the chat as an element: `illumichat_page /chat*` serves its module, and
// client/README.md lists its attributes. The tests in e2e/page show that such an element works.
func findsTheElement(t *testing.T, block docstest.Block) {
	script, element := scriptInHTML.FindStringSubmatch(block.Text), elementInHTML.FindStringSubmatch(block.Text)
	if script == nil || element == nil {
		t.Fatalf("the page has no script and element as this test knows them:\n%s", block.Text)
	}
	s := sitetest.Serve(t, "illumichat_page /chat*")
	resp, err := http.Get(s.Plain + script[1])
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(got, "text/javascript") {
		t.Errorf("%s is %s, %s", script[1], resp.Status, got)
	}
	readme := []docstest.Page{docstest.Read(t, "client/README.md")}
	for _, attribute := range attributeInHTML.FindAllStringSubmatch(element[1], -1) {
		docstest.WantNames(t, readme, "attribute", attribute[1])
	}
}

// isTestedBy returns a test that a test file knows the block's language.
func isTestedBy(file string) func(*testing.T, docstest.Block) {
	return func(t *testing.T, block docstest.Block) {
		if !strings.Contains(docstest.Read(t, file).Text, `"`+block.Language+`"`) {
			t.Errorf("%s does not test blocks in the language %s", file, block.Language)
		}
	}
}

// filesOf has the patterns of the files from which blocks are copied, by their language.
var filesOf = map[string]*regexp.Regexp{
	"dockerfile": regexp.MustCompile(`^(?:example/.*/)?Dockerfile$`),
	"ini":        regexp.MustCompile(`^example/systemd/`),
	"yaml":       regexp.MustCompile(`^(?:example|\.github)/.*\.ya?ml$`),
}

// isInAFile tests that a block is a part of a file of the repository. Its indentation may be less.
func isInAFile(t *testing.T, block docstest.Block) {
	found := false
	for _, file := range repositoryFiles(t) {
		if filesOf[block.Language].MatchString(file) && !found {
			found = isPartOf(docstest.Read(t, file).Text, block.Text)
		}
	}
	if !found {
		t.Errorf("the block is no part of a file %s", filesOf[block.Language])
	}
}

// isPartOf reports whether the lines of part follow one another in text, all indented by the same white space.
func isPartOf(text, part string) bool {
	lines, wanted := strings.Split(text, "\n"), strings.Split(strings.TrimRight(part, "\n"), "\n")
	for i := range len(lines) - len(wanted) + 1 {
		indent, ok := strings.CutSuffix(lines[i], wanted[0])
		same := func(line, want string) bool { return line == want || line == indent+want }
		if ok && strings.TrimSpace(indent) == "" && slices.EqualFunc(lines[i:i+len(wanted)], wanted, same) {
			return true
		}
	}
	return false
}

// repositoryFiles returns the files of the repository, except those of packages that npm has installed.
func repositoryFiles(t *testing.T) (files []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS("."), ".", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git" || entry.Name() == "testdata"):
			return fs.SkipDir
		case entry.Type().IsRegular() && entry.Name() != ".git":
			files = append(files, file)
		}
		return nil
	})
	if err != nil || len(files) < 300 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	return files
}

// checkedSite is the site whose report docs/operate.md shows: a single-page site whose chat has no handle block.
const checkedSite = `example.com {
	root /srv/www
	try_files {path} /index.html
	file_server

	illumichat /api/chat-proxy {
		token {env.ILLUMICHAT_API_TOKEN}
		assistants asst_abc123
	}
}
`

// isAReport tests that a block is the beginning of what `caddy illumichat check --config` reports on checkedSite.
func isAReport(t *testing.T, block docstest.Block) {
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	file := filepath.Join(t.TempDir(), "Caddyfile")
	sitetest.WriteFile(t, file, checkedSite)
	if report, _, status := sitetest.Command(t, nil, "illumichat", "check", "--config", file); status != 1 || !strings.HasPrefix(report, block.Text) {
		t.Errorf("the exit status is %d and the report\n%s\nwant it to begin\n%s", status, report, block.Text)
	}
}

// isNoCommand tests that a block without a language is not one that should have the language sh, console or json.
func isNoCommand(t *testing.T, block docstest.Block) {
	if regexp.MustCompile(`(?m)^(?:\$ |(?:sudo )?(?:caddy|xcaddy|curl|docker|kubectl|systemctl|go|npm|apt) )`).MatchString(block.Text) {
		t.Errorf("the block has a command and no language:\n%s", block.Text)
	}
	if json.Valid([]byte(block.Text)) {
		t.Errorf("the block is JSON and has no language:\n%s", block.Text)
	}
}
