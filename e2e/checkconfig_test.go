package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// This file has the tests of `caddy illumichat check --config`.

// tokenInEnv is the environment of a check in which the token of the tests' configs resolves.
var tokenInEnv = []string{"ILLUMICHAT_API_TOKEN=" + sandbox.Token, "ILLUMICHAT_ASSISTANT=" + sandbox.Assistant}

// chatSnippets are imported as `chat /path` and, inside of a block for a path, as `chat_here`.
const chatSnippets = `
(chat_here) {
	illumichat {args[:]} {
		token {env.ILLUMICHAT_API_TOKEN}
		assistants asst_1
		limit 20 1h
		limit 2000 24h everyone
	}
}
(chat) {
	import chat_here {args[:]}
}
`

// checkConfig runs the check on a config file. It returns its findings and its exit status.
func checkConfig(t *testing.T, env []string, file string, args ...string) (found []doctor.Finding, status int) {
	t.Helper()
	stdout, stderr, status := sitetest.Command(t, env, append([]string{"illumichat", "check", "--json", "--config", file}, args...)...)
	decoder := json.NewDecoder(strings.NewReader(stdout))
	for {
		var line struct {
			doctor.Finding
			Wrong *int `json:"wrong"`
		}
		if err := decoder.Decode(&line); err != nil {
			t.Fatalf("there is no summary: %v: %s%s", err, stdout, stderr)
		}
		if line.Wrong != nil {
			return found, status
		}
		found = append(found, line.Finding)
	}
}

// checkCaddyfile is checkConfig for the text of a Caddyfile.
func checkCaddyfile(t *testing.T, caddyfile string) []doctor.Finding {
	t.Helper()
	file := filepath.Join(t.TempDir(), "Caddyfile")
	sitetest.WriteFile(t, file, caddyfile)
	found, _ := checkConfig(t, tokenInEnv, file)
	return found
}

// faults returns the findings that are wrong or warnings.
func faults(found []doctor.Finding) []doctor.Finding {
	return slices.DeleteFunc(slices.Clone(found), func(f doctor.Finding) bool { return f.Level != doctor.Wrong && f.Level != doctor.Warning })
}

// line returns a finding as a test compares it.
func line(f doctor.Finding) string { return fmt.Sprintf("%s %s: %s", f.Level, f.Check, f.Found) }

func lines(found []doctor.Finding) []string {
	var text []string
	for _, f := range found {
		text = append(text, line(f))
	}
	return text
}

// placement is a site, and where a POST to a path of it goes.
type placement struct {
	name, directives, path string
	fault                  string   // what the check finds; "": a request reaches the chat
	do                     []string // what it says to write
}

