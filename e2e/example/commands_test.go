package example

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/docstest"
	"github.com/illumichat/caddy-illumichat/internal/require"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// commands has each command in the blocks of README.md and docs/*.md. A command that the tests cannot run has a function that
// checks what can be checked, or elsewhere with the reason. To add a command, add its line here.
var commands = map[string]func(*testing.T, command){
	"go run ./cmd/caddy run --config example/Caddyfile": isTheQuickStart,

	"git clone https://github.com/illumichat/caddy-illumichat": clonesThisRepository,
	"cd caddy-illumichat": elsewhere("it is the folder of the clone"),
	"xcaddy build v2.11.9 --with github.com/illumichat/caddy-illumichat@v0.1.0":                                                           buildsThisModule,
	"xcaddy build v2.11.9 --with github.com/illumichat/caddy-illumichat=.":                                                                buildsThisModule,
	"xcaddy build v2.11.9 --with github.com/illumichat/caddy-illumichat=. --with github.com/illumichat/caddy-illumichat/store/redisstore": buildsThisModule,
	"docker build --build-arg ILLUMICHAT_VERSION=v0.1.0 --tag caddy-illumichat:2.11.9-v0.1.0 .":                                           buildsTheImage,

	"caddy list-modules --versions":                             runsWithACaddyfile,
	"./caddy list-modules":                                      runsWithACaddyfile,
	"./caddy validate --config /etc/caddy/Caddyfile":            runsWithACaddyfile,
	"./caddy illumichat check --config /etc/caddy/Caddyfile":    runsWithACaddyfile,
	"caddy illumichat check --config /etc/caddy/Caddyfile":      runsWithACaddyfile,
	"caddy illumichat check https://example.com/api/chat-proxy": checksARunningSite,
	`curl -N -H 'Content-Type: application/json' -d '{"messages": [{"role": "user", "content": "Hello"}]}' http://localhost:8080/api/chat-proxy`: chatsWithCurl,
	"curl localhost:2019/illumichat/": asksTheAdminAPI,

	"sudo dpkg-divert --divert /usr/bin/caddy.default --rename /usr/bin/caddy":          changesTheSystem,
	"sudo mv ./caddy /usr/bin/caddy.custom":                                             changesTheSystem,
	"sudo update-alternatives --install /usr/bin/caddy caddy /usr/bin/caddy.default 10": changesTheSystem,
	"sudo update-alternatives --install /usr/bin/caddy caddy /usr/bin/caddy.custom 50":  changesTheSystem,
	"sudo systemctl daemon-reload":                                                      changesTheSystem,
	"sudo systemctl restart caddy":                                                      changesTheSystem,
	"sudo install -m 640 -o root -g caddy /dev/null /etc/caddy/illumichat_token":        changesTheSystem,
	"sudoedit /etc/caddy/illumichat_token":                                              changesTheSystem,
	"sudo cp /usr/bin/caddy.custom /usr/bin/caddy.previous":                             changesTheSystem,
	"sudo install -m 755 ./caddy /usr/bin/caddy.custom":                                 changesTheSystem,
	"sudo install -m 755 /usr/bin/caddy.previous /usr/bin/caddy.custom":                 changesTheSystem,
}

// command is a command of the documentation.
type command struct {
	file   string
	line   int
	text   string
	output string // what the page shows of it; only in consoles
}

// commandsOf returns the commands of a block.
func commandsOf(block docstest.Block) (found []command) {
	for i, line := range strings.Split(strings.TrimRight(block.Text, "\n"), "\n") {
		text, is := strings.CutPrefix(line, "$ ")
		switch {
		case block.Language == "console" && !is:
			if len(found) > 0 {
				found[len(found)-1].output += line + "\n"
			}
		case strings.TrimSpace(line) != "" && !strings.HasPrefix(strings.TrimSpace(line), "#"):
			found = append(found, command{file: block.File, line: block.Line + i, text: text})
		}
	}
	return found
}

// hasCommands tests that a block has commands, each on a line of its own.
func hasCommands(t *testing.T, block docstest.Block) {
	found := commandsOf(block)
	if len(found) == 0 || block.Language == "console" && !strings.HasPrefix(block.Text, "$ ") {
		t.Errorf("the block does not begin with a command:\n%s", block.Text)
	}
	for _, command := range found {
		if strings.HasSuffix(command.text, "\\") {
			t.Errorf("%s:%d: the command goes on in the next line: %s", command.file, command.line, command.text)
		}
		if block.Language == "sh" && strings.HasPrefix(command.text, "$ ") {
			t.Errorf("%s:%d: the line begins with a prompt: %s", command.file, command.line, command.text)
		}
	}
}

