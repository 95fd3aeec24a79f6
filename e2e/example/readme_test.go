package example

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/require"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// fenced returns the code blocks of README.md in a language.
func fenced(tb testing.TB, language string) (blocks []string) {
	tb.Helper()
	for _, match := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(sitetest.Readme(tb), -1) {
		blocks = append(blocks, match[1])
	}
	if len(blocks) == 0 {
		tb.Fatalf("README.md has no %s", language)
	}
	return blocks
}

var (
	fencedCaddyfile = regexp.MustCompile("(?ms)^( *)```caddyfile\n(.*?)^ *```")

	// wholeCaddyfile matches a Caddyfile that begins with global options, a snippet or the address of a site.
	wholeCaddyfile = regexp.MustCompile(`(?m)\A(?:#.*\n|\n)*(?:\{|\(|:\d|https?://|localhost|[\w*-]+\.[\w.-]+)`)
)

// Each Caddyfile in the README adapts without a warning, so that users can copy it.
func TestReadmeCaddyfilesAdapt(t *testing.T) {
	blocks := fencedCaddyfile.FindAllStringSubmatch(sitetest.Readme(t), -1)
	if len(blocks) == 0 {
		t.Fatal("README.md has no Caddyfile")
	}
	for i, block := range blocks {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			indent := block[1] // of a block in a list
			caddyfile := strings.ReplaceAll("\n"+block[2], "\n"+indent, "\n")[1:]
			if !wholeCaddyfile.MatchString(caddyfile) {
				caddyfile = "localhost {\n\t" + strings.ReplaceAll(strings.TrimSpace(caddyfile), "\n", "\n\t") + "\n}\n"
				caddyfile = strings.ReplaceAll(caddyfile, "\t\n", "\n") // empty lines are not indented
			}
			t.Log(caddyfile)
			sitetest.AdaptSilently(t, caddyfile)
		})
	}
}

var fencedJSON = regexp.MustCompile("(?s)```json\n(\\{\n\t\"handler\": \"illumichat(?:_page)?\",.*?\n\\})\n```")

// The JSON of each handler in the README is a valid config.
func TestReadmeJSONLoads(t *testing.T) {
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	blocks := fencedJSON.FindAllStringSubmatch(sitetest.Readme(t), -1)
	if len(blocks) != 2 {
		t.Fatalf("README.md has JSON of %d handlers", len(blocks))
	}
	for _, block := range blocks {
		config := fmt.Sprintf(`{"apps": {"http": {"servers": {"srv0": {"listen": [":80"], "routes": [{"handle": [%s]}]}}}}}`, block[1])
		if err := sitetest.Validate(t, []byte(config)); err != nil {
			t.Error(err)
		}
	}
}

// The commands in example/README.md work as they are. Each is one line, with the variables that it needs.
func TestCommandsThatCheckAnExample(t *testing.T) {
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(sitetest.ReadExample(t, "README.md"), -1)
	if len(blocks) != 1 {
		t.Fatalf("example/README.md has %d blocks of commands", len(blocks))
	}
	for _, name := range []string{"ILLUMICHAT_API_TOKEN", "ILLUMICHAT_ASSISTANT", "ILLUMICHAT_ENDPOINT"} {
		t.Setenv(name, "")
	}
	dir := t.TempDir()
	commands := strings.Split(strings.TrimSpace(blocks[0][1]), "\n")
	for i, want := range []string{" validate --config example/Caddyfile", " illumichat check --config example/Caddyfile"} {
		if len(commands) != 2 || !strings.HasSuffix(commands[i], want) || !strings.Contains(commands[i], "="+sandbox.Token+" ") {
			t.Fatalf("the commands are %q, want one that ends with %q", commands, want)
		}
		run := exec.CommandContext(t.Context(), "sh", "-c", commands[i])
		run.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
		if output, err := run.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", commands[i], err, output)
		}
	}
}

// What README.md shows of a report is what the command reports, and the command is as README.md has it.
func TestReadmeShowsAReport(t *testing.T) {
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	file := filepath.Join(t.TempDir(), "Caddyfile")
	sitetest.WriteFile(t, file, `example.com {
		root /srv/www
		try_files {path} /index.html
		file_server

		illumichat /api/chat-proxy {
			token {env.ILLUMICHAT_API_TOKEN}
			assistants asst_abc123
		}
	}`)
	want := fenced(t, "text")
	if len(want) != 1 {
		t.Fatalf("README.md has %d reports", len(want))
	}
	if report, _, status := sitetest.Command(t, nil, "illumichat", "check", "--config", file); status != 1 || !strings.HasPrefix(report, want[0]) {
		t.Errorf("the exit status is %d and the report\n%s\nwant it to begin\n%s", status, report, want[0])
	}
}