// placements are the ways in which a chat can be placed among a site's other directives.
var placements = []placement{
	// The chat gets no request, and no log says so.
	{
		name:       "handle-path-exact",
		directives: "handle_path /api/chat-proxy {\nimport chat /api/chat-proxy\n}",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach it: `handle_path /api/chat-proxy` changes the path to /, which the matcher in it does not match",
		do:         []string{"Write `handle` in place of `handle_path`", "handle /api/chat-proxy {\n\tillumichat {"},
	},
	{
		name:       "handle-path-prefix",
		directives: "handle_path /api/* {\nimport chat /api/chat-proxy\nreverse_proxy 127.0.0.1:1\n}",
		path:       "/api/chat-proxy",
		fault: "a POST to /api/chat-proxy does not reach it: `handle_path /api/*` changes the path to /chat-proxy, which the matcher in it does not match; " +
			"only a POST to /api/api/chat-proxy would",
		do: []string{"handle_path /api/* {\n\tillumichat /chat-proxy {"},
	},
	{
		name:       "route",
		directives: "root ROOT\nroute {\nfile_server\nimport chat /api/chat-proxy\n}",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach it: `file_server` answers first",
		do:         []string{"route {\n\tillumichat /api/chat-proxy {", "\n\tfile_server\n"},
	},
	{
		name:       "try-files",
		directives: "root ROOT\ntry_files {path} /index.html\nfile_server\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach it: `try_files {path} /index.html` changes the path to /index.html first",
		do:         []string{"handle /api/chat-proxy {\n\tillumichat {", "handle {\n\ttry_files {path} /index.html\n\tfile_server\n}"},
	},
	{
		name:       "try-files-404",
		directives: "root ROOT\ntry_files {path} =404\nfile_server\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach it: `try_files` refuses it, because no such file exists",
		do:         []string{"handle {\n\ttry_files {path} =404\n\tfile_server\n}"},
	},
	{
		name:       "respond",
		directives: "respond \"else\" 404\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach it: `respond` answers first",
		do:         []string{"handle /api/chat-proxy {\n\tillumichat {", "handle {\n\trespond …\n}"},
	},
	{
		name:       "redir",
		directives: "redir https://www.example.com{uri}\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach it: `redir` answers first",
		do:         []string{"handle {\n\tredir …\n}"},
	},
	{
		name:       "handle",
		directives: "handle /api/* {\nreverse_proxy 127.0.0.1:1\n}\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach it: `reverse_proxy` in `handle /api/*` answers first",
		do:         []string{"`handle /api/*` stays as it is", "handle /api/chat-proxy {\n\tillumichat {"},
	},
	{
		name:       "handle-without-answer",
		directives: "handle /api* {\nheader X-Site api\n}\nhandle {\nimport chat /api\n}",
		path:       "/api",
		fault:      "a POST to /api does not reach it: `handle /api*` takes it, and has no directive that answers",
		do:         []string{"handle /api {\n\tillumichat {"},
	},
	{
		name:       "rewrite",
		directives: "rewrite * /index.php\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach it: `rewrite` changes the path to /index.php first",
		do:         []string{"handle {\n\trewrite …\n}"},
	},
	{
		name:       "uri",
		directives: "uri strip_prefix /api\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach it: `uri` changes the path to /chat-proxy first",
	},
	{
		name:       "mismatch",
		directives: "handle /chat {\nimport chat /api/chat-proxy\n}",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach it: a route around it matches only `path /chat`",
		do:         []string{"Let the matchers around `illumichat` agree."},
	},
	{
		name:       "method",
		directives: "@chat {\nmethod GET\npath /api/chat-proxy\n}\nimport chat @chat",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach it: a route around it matches only `method GET and path /api/chat-proxy`",
		do:         []string{"Leave the method out of the matcher."},
	},
	{
		name:       "method-changed",
		directives: "method GET\n@chat {\nmethod POST\npath /api/chat-proxy\n}\nimport chat @chat",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach it: `method` makes it a GET first",
		do:         []string{"@others not path /api/chat-proxy\nmethod @others GET"},
	},
	{
		name:       "regexp",
		directives: "respond /api/* 404\n@chat path_regexp ^/api/v[12]/(chat|talk)$\nimport chat @chat",
		path:       "/api/v1/chat",
		fault:      "a POST to /api/v1/chat does not reach it: `respond /api/*` answers first",
	},
	{
		name:       "invoke",
		directives: "redir /n* https://www.example.com\ninvoke named",
		path:       "/named",
		fault:      "a POST to /named does not reach it: `redir /n*` answers first",
	},

	// The chat gets its requests.
	{
		name:       "beside-file-server",
		directives: "root ROOT\nfile_server\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
	},
	{
		name:       "single-page",
		directives: "root ROOT\nencode\nhandle /api/chat-proxy {\nimport chat_here\n}\nhandle {\ntry_files {path} /index.html\nfile_server\n}",
		path:       "/api/chat-proxy",
	},
	{
		name:       "inside-handle-path",
		directives: "handle_path /api/* {\nimport chat /chat\nreverse_proxy 127.0.0.1:1\n}",
		path:       "/api/chat",
	},
	{
		name:       "handle-path-without-matcher",
		directives: "handle_path /api/chat-proxy {\nimport chat_here\n}",
		path:       "/api/chat-proxy",
	},
	{
		name:       "both-slashes",
		directives: "@chat path /api/chat-proxy /api/chat-proxy/\nimport chat @chat\nfile_server",
		path:       "/api/chat-proxy/",
	},
	{
		name:       "php",
		directives: "root ROOT\nphp_fastcgi 127.0.0.1:1\nfile_server\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
	},
	{
		name:       "route-in-order",
		directives: "root ROOT\nroute {\nimport chat /api/chat-proxy\nfile_server\n}",
		path:       "/api/chat-proxy",
	},
	{
		name:       "file-server-pass-thru",
		directives: "root ROOT\nroute {\nfile_server {\npass_thru\n}\nimport chat /api/chat-proxy\n}",
		path:       "/api/chat-proxy",
	},
	{
		name:       "maintenance-off",
		directives: "root ROOT\n@maintenance file /maintenance.html\nhandle @maintenance {\nrespond 503\n}\nhandle {\nimport chat /api/chat-proxy\nfile_server\n}",
		path:       "/api/chat-proxy",
	},
	{
		name:       "existing-files-only",
		directives: "root ROOT\n@file file\nhandle @file {\nfile_server\n}\nhandle {\nimport chat /api/chat-proxy\n}",
		path:       "/api/chat-proxy",
	},
	{
		name:       "websockets-before",
		directives: "@ws {\nheader Connection *Upgrade*\nheader Upgrade websocket\n}\nhandle @ws {\nreverse_proxy 127.0.0.1:1\n}\nhandle {\nimport chat /api/chat-proxy\n}",
		path:       "/api/chat-proxy",
	},
	{
		name:       "bots-refused",
		directives: "@bot header User-Agent *bot*\nrespond @bot 403\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
	},
	{
		name:       "expression",
		directives: "@chat `path('/api/chat-proxy') && method('POST')`\nimport chat @chat\nfile_server",
		path:       "/api/chat-proxy",
	},
	{
		name:       "rewritten-to",
		directives: "rewrite /old /api/chat-proxy\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
	},
	{
		name:       "whole-host",
		directives: "import chat_here",
		path:       "/",
	},
	{
		name:       "not-excluded",
		directives: "@others not path /api/chat-proxy /health\nrespond @others 404\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
	},
	{
		name:       "early-hints",
		directives: "respond 103\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
	},
}