// Each command of the documentation works as it is.
func TestCommands(t *testing.T) {
	unused := make(map[string]bool)
	for text := range commands {
		unused[text] = true
	}
	for _, language := range []string{"sh", "console"} {
		for _, block := range docstest.Blocks(t, language) {
			for _, c := range commandsOf(block) {
				delete(unused, c.text)
				t.Run(fmt.Sprintf("%s:%d", c.file, c.line), func(t *testing.T) {
					test, ok := commands[c.text]
					if !ok {
						t.Fatalf("the table of commands does not have: %s", c.text)
					}
					test(t, c)
				})
			}
		}
	}
	for text := range unused {
		t.Errorf("no page has the command that the table has: %s", text)
	}
}

// elsewhere is for a command that no test of this package can run. The reason says why, or what runs it.
func elsewhere(reason string) func(*testing.T, command) {
	return func(t *testing.T, _ command) { t.Log("not run here:", reason) }
}

// changesTheSystem is for commands of an operator's own machine, a Debian with Caddy's package.
var changesTheSystem = elsewhere("it changes the system, as root")

// isTheQuickStart tests that a command is that of the quick start. TestExampleServesItsPageAndAChat runs its Caddyfile, and
// .ci/smoke.sh runs it with the program of ./cmd/caddy.
func isTheQuickStart(t *testing.T, c command) {
	if header := sitetest.ReadExample(t, "Caddyfile"); !strings.Contains(header, c.text+"\n") {
		t.Errorf("the header of example/Caddyfile does not say %q", c.text)
	}
	if ci := docstest.Read(t, ".ci/run").Text; !strings.Contains(ci, "go build -o \"$bin/caddy\" ./cmd/caddy") {
		t.Error(".ci/run does not build ./cmd/caddy")
	}
	if smoke := docstest.Read(t, ".ci/smoke.sh").Text; !strings.Contains(smoke, "serve_example quick-start") {
		t.Error(".ci/smoke.sh does not serve the quick start")
	}
}

// clonesThisRepository tests that a command clones the repository that go.mod names.
func clonesThisRepository(t *testing.T, c command) {
	if path, _ := docstest.Module(t); c.text != "git clone https://"+path {
		t.Errorf("it does not clone %s", path)
	}
}

// buildsTheImage tests that a command for Docker sets only arguments that the Dockerfile has, and has the version of Caddy in the
// tag. CI has no container engine.
func buildsTheImage(t *testing.T, c command) {
	dockerfile := docstest.Read(t, "Dockerfile").Text
	for _, match := range regexp.MustCompile(`--build-arg (\w+)=`).FindAllStringSubmatch(c.text, -1) {
		if !strings.Contains(dockerfile, "\nARG "+match[1]) {
			t.Errorf("the Dockerfile has no argument %s", match[1])
		}
	}
	if _, caddy := docstest.Module(t); !strings.Contains(c.text, ":"+caddy+"-") {
		t.Errorf("the tag does not have the version of Caddy, %s", caddy)
	}
}

// buildsThisModule tests that xcaddy is told packages of this module, and a version of Caddy only if it is that of go.mod.
// .ci/smoke.sh runs xcaddy.
func buildsThisModule(t *testing.T, c command) {
	path, caddy := docstest.Module(t)
	words := strings.Fields(c.text)
	if len(words) < 4 || words[0] != "xcaddy" || words[1] != "build" {
		t.Fatalf("this is no build: %s", c.text)
	}
	smoke := docstest.Read(t, ".ci/smoke.sh").Text
	packages := 0
	for rest := words[2:]; len(rest) > 0; rest = rest[1:] {
		switch word := rest[0]; {
		case strings.HasPrefix(word, "v"):
			if word != "v"+caddy {
				t.Errorf("it builds Caddy %s, and go.mod has %s", word, caddy)
			}
		case word == "--with" && len(rest) > 1:
			packages++
			rest = rest[1:]
			name := regexp.MustCompile(`[@=].*`).ReplaceAllString(rest[0], "") // a version, or a folder instead
			dir, ok := strings.CutPrefix(name+"/", path+"/")
			if files, _ := filepath.Glob(filepath.Join(".", dir, "*.go")); !ok || len(files) == 0 {
				t.Errorf("%s is no package of %s", name, path)
			}
			if with := `--with "$(go list -m)` + strings.TrimSuffix("/"+dir, "/"); !strings.Contains(smoke, with) {
				t.Errorf(".ci/smoke.sh does not build %s", with)
			}
		case word == "--output" && len(rest) > 1:
			rest = rest[1:]
		default:
			t.Errorf("this test does not know %s", word)
		}
	}
	if packages == 0 {
		t.Error("it builds no package of this module")
	}
}

