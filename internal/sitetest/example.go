package sitetest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/require"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// RunningExample is an example that Caddy serves in a process of its own. Its methods take URLs and ports as the
// example's file writes them, and replace the ports by free ones.
type RunningExample struct {
	*Process
	Upstream *sandboxtest.Server
	Config   []byte // of its file, in JSON and with free ports

	Ports    *strings.Replacer // replaces the ports of its file by free ones
	commands []string          // the curl commands in its header
	logs     string
}

var (
	portOfExample    = regexp.MustCompile(`(?::|_port )(\d{4})\b`)
	urlInComment     = regexp.MustCompile(`(?m)^#.*?[^:] (https?://[a-z.]+:\d{4})\b`)
	commandOfExample = regexp.MustCompile(`(?m)^(?:#\t)?(curl .*)$`)
)

// RunExample serves a file below example/ until the test ends. It changes only the ports, which it binds to 127.0.0.1, the
// log file, the storage and the admin API. It also checks the file's header: the comments of a Caddyfile, or the README beside
// a JSON file.
func RunExample(t *testing.T, file string, options sandbox.Options) *RunningExample {
	t.Helper()
	return RunEdited(t, file, options, func(text string) string { return text })
}

// RunEdited is like RunExample, but changes the file's text with edit first.
func RunEdited(t *testing.T, file string, options sandbox.Options, edit func(text string) string) *RunningExample {
	t.Helper()
	text := ReadExample(t, file)
	header := text
	if path.Ext(file) == ".json" {
		header = ReadExample(t, path.Dir(file)+"/README.md")
	}
	if command := "go run ./cmd/caddy run --config example/" + file + "\n"; !strings.Contains(header, command) {
		t.Errorf("the header does not say %q", command)
	}
	for _, match := range urlInComment.FindAllStringSubmatch(header, -1) {
		if !strings.Contains(text, "\n"+match[1]+" {\n") {
			t.Errorf("the header tells of %s, which is no site of the example", match[1])
		}
	}
	e := runText(t, file, edit(text), options)
	for _, command := range commandOfExample.FindAllStringSubmatch(header, -1) {
		e.commands = append(e.commands, e.Ports.Replace(command[1]))
	}
	return e
}

// RunDeployed is like RunEdited, for a file that is not for this machine, such as that of a container. With edit, the test puts
// the sandbox, addresses and paths of this machine into it. Such a file has no commands in its header.
func RunDeployed(t *testing.T, file string, options sandbox.Options, edit func(text string) string) *RunningExample {
	t.Helper()
	return runText(t, file, edit(ReadExample(t, file)), options)
}

// runText serves the text of a file below example/ until the test ends.
func runText(t *testing.T, file, text string, options sandbox.Options) *RunningExample {
	t.Helper()
	e := &RunningExample{
		Upstream: sandboxtest.NewServer(t, options),
		Ports:    FreePortsFor(t, text),
		logs:     filepath.Join(t.TempDir(), "caddy.log"),
	}
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	t.Setenv("ILLUMICHAT_ASSISTANT", sandbox.Assistant)
	t.Setenv("ILLUMICHAT_ENDPOINT", e.Upstream.URL)

	text = e.Ports.Replace(text)
	if path.Ext(file) == ".json" {
		e.Config = []byte(text)
	} else {
		e.Config = AdaptSilently(t, text)
	}
	if strings.Contains(string(e.Config), sandbox.Token) {
		t.Error("the config holds the token")
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(e.Log())
		}
	})
	e.Process = start(t, e.isolated(t), func() bool {
		return strings.Contains(e.Log(), "serving initial configuration")
	})
	return e
}

