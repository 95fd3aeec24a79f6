package page

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/docstest"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// readPackage returns the text of a file of the package.
func readPackage(tb testing.TB, file string) string {
	tb.Helper()
	text, err := os.ReadFile(packageDir + "/" + file)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// packageReadme returns the blocks of code in the package's README that are in a language.
func packageReadme(tb testing.TB, language string) (blocks []string) {
	tb.Helper()
	blocks = docstest.Read(tb, "client/README.md").In(language)
	if len(blocks) == 0 {
		tb.Fatalf("the package's README has no %s", language)
	}
	return blocks
}

// Users can copy what the package's README shows. Its code for useChat and all other code is compiled in TestPackageTypes.
func TestPackageReadme(t *testing.T) {
	requirePackages(t, packageDir)
	node := newNode(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	serve := func(dir string) *sitetest.Site {
		return sitetest.Serve(t, sitetest.ChatTo(server, "resume")+"\nroot "+dir+"\nfile_server")
	}
	js := packageReadme(t, "js")
	html := packageReadme(t, "html")
	if len(js) != 3 || len(html) != 2 {
		t.Fatalf("the README has %d blocks of JavaScript and %d of HTML, and this test knows 3 and 2", len(js), len(html))
	}

	t.Run("languages", func(t *testing.T) {
		var known []string
		for _, block := range docstest.Read(t, "client/README.md").Blocks() {
			known = append(known, block.Language)
		}
		slices.Sort(known)
		if got := slices.Compact(known); !slices.Equal(got, []string{"html", "js", "jsx", "sh"}) {
			t.Errorf("the README has code in %q, which is not all tested", got)
		}
	})

	t.Run("install", func(t *testing.T) {
		var manifest struct {
			Name            string
			DevDependencies map[string]string
		}
		if err := json.Unmarshal([]byte(readPackage(t, "package.json")), &manifest); err != nil {
			t.Fatal(err)
		}
		for _, command := range packageReadme(t, "sh") {
			words := strings.Fields(command)
			if len(words) < 3 || !slices.Equal(words[:3], []string{"npm", "install", manifest.Name}) {
				t.Fatalf("the command is %q", command)
			}
			for _, name := range words[3:] {
				if manifest.DevDependencies[name] == "" {
					t.Errorf("nothing is tested with %s", name)
				}
			}
		}
	})

	t.Run("a chat", func(t *testing.T) {
		dir := t.TempDir()
		sitetest.WriteFile(t, dir+"/page.js", js[0])
		installPackage(t, dir)
		run(t, dir, tool(t, "esbuild"), "page.js", "--bundle", "--format=esm", "--outfile=bundle.js")
		sitetest.WriteFile(t, dir+"/index.html", "<!DOCTYPE html><title>Chat</title><body><script type=module src=bundle.js></script>")
		b := openBrowser(t)
		b.open(serve(dir).Plain)
		b.shows(sitetest.SandboxText(t, "What can you do?"))
	})

	t.Run("without npm", func(t *testing.T) {
		dir := t.TempDir()
		sitetest.WriteFile(t, dir+"/index.html", html[1])
		copyPackage(t, dir, "illumichat.js", "lib")
		b := openBrowser(t)
		b.open(serve(dir).Plain)
		eval[any](b, `document.querySelector("input").value = "Hello"; document.querySelector("button").click()`)
		b.shows(sitetest.SandboxText(t, "Hello"))
	})

	t.Run("the element, without npm", func(t *testing.T) {
		dir := t.TempDir()
		sitetest.WriteFile(t, dir+"/index.html", "<!DOCTYPE html><title>Shop</title><body>"+html[0])
		copyPackage(t, dir, "illumichat.js", "lib", "element.js", "element", "markdown.js", "markdown")
		b := openBrowser(t)
		b.open(serve(dir).Plain)
		b.click(".launcher")
		b.click(".suggestion")
		b.answered()
		if got := b.shown(); !slices.Equal(got, []string{"Where is my order?"}) {
			t.Errorf("the chat shows %q", got)
		}
	})

	t.Run("the element", func(t *testing.T) {
		dir := t.TempDir()
		sitetest.WriteFile(t, dir+"/page.js", js[1])
		installPackage(t, dir)
		run(t, dir, tool(t, "esbuild"), "page.js", "--bundle", "--format=esm", "--splitting", "--outdir=out")
		sitetest.WriteFile(t, dir+"/index.html", "<!DOCTYPE html><title>Shop</title><body><script type=module src=out/page.js></script>")
		b := openBrowser(t)
		b.open(serve(dir).Plain)
		eval[any](b, `globalThis.logged = []; console.log = (...values) => logged.push(values.join(" "))`)
		b.click(".launcher")
		b.say("Hello")
		b.answered()
		b.click(".helpful")
		b.eventually(`logged.includes("Hello true") && ui("#send").textContent === "Go"`)
	})

	t.Run("low level", func(t *testing.T) {
		dir := t.TempDir()
		const url = "https://example.com/api/chat-proxy"
		if !strings.Contains(js[2], url) {
			t.Fatalf("the code does not ask %s", url)
		}
		sitetest.WriteFile(t, dir+"/page.mjs", strings.ReplaceAll(js[2], url, serve(dir).Plain+sitetest.ChatPath))
		installPackage(t, dir)
		printed := run(t, dir, node, "page.mjs")
		if first, again, _ := strings.Cut(printed, "again"); !strings.HasSuffix(first, "finish\n") || !strings.HasSuffix(again, "again finish\n") {
			t.Errorf("it prints %q", printed)
		}
	})
}

// shows waits until the page's paragraph has a text.
func (b *browser) shows(text string) {
	b.tb.Helper()
	encoded, err := json.Marshal(text)
	if err != nil {
		b.tb.Fatal(err)
	}
	b.eventually(`document.querySelector("p")?.textContent === ` + string(encoded))
}

// copyPackage copies files and folders of the package into a directory, as people without npm do.
func copyPackage(tb testing.TB, dir string, names ...string) {
	tb.Helper()
	for _, name := range names {
		if strings.HasSuffix(name, ".js") {
			sitetest.WriteFile(tb, dir+"/"+name, readPackage(tb, name))
		} else if err := os.CopyFS(dir+"/"+name, os.DirFS(packageDir+"/"+name)); err != nil {
			tb.Fatal(err)
		}
	}
}

// installPackage makes the package available to the modules in a directory.
func installPackage(tb testing.TB, dir string) {
	tb.Helper()
	if err := os.Mkdir(filepath.Join(dir, "node_modules"), 0o755); err != nil {
		tb.Fatal(err)
	}
	link(tb, packageDir, filepath.Join(dir, "node_modules/caddy-illumichat"))
}

var (
	typedef  = regexp.MustCompile(`(?s)@typedef \{object\} (\w+)\n(.*?)\*/`)
	pageCode = regexp.MustCompile(`'[a-z_]+:(?:connection|page)'`) // of an error that the package itself makes
	property = regexp.MustCompile(`@property \{.*\} \[?(\w+)`)
)

// The package's README names each option, each member and function that a page can use, and each code of its own.
func TestPackageReadmeNamesAll(t *testing.T) {
	readme := readPackage(t, "README.md")
	options := make(map[string][]string)
	for _, file := range []string{"illumichat.js", "ai-sdk.js", "markdown.js", "lib/answer.js", "lib/request.js"} {
		for _, match := range typedef.FindAllStringSubmatch(readPackage(t, file), -1) {
			for _, name := range property.FindAllStringSubmatch(match[2], -1) {
				options[match[1]] = append(options[match[1]], name[1])
			}
		}
	}
	var names []string
	for _, kind := range []string{
		"ChatOptions", "SendOptions", "TransportOptions", "ConnectOptions", "ReadOptions", "OpenOptions", "MarkdownOptions", "MarkdownLabels",
	} {
		if len(options[kind]) == 0 {
			t.Errorf("%s has no options", kind)
		}
		names = append(names, options[kind]...)
	}
	script := `
		const core = await import(process.argv[1] + '/illumichat.js');
		const sdk = await import(process.argv[1] + '/ai-sdk.js');
		const markdown = await import(process.argv[1] + '/markdown.js');
		const members = ({ prototype }) => Object.getOwnPropertyNames(prototype);
		const { IllumichatChat: element } = await import(process.argv[1] + '/element.js');
		const modules = [core, sdk, markdown].flatMap(Object.keys);
		const callbacks = ['connectedCallback', 'disconnectedCallback', 'attributeChangedCallback'];
		const names = [...modules, ...Object.keys(new core.Chat('/')), ...members(core.Chat), ...members(markdown.MarkdownView),
			...element.observedAttributes, ...members(element).filter((name) => !callbacks.includes(name))];
		console.log(JSON.stringify(names.filter((name) => name !== 'constructor')));`
	top, err := filepath.Abs(packageDir)
	if err != nil {
		t.Fatal(err)
	}
	printed, err := exec.CommandContext(t.Context(), anyNode(t), "--input-type=module", "-e", script, top).Output()
	var members []string
	if err == nil {
		err = json.Unmarshal(printed, &members)
	}
	if err != nil || len(members) == 0 {
		t.Fatalf("%v: %s", err, printed)
	}
	for _, match := range regexp.MustCompile(`@property \{.*\} (illumichat-\w+)`).FindAllStringSubmatch(readPackage(t, "element.js"), -1) {
		members = append(members, match[1])
	}
	for _, match := range regexp.MustCompile(`var\((--illumichat-[a-z-]+)`).FindAllStringSubmatch(readPackage(t, "element/style.js"), -1) {
		if match[1] != "--illumichat-viewport-height" { // the element sets it itself
			members = append(members, match[1])
		}
	}
	for _, name := range append(names, members...) {
		if !regexp.MustCompile("`(new )?" + name + `\b`).MatchString(readme) {
			t.Errorf("the package's README does not name %s", name)
		}
	}

	codes := 0
	for _, directory := range []string{"", "lib", "ai-sdk"} {
		modules, err := filepath.Glob(filepath.Join(packageDir, directory, "*.js"))
		if err != nil {
			t.Fatal(err)
		}
		for _, module := range modules {
			for _, code := range pageCode.FindAllString(readPackage(t, strings.TrimPrefix(module, packageDir+"/")), -1) {
				codes++
				if code = strings.Trim(code, "'"); !strings.Contains(readme, "`"+code+"`") {
					t.Errorf("the package's README does not name the code %s", code)
				}
			}
		}
	}
	if codes < 10 {
		t.Errorf("%d codes were found", codes)
	}
}