// healthySite is a site with which all is well.
const healthySite = `example.com {
	illumichat /api/chat-proxy {
		token {env.ILLUMICHAT_API_TOKEN}
		assistants asst_abc123
		limit 20 1h
	}
}
`

// words splits a command as a shell does.
func words(t *testing.T, text string) []string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "sh", "-c", "printf '%s\\n' "+text).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(output), "\n"), "\n")
}

// runsWithACaddyfile runs a command of caddy that reads /etc/caddy/Caddyfile, or nothing. If the page shows output, it has to be
// the beginning of the report on checkedSite.
func runsWithACaddyfile(t *testing.T, c command) {
	all := words(t, c.text)
	start := slices.IndexFunc(all, func(word string) bool { return path.Base(word) == "caddy" }) // before it may be variables and sudo
	if start < 0 {
		t.Fatalf("this is no command of caddy: %s", c.text)
	}
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	file := filepath.Join(t.TempDir(), "Caddyfile")
	args := all[start+1:]
	for i, arg := range args {
		if strings.HasPrefix(arg, "/etc/caddy/") {
			args[i] = file
		}
	}
	text, wantStatus := healthySite, 0
	if c.output != "" {
		text, wantStatus = checkedSite, 1
	}
	sitetest.WriteFile(t, file, text)
	stdout, stderr, status := sitetest.Command(t, nil, args...)
	if status != wantStatus || !strings.HasPrefix(stdout, c.output) {
		t.Errorf("the exit status is %d, want %d, with the output\n%s\nand the errors\n%s", status, wantStatus, stdout, stderr)
	}
}

// checksARunningSite runs `caddy illumichat check` with the URL of a site at which all is well.
func checksARunningSite(t *testing.T, c command) {
	server := sandboxtest.NewServer(t, sandbox.Options{Pace: sandbox.DemoPace})
	s := sitetest.New(t, "")
	p := sitetest.Run(t, s, sitetest.ChatTo(server, "limit 20 1h\nalias support asst_support\nallow_origins https://www.example.com"))
	certificate, _, _ := strings.Cut(s.TLS, " ")
	t.Setenv("SSL_CERT_FILE", certificate)
	args := words(t, c.text)[1:]
	for i, arg := range args {
		args[i] = strings.Replace(arg, "https://example.com/", s.Secure+"/", 1)
		if arg == "localhost:2019" {
			args[i] = p.Admin()
		}
	}
	if !slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, s.Secure+"/") }) {
		t.Fatalf("the command does not check https://example.com/: %s", c.text)
	}
	if stdout, stderr, status := sitetest.Command(t, nil, args...); status != 0 || stderr != "" {
		t.Errorf("the exit status is %d, with the output\n%s\nand the errors\n%s", status, stdout, stderr)
	}
}

// chatsWithCurl tests that the command gets an answer up to its finish.
func chatsWithCurl(t *testing.T, c command) {
	require.Program(t, "curl")
	s := sitetest.Serve(t, sitetest.ChatTo(sandboxtest.NewServer(t, sandbox.Options{}), ""))
	text := strings.Replace(c.text, "http://localhost:8080", s.Plain, 1)
	output, err := exec.CommandContext(t.Context(), "sh", "-c", text+" --silent --show-error --fail").CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, output)
	}
	sitetest.OnlyFinish(t, string(output))
}

// asksTheAdminAPI runs curl with a URL of Caddy's admin API, which has to answer with 200.
func asksTheAdminAPI(t *testing.T, c command) {
	require.Program(t, "curl")
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.New(t, "metrics")
	p := sitetest.Run(t, s, sitetest.ChatTo(server, "limit 20 1h"))
	socket := strings.TrimPrefix(p.Admin(), "unix/")
	text, ok := strings.CutPrefix(c.text, "curl ")
	if !ok || !strings.Contains(text, "localhost:2019/") {
		t.Fatalf("the command does not ask the admin API: %s", c.text)
	}
	output, err := exec.CommandContext(t.Context(), "sh", "-c", "curl --silent --show-error --fail --unix-socket "+socket+" "+text).CombinedOutput()
	if err != nil || len(output) == 0 {
		t.Errorf("%v: %s", err, output)
	}
}

// The commands in example/README.md work as they are. Each is one line, with the variables that it needs.
func TestCommandsThatCheckAnExample(t *testing.T) {
	blocks := docstest.Read(t, "example/README.md").In("sh")
	if len(blocks) != 1 {
		t.Fatalf("example/README.md has %d blocks of commands", len(blocks))
	}
	for _, name := range []string{"ILLUMICHAT_API_TOKEN", "ILLUMICHAT_ASSISTANT", "ILLUMICHAT_ENDPOINT"} {
		t.Setenv(name, "")
	}
	dir := t.TempDir()
	commands := strings.Split(strings.TrimSpace(blocks[0]), "\n")
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