// ReadExample returns the text of a file below example/.
func ReadExample(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile("example/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// FreePortsFor returns a replacer that replaces each port in text by a free one.
func FreePortsFor(t *testing.T, text string) *strings.Replacer {
	t.Helper()
	names := make(map[string]bool)
	for _, match := range portOfExample.FindAllStringSubmatch(text, -1) {
		names[match[1]] = true
	}
	ports := localhost.Ports(t, len(names))
	var replace []string
	for name := range names {
		for _, before := range []string{":", "_port "} {
			replace = append(replace, before+name, before+strconv.Itoa(ports[0]))
		}
		ports = ports[1:]
	}
	return strings.NewReplacer(replace...)
}

// isolated returns the example's config with changes that keep its Caddy apart from any other on this machine.
func (e *RunningExample) isolated(t *testing.T) []byte {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(e.Config, &fields); err != nil {
		t.Fatal(err)
	}
	fields["storage"] = map[string]any{"module": "file_system", "root": t.TempDir()}
	fields["logging"] = map[string]any{"logs": map[string]any{
		"default": map[string]any{"writer": map[string]any{"output": "file", "filename": e.logs}},
	}}
	servers := fields["apps"].(map[string]any)["http"].(map[string]any)["servers"].(map[string]any)
	for _, server := range servers {
		listen := server.(map[string]any)["listen"].([]any)
		for i, address := range listen {
			if port, ok := strings.CutPrefix(address.(string), ":"); ok {
				listen[i] = "127.0.0.1:" + port
			}
		}
	}
	isolated, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return isolated
}

// Log returns what Caddy has logged.
func (e *RunningExample) Log() string {
	log, _ := os.ReadFile(e.logs) // the file does not exist at first
	return string(log)
}

// Loopback is a transport that connects to 127.0.0.1 for every host name. Browsers and curl do the same for all names below
// localhost.
var Loopback = &http.Transport{
	DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
	},
	TLSClientConfig:    &tls.Config{InsecureSkipVerify: true},
	DisableKeepAlives:  true,
	DisableCompression: true,
}

// Request returns a request for a URL of the example. Each header has the form "Name: value".
func (e *RunningExample) Request(t *testing.T, method, url, body string, header ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, e.Ports.Replace(url), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range header {
		name, value, _ := strings.Cut(field, ": ")
		req.Header.Set(name, value)
	}
	return req
}

// Chat posts a chat to a site of the example.
func (e *RunningExample) Chat(t *testing.T, origin, chat string, header ...string) *http.Response {
	t.Helper()
	return RoundTrip(t, Loopback, e.Request(t, http.MethodPost, origin+ChatPath, chat, append(header, "Content-Type: application/json")...))
}

// Get sends a GET request to a URL of the example.
func (e *RunningExample) Get(t *testing.T, url string, header ...string) *http.Response {
	t.Helper()
	return RoundTrip(t, Loopback, e.Request(t, http.MethodGet, url, "", header...))
}

// RoundTrip sends req and returns the response, whose body is closed when the test ends.
func RoundTrip(t *testing.T, transport http.RoundTripper, req *http.Request) *http.Response {
	t.Helper()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatalf("sending the request: %v", err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// WantAnswer checks that a chat was answered to its end: status 200, and a finish with the reason "stop".
func WantAnswer(t *testing.T, resp *http.Response) {
	t.Helper()
	stream := ReadAll(t, resp)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("got %s: %s", resp.Status, stream)
	}
	if finish := OnlyFinish(t, stream); finish.FinishReason != "stop" {
		t.Errorf("got the finish %+v", finish)
	}
}

var (
	chatOfPage = regexp.MustCompile(`<illumichat-chat mode="page" url="([^"]+)"`)
	fileOfPage = regexp.MustCompile(`(?:src|href)="([^"]+)"`)
)

// WantPage checks that the chat page is at a URL that ends with a slash, and that it finds all of its files and asks the given
// chat. It checks the page's policy, too.
func (e *RunningExample) WantPage(t *testing.T, url, chat string, header ...string) {
	t.Helper()
	resp := e.Get(t, url, header...)
	page := ReadAll(t, resp)
	found := chatOfPage.FindStringSubmatch(page)
	files := fileOfPage.FindAllStringSubmatch(page, -1)
	if resp.StatusCode != http.StatusOK || found == nil || found[1] != e.Ports.Replace(chat) || len(files) < 3 {
		t.Errorf("%s: got %s, %q, want a page that asks %s", url, resp.Status, page, chat)
	}
	for _, file := range files {
		resp := e.Get(t, url+file[1], header...)
		if body := ReadAll(t, resp); resp.StatusCode != http.StatusOK || body == "" || !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: got %s, %v, %.100q", url+file[1], resp.Status, resp.Header, body)
		}
	}
	connect := "'self'"
	if origin, ok := strings.CutSuffix(e.Ports.Replace(chat), ChatPath); ok && origin != "" {
		connect = origin
	}
	policies := strings.Join(resp.Header.Values("Content-Security-Policy"), "\n")
	if !strings.Contains(policies, "; connect-src "+connect+"; ") || !strings.Contains(policies, "; trusted-types 'none'") {
		t.Errorf("%s: the policy is %q", url, policies)
	}
}

// WantPolicy checks the headers that protect a site's own page: the Content-Security-Policy, with connect as its connect-src, and
// X-Content-Type-Options.
func (e *RunningExample) WantPolicy(t *testing.T, origin, connect string, header ...string) {
	t.Helper()
	resp := e.Get(t, origin+"/", header...)
	want := "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src " + e.Ports.Replace(connect) +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if got := resp.Header.Get("Content-Security-Policy"); got != want {
		t.Errorf("%s: the policy is %q, want %q", origin, got, want)
	}
	if got := resp.Header.Get("X-Content-Type-Options"); got != "nosniff" {
		t.Errorf("%s: got X-Content-Type-Options %q", origin, got)
	}
}

// RunCommands runs the commands in the example's header. The output of each must contain its string of wanted, in the same
// order.
func (e *RunningExample) RunCommands(t *testing.T, wanted ...string) {
	t.Helper()
	t.Run("commands", func(t *testing.T) {
		require.Program(t, "curl")
		if len(e.commands) != len(wanted) {
			t.Fatalf("the header tells %d commands, want %d", len(e.commands), len(wanted))
		}
		for i, command := range e.commands {
			run := exec.CommandContext(t.Context(), "sh", "-c", command)
			run.Env = append(os.Environ(), "NO_PROXY=*", "no_proxy=*")
			if output, err := run.Output(); err != nil || !strings.Contains(string(output), wanted[i]) {
				t.Errorf("%s\nprints, %v: %s", command, err, output)
			}
		}
	})
}

// Finished is in the output of a command whose chat is answered to the end.
const Finished = `"finishReason":"stop"`

// Anyone is a chat that names no assistant.
const Anyone = `{"messages":[{"role":"user","content":"Hello"}]}`

// UntilRefused calls ask until one of the client's limits refuses the chat. It returns how many chats were answered, which must
// not be more than most.
func (e *RunningExample) UntilRefused(t *testing.T, most int, ask func(n int) *http.Response) int {
	t.Helper()
	for n := range most + 1 {
		resp := ask(n)
		if resp.StatusCode == http.StatusTooManyRequests {
			WantError(t, resp, http.StatusTooManyRequests, "rate_limit:chat")
			if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || seconds < 1 {
				t.Errorf("got Retry-After %q", resp.Header.Get("Retry-After"))
			}
			return n
		}
		WantAnswer(t, resp)
	}
	t.Fatalf("%d chats were answered", most+1)
	return 0
}

// exampleHandler is a handler as the admin API shows it.
type exampleHandler struct {
	Streams struct {
		Max          int
		MaxPerClient int `json:"max_per_client"`
	}
	Limits []struct {
		Requests int
		Window   string
		Key      string
		Left     *int
	}
}

func (e *RunningExample) handlers(t *testing.T) (handlers []exampleHandler) {
	t.Helper()
	_, body, _ := e.Ask(t, http.MethodGet, "/illumichat/", nil)
	if err := json.Unmarshal([]byte(body), &handlers); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return handlers
}

// WantLimits checks the limits of all handlers. The sorted want has one string for each handler, such as
// "5/30s 2000/24h:site, 200 open, 3 a client". The order of the handlers does not matter.
func (e *RunningExample) WantLimits(t *testing.T, want ...string) {
	t.Helper()
	short := strings.NewReplacer("h0m0s", "h", "m0s", "m")
	var got []string
	for _, handler := range e.handlers(t) {
		var limits []string
		for _, limit := range handler.Limits {
			text := fmt.Sprintf("%d/%s", limit.Requests, short.Replace(limit.Window))
			if limit.Key != "{http.vars.client_ip}" {
				text += ":" + limit.Key
			}
			limits = append(limits, text)
		}
		text := strings.Join(limits, " ")
		if handler.Streams.Max > 0 {
			text += fmt.Sprintf(", %d open", handler.Streams.Max)
		}
		if handler.Streams.MaxPerClient > 0 {
			text += fmt.Sprintf(", %d a client", handler.Streams.MaxPerClient)
		}
		got = append(got, text)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the limits are %q, want %q", got, want)
	}
}

// WantPrivate checks that only this machine can reach a port of the example, such as ":8081".
func (e *RunningExample) WantPrivate(t *testing.T, port string) {
	t.Helper()
	address := e.Ports.Replace(port)
	if n, private := strings.Count(string(e.Config), address+`"`), strings.Count(string(e.Config), `["127.0.0.1`+address+`"]`); private != 1 || n < 1 {
		t.Errorf("others than this machine can reach %s", port)
	}
	if strings.Contains(string(e.Config), `"listen":["`+address+`"]`) {
		t.Errorf("all the world can reach %s", port)
	}
}

// LimitsLeft returns how many chats are left in the limits that many visitors share, by the key of the limit.
func (e *RunningExample) LimitsLeft(t *testing.T) map[string]int {
	t.Helper()
	left := make(map[string]int)
	for _, handler := range e.handlers(t) {
		for _, limit := range handler.Limits {
			if limit.Left != nil {
				left[limit.Key] = *limit.Left
			}
		}
	}
	return left
}

// PageClient is the path of the JavaScript client that site owners copy into their pages.
const PageClient = "client/illumichat.js"