// sites returns the Caddyfile of the placements. Each is a host of its own.
func sitesOf(t *testing.T, port int) string {
	t.Helper()
	root := t.TempDir()
	sitetest.WriteFile(t, filepath.Join(root, "index.html"), "<!doctype html>")
	var text strings.Builder
	fmt.Fprintf(&text, "{\nadmin off\npersist_config off\nstorage file_system %s\nauto_https off\ndefault_bind 127.0.0.1\ngrace_period 1s\nservers {\ntrusted_proxies static private_ranges\n}\n}\n", t.TempDir())
	text.WriteString(chatSnippets + "&(named) {\nimport chat /named\n}\n")
	for _, p := range placements {
		fmt.Fprintf(&text, "http://%s.test:%d {\n%s\n}\n", p.name, port, strings.ReplaceAll(p.directives, "ROOT", root))
	}
	return text.String()
}

// The check finds each placement in which requests do not reach the chat, says why, and says what to write. It finds nothing
// wrong with the others. A running Caddy does with a POST as the check says.
func TestCheckKnowsWhereRequestsGo(t *testing.T) {
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	port := localhost.Ports(t, 1)[0]
	caddyfile := sitesOf(t, port)
	found := checkCaddyfile(t, caddyfile)
	sitetest.Load(t, sitetest.Adapt(t, caddyfile))
	t.Cleanup(func() { _ = caddy.Stop() })
	for _, p := range placements {
		t.Run(p.name, func(t *testing.T) {
			host := fmt.Sprintf("%s.test:%d", p.name, port)
			mine := slices.DeleteFunc(slices.Clone(found), func(f doctor.Finding) bool { return !strings.HasPrefix(f.Where, host+" ") })
			if len(mine) == 0 {
				t.Fatal("there is no finding")
			}
			switch faults := faults(mine); {
			case p.fault == "" && len(faults) > 0:
				t.Errorf("found %q", lines(faults))
			case p.fault != "" && (len(faults) != 1 || line(faults[0]) != "wrong reachable: "+p.fault):
				t.Errorf("found %q, want %q", lines(faults), p.fault)
			case p.fault != "":
				for _, do := range p.do {
					if !strings.Contains(faults[0].Do, do) {
						t.Errorf("it says to do %q, want %q", faults[0].Do, do)
					}
				}
			}
			if got, want := reachesChat(t, port, host, p.path), p.fault == ""; got != want {
				t.Errorf("a POST to %s reaches the chat: %t, want %t", p.path, got, want)
			}
		})
	}
}

// reachesChat reports whether a POST to a running site reaches the chat, which refuses a body that is no JSON.
func reachesChat(t *testing.T, port int, host, path string) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), strings.NewReader("{"))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(body), `"bad_request:chat"`)
}