// The README's script works in a page as it is.
func TestReadmeScriptChats(t *testing.T) {
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
	for _, script := range fenced(t, "js") {
		// A page has elements, and an address to which its requests' URLs are relative. Node has neither.
		sitetest.WriteFile(t, filepath.Join(dir, "page.js"), fmt.Sprintf("globalThis.location = new URL(%q);\n", s.Plain)+script+`
			const element = { append: (text) => process.stdout.write(text) };
			await ask('Hello', element);
			await ask('/status 400', element);
		`)
		got, err := exec.CommandContext(t.Context(), node, filepath.Join(dir, "page.js")).CombinedOutput()
		if want := sitetest.SandboxText(t, "Hello") + " (The request is not valid.)"; err != nil || string(got) != want {
			t.Errorf("the script shows %q, %v, want %q", got, err, want)
		}
	}
}

// The Dockerfile builds this module with the Caddy version of go.mod, and the README shows the same file. A test cannot
// build it without a container engine, so the file must be as plain as in the documentation of the image.
func TestDockerfileBuildsThisModule(t *testing.T) {
	file, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, instructions, _ := strings.Cut(string(file), "\n\n")
	if blocks := fenced(t, "dockerfile"); len(blocks) != 1 || blocks[0] != instructions {
		t.Error("the README has another Dockerfile")
	}
	module, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	path := regexp.MustCompile(`(?m)^module (\S+)$`).FindSubmatch(module)
	caddy := regexp.MustCompile(`(?m)^\tgithub.com/caddyserver/caddy/v2 v(\S+)$`).FindSubmatch(module)
	want := fmt.Sprintf("FROM caddy:%[1]s-builder AS builder\n\nARG ILLUMICHAT_VERSION=latest\nRUN xcaddy build --with %[2]s@${ILLUMICHAT_VERSION}\n\n"+
		"FROM caddy:%[1]s\n\nCOPY --from=builder /usr/bin/caddy /usr/bin/caddy\n", caddy[1], path[1])
	if instructions != want {
		t.Errorf("the Dockerfile is %q, want %q", instructions, want)
	}
}

// systemd waits for Caddy's open chats: the unit's TimeoutStopSec is longer than each grace_period.
func TestUnitWaitsForGracePeriod(t *testing.T) {
	unit := sitetest.ReadExample(t, "systemd/illumichat.conf")
	_, settings, _ := strings.Cut(unit, "\n\n")
	if blocks := fenced(t, "ini"); len(blocks) != 1 || blocks[0] != settings {
		t.Error("the README has other settings of the unit")
	}
	seconds := func(text, setting string) (n int) {
		match := regexp.MustCompile(`(?m)^\s*` + setting + `(\d+)s$`).FindStringSubmatch(text)
		if match == nil {
			t.Fatalf("there is no %s", setting)
		}
		n, _ = strconv.Atoi(match[1])
		return n
	}
	wait := seconds(unit, "TimeoutStopSec=")
	for _, text := range []string{sitetest.Readme(t), sitetest.ReadExample(t, "production/Caddyfile")} {
		if grace := seconds(text, "grace_period "); wait <= grace {
			t.Errorf("the unit waits for %d s, and Caddy's grace period is %d s", wait, grace)
		}
	}
}

var (
	linkInMarkdown = regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"`)
	headline       = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInAnchor    = regexp.MustCompile("[^a-z0-9 _-]")
)

// Each relative link in the documentation leads to a file, and to a headline in that file if the link has an anchor.
func TestLinksLeadSomewhere(t *testing.T) {
	files := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "sandbox/README.md"}
	for _, pattern := range []string{"example/*.md", "example/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("there are no %s: %v", pattern, err)
		}
		files = append(files, found...)
	}
	read := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	for _, file := range files {
		for _, match := range linkInMarkdown.FindAllStringSubmatch(read(file), -1) {
			link := match[1] + match[2]
			if strings.Contains(link, "://") || strings.HasPrefix(link, "/") { // of another site, or of the reader's own
				continue
			}
			target, anchor, _ := strings.Cut(link, "#")
			if target == "" {
				target = file
			} else {
				target = filepath.Join(filepath.Dir(file), target)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			if anchor == "" {
				continue
			}
			var anchors []string
			for _, line := range headline.FindAllStringSubmatch(read(target), -1) {
				anchors = append(anchors, strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(line[1]), ""), " ", "-"))
			}
			if !slices.Contains(anchors, anchor) {
				t.Errorf("%s: %s has no headline %s", file, target, anchor)
			}
		}
	}
}
