package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
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

// chatSnippet is imported with the chat's path, or without one inside a block for the path.
const chatSnippet = `
(chat) {
	illumichat {args[:]} {
		token {env.ILLUMICHAT_API_TOKEN}
		assistants asst_1
		limit 20 1h
		limit 2000 24h everyone
	}
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
	site                   string   // its address below .test; "": the name
	fault                  string   // what the check finds; "": a request reaches the chat
	do                     []string // what it says to write
	keep                   string   // the directives that stay as they are if the operator follows it, with ADVICE in its place
}

// around returns the directives of a site whose operator has written what the check says.
func (p placement) around(advice string) string {
	if strings.Contains(p.keep, "ADVICE") {
		return strings.Replace(p.keep, "ADVICE", advice, 1)
	}
	return p.keep + advice
}

// placements are the ways in which a chat can be placed among a site's other directives.
var placements = []placement{
	// The chat gets no request, and no log says so.
	{
		name:       "handle-path-exact",
		directives: "handle_path /api/chat-proxy {\nimport chat /api/chat-proxy\n}",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: `handle_path /api/chat-proxy` changes the path to /, which the matcher inside it does not match",
		do:         []string{"Write `handle` in place of `handle_path`", "handle /api/chat-proxy {\n\tillumichat {"},
	},
	{
		name:       "handle-path-prefix",
		directives: "handle_path /api/* {\nimport chat /api/chat-proxy\nreverse_proxy 127.0.0.1:1\n}",
		path:       "/api/chat-proxy",
		fault: "a POST to /api/chat-proxy does not reach the chat: `handle_path /api/*` changes the path to /chat-proxy, which the matcher inside it does not match; " +
			"only a POST to /api/api/chat-proxy would",
		do: []string{"handle_path /api/* {\n\tillumichat /chat-proxy {"},
	},
	{
		name:       "route",
		directives: "root ROOT\nroute {\nfile_server\nimport chat /api/chat-proxy\n}",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: `file_server` answers first",
		do:         []string{"route {\n\tillumichat /api/chat-proxy {", "\n\tfile_server\n"},
		keep:       "root ROOT\n",
	},
	{
		name:       "try-files",
		directives: "root ROOT\ntry_files {path} /index.html\nfile_server\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: `try_files {path} /index.html` changes the path to /index.html first",
		do:         []string{"handle /api/chat-proxy {\n\tillumichat {", "handle {\n\ttry_files {path} /index.html\n\tfile_server\n}"},
		keep:       "root ROOT\n",
	},
	{
		name:       "try-files-404",
		directives: "root ROOT\ntry_files {path} =404\nfile_server\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: `try_files` refuses it, because no such file exists",
		do:         []string{"handle {\n\ttry_files {path} =404\n\tfile_server\n}"},
		keep:       "root ROOT\n",
	},
	{
		name:       "try-files-query",
		directives: "root ROOT\ntry_files {path} {path}/ /index.html?{query}&p={path}\nfile_server\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: `try_files {path} {path}/ /index.html?…` changes the path to /index.html first",
		do:         []string{"handle {\n\ttry_files {path} {path}/ /index.html?…\n\tfile_server\n}"},
		keep:       "root ROOT\n",
	},
	{
		name:       "try-files-php",
		directives: "root ROOT\ntry_files {path} /index.html\nphp_fastcgi 127.0.0.1:1\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: `try_files {path} /index.html` changes the path to /index.html first",
		do:         []string{"handle {\n\ttry_files {path} /index.html\n\tphp_fastcgi …\n}"},
		keep:       "root ROOT\n",
	},
	{
		name:       "try-files-proxy",
		directives: "root ROOT\ntry_files {path} /index.html\nreverse_proxy 127.0.0.1:1\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: `try_files {path} /index.html` changes the path to /index.html first",
		do:         []string{"handle {\n\ttry_files {path} /index.html\n\treverse_proxy …\n}"},
		keep:       "root ROOT\n",
	},
	{
		name:       "replace-status",
		directives: "handle /api/* {\nreverse_proxy 127.0.0.1:1 {\n@error status 500\nreplace_status @error 502\n}\n}\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: `reverse_proxy` in `handle /api/*` answers first",
		keep:       "handle /api/* {\nreverse_proxy 127.0.0.1:1 {\n@error status 500\nreplace_status @error 502\n}\n}\n",
	},
	{
		name:       "expression-other-method",
		directives: "@chat `path('/api/chat-proxy') && method('GET')`\nimport chat @chat\nfile_server",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: a route around it matches only `expression path('/api/chat-proxy') && method('GET')`",
		do:         []string{"Let the matchers around `illumichat` agree."},
	},
	{
		name:       "expression-respond",
		directives: "@others `!path('/public/*')`\nrespond @others 403\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: `respond (expression !path('/public/*'))` answers first",
		keep:       "@others `!path('/public/*')`\n",
	},
	{
		name:       "handle-path-nested",
		directives: "handle_path /api/* {\nhandle_path /v1/* {\nimport chat /v1/chat\n}\n}",
		path:       "/api/v1/chat",
		fault:      "a POST to /api/v1/chat does not reach the chat: `handle_path /v1/*` changes the path to /chat, which the matcher inside it does not match; only a POST to /api/v1/v1/chat would",
		do:         []string{"handle_path /v1/* {\n\tillumichat /chat {"},
		keep:       "handle_path /api/* {\nADVICE}\n",
	},
	{
		name:       "respond",
		directives: "respond \"else\" 404\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: `respond` answers first",
		do:         []string{"handle /api/chat-proxy {\n\tillumichat {", "handle {\n\trespond …\n}"},
	},
	{
		name:       "redir",
		directives: "redir https://www.example.com{uri}\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: `redir` answers first",
		do:         []string{"handle {\n\tredir …\n}"},
	},
	{
		name:       "handle",
		directives: "handle /api/* {\nreverse_proxy 127.0.0.1:1\n}\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: `reverse_proxy` in `handle /api/*` answers first",
		do:         []string{"`handle /api/*` stays as it is", "handle /api/chat-proxy {\n\tillumichat {"},
		keep:       "handle /api/* {\nreverse_proxy 127.0.0.1:1\n}\n",
	},
	{
		name:       "lone-handle",
		directives: "handle {\nreverse_proxy 127.0.0.1:1\n}\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: `reverse_proxy` in `handle` or `route` answers first",
		do:         []string{"handle {\n\treverse_proxy …\n}"},
	},
	{
		name:       "handle-without-answer",
		directives: "handle /api* {\nheader X-Site api\n}\nhandle {\nimport chat /api\n}",
		path:       "/api",
		fault:      "a POST to /api does not reach the chat: `handle /api*` takes it, and has no directive that answers",
		do:         []string{"handle /api {\n\tillumichat {"},
		keep:       "handle /api* {\nheader X-Site api\n}\n",
	},
	{
		name:       "rewrite",
		directives: "rewrite * /index.php\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: `rewrite` changes the path to /index.php first",
		do:         []string{"handle {\n\trewrite …\n}"},
	},
	{
		name:       "uri",
		directives: "uri strip_prefix /api\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: `uri` changes the path to /chat-proxy first",
	},
	{
		name:       "mismatch",
		directives: "handle /chat {\nimport chat /api/chat-proxy\n}",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: a route around it matches only `path /chat`",
		do:         []string{"Let the matchers around `illumichat` agree."},
	},
	{
		name:       "method",
		directives: "@chat {\nmethod GET\npath /api/chat-proxy\n}\nimport chat @chat",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: a route around it matches only `method GET and path /api/chat-proxy`",
		do:         []string{"Leave the method out of the matcher."},
	},
	{
		name:       "method-changed",
		directives: "method GET\n@chat {\nmethod POST\npath /api/chat-proxy\n}\nimport chat @chat",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: `method` makes it a GET first",
		do:         []string{"@others not path /api/chat-proxy\nmethod @others GET"},
		keep:       "@chat {\nmethod POST\npath /api/chat-proxy\n}\nimport chat @chat\n",
	},
	{
		name:       "method-changed-anyway",
		directives: "method GET\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
		fault:      "a POST to /api/chat-proxy does not reach the chat: `method` makes it a GET first",
		keep:       "import chat /api/chat-proxy\n",
	},
	{
		name:       "regexp",
		directives: "respond /api/* 404\n@chat path_regexp ^/api/v[12]/(chat|talk)$\nimport chat @chat",
		path:       "/api/v1/chat",
		fault:      "a POST to /api/v1/chat does not reach the chat: `respond /api/*` answers first",
	},
	{
		name:       "invoke",
		directives: "redir /n* https://www.example.com\ninvoke named",
		path:       "/named",
		fault:      "a POST to /named does not reach the chat: `redir /n*` answers first",
	},

	// The chat gets its requests.
	{
		name:       "with-file-server",
		directives: "root ROOT\nfile_server\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
	},
	{
		name:       "single-page",
		directives: "root ROOT\nencode\nhandle /api/chat-proxy {\nimport chat\n}\nhandle {\ntry_files {path} /index.html\nfile_server\n}",
		path:       "/api/chat-proxy",
	},
	{
		name:       "inside-handle-path",
		directives: "handle_path /api/* {\nimport chat /chat\nreverse_proxy 127.0.0.1:1\n}",
		path:       "/api/chat",
	},
	{
		name:       "handle-path-without-matcher",
		directives: "handle_path /api/chat-proxy {\nimport chat\n}",
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
		directives: "import chat",
		path:       "/",
	},
	{
		name:       "one.shop",
		site:       "*.shop",
		directives: "@one host one.shop.test\nhandle @one {\nhandle /chat {\nimport chat\n}\nrespond shop\n}",
		path:       "/chat",
	},
	{
		name:       "no-such.mild",
		site:       "*.wild",
		directives: "@one host no-such.mild.test\nhandle @one {\nimport chat /chat\n}",
		path:       "/chat",
		fault:      "a POST to /chat does not reach the chat: a route around it matches only `host *.wild.test`",
		do:         []string{"Move the chat into the site block of that host."},
	},
	{
		name:       "not-excluded",
		directives: "@others not path /api/chat-proxy /health\nrespond @others 404\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
	},
	{
		name:       "versions",
		directives: "@v path_regexp ^/v\\d+/\nhandle @v {\nuri path_regexp ^/v\\d+ \"\"\nimport chat /chat\nreverse_proxy 127.0.0.1:1\n}",
		path:       "/v1/chat",
	},
	{
		name:       "rewritten-in-a-block",
		directives: "handle /old {\nrewrite * /chat\nimport chat /chat\n}",
		path:       "/old",
	},
	{
		name:       "nested-handle-path",
		directives: "handle_path /api/* {\nhandle_path /v1/* {\nimport chat /chat\n}\n}",
		path:       "/api/v1/chat",
	},
	{
		name:       "always-below",
		directives: "rewrite * /app{uri}\nimport chat /chat\nreverse_proxy 127.0.0.1:1",
		path:       "/chat",
		fault:      "a POST to /chat does not reach the chat: `rewrite` changes the path to /app/chat first",
		do:         []string{"handle {\n\trewrite …\n\treverse_proxy …\n}"},
	},
	{
		name:       "tenants",
		directives: "handle_path /t/* {\nuri path_regexp ^/[^/]+ \"\"\nimport chat /chat\n}",
		path:       "/t/any/chat",
	},
	{
		name:       "early-hints",
		directives: "respond 103\nimport chat /api/chat-proxy",
		path:       "/api/chat-proxy",
	},
}

// placedSites returns the Caddyfile of placements. Each is a host of its own.
func placedSites(t *testing.T, port int, placements []placement) string {
	t.Helper()
	root := t.TempDir()
	sitetest.WriteFile(t, filepath.Join(root, "index.html"), "<!doctype html>")
	var text strings.Builder
	fmt.Fprintf(&text, "{\nadmin off\npersist_config off\nstorage file_system %s\nauto_https off\ndefault_bind 127.0.0.1\ngrace_period 1s\nservers {\ntrusted_proxies static private_ranges\ntrusted_proxies_strict\n}\n}\n", t.TempDir())
	text.WriteString(chatSnippet + "&(named) {\nimport chat /named\n}\n")
	for _, p := range placements {
		fmt.Fprintf(&text, "http://%s.test:%d {\n%s\n}\n", cmp.Or(p.site, p.name), port, strings.ReplaceAll(p.directives, "ROOT", root))
	}
	return text.String()
}

// checkPlacements checks that the check finds each placement in which requests do not reach the chat, says why, and says what
// to write. It has to find nothing wrong with the others. A running Caddy has to do with a POST as the check says. It returns
// the findings of each placement.
func checkPlacements(t *testing.T, placements []placement) [][]doctor.Finding {
	t.Helper()
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	port := localhost.Ports(t, 1)[0]
	caddyfile := placedSites(t, port, placements)
	found := checkCaddyfile(t, caddyfile)
	sitetest.Load(t, sitetest.Adapt(t, caddyfile))
	t.Cleanup(func() { _ = caddy.Stop() })
	each := make([][]doctor.Finding, len(placements))
	for i, p := range placements {
		t.Run(p.name, func(t *testing.T) {
			host := fmt.Sprintf("%s.test:%d", p.name, port)
			mine := slices.DeleteFunc(slices.Clone(found), func(f doctor.Finding) bool { return !strings.HasPrefix(f.Where, host+" ") })
			if len(mine) == 0 {
				t.Fatalf("there is no finding about\n%s", p.directives)
			}
			each[i] = faults(mine)
			switch {
			case p.fault == "" && len(each[i]) > 0:
				t.Errorf("found %q of\n%s", lines(each[i]), p.directives)
			case p.fault != "" && (len(each[i]) != 1 || line(each[i][0]) != "wrong reachable: "+p.fault):
				t.Errorf("found %q, want %q", lines(each[i]), p.fault)
			case p.fault != "":
				for _, do := range p.do {
					if !strings.Contains(each[i][0].Do, do) {
						t.Errorf("it says to do %q, want %q", each[i][0].Do, do)
					}
				}
			}
			if got, want := reachesChat(t, port, host, p.path), p.fault == ""; got != want {
				t.Errorf("a POST to %s reaches the chat: %t, want %t", p.path, got, want)
			}
		})
	}
	return each
}

// The check knows where requests go, and what it says to write brings them to the chat.
func TestCheckKnowsWhereRequestsGo(t *testing.T) {
	var advised []placement
	for i, faults := range checkPlacements(t, placements) {
		p := placements[i]
		if len(faults) == 0 || !strings.Contains(faults[0].Do, "\n") {
			continue
		}
		advised = append(advised, placement{name: fmt.Sprintf("advice-%d", i), directives: p.around(pasted(faults[0].Do, p.directives)), path: p.path})
	}
	if len(advised) < 20 {
		t.Errorf("there are only %d pieces of advice", len(advised))
	}
	checkPlacements(t, advised)
}

// pasted returns the piece of a Caddyfile that a finding says to write. In the place of what it leaves out come the options
// of a chat, and the lines of the site's directives with the same name.
func pasted(do, directives string) string {
	_, snippet, _ := strings.Cut(do, "\n")
	var text strings.Builder
	for line := range strings.SplitSeq(snippet, "\n") {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case !strings.Contains(line, "…"):
			text.WriteString(line + "\n")
		case name == "…":
			text.WriteString("token {env.ILLUMICHAT_API_TOKEN}\nassistants asst_1\nlimit 20 1h\nlimit 2000 24h everyone\n")
		default:
			for original := range strings.SplitSeq(directives, "\n") {
				if strings.HasPrefix(strings.TrimSpace(original), name+" ") {
					text.WriteString(original + "\n")
				}
			}
		}
	}
	return text.String()
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

// The check finds nothing to change in the examples.
func TestCheckFindsExamplesClean(t *testing.T) {
	examples, err := filepath.Glob("example/*/Caddyfile")
	if err != nil || len(examples) < 5 {
		t.Fatalf("there are %d examples, %v", len(examples), err)
	}
	for _, file := range append(examples, "example/Caddyfile", "example/compose/conf/Caddyfile", "example/json/caddy.json") {
		found, status := checkConfig(t, tokenInEnv, withTokenFile(t, file))
		for _, f := range faults(found) {
			t.Errorf("%s: %+v", file, f)
		}
		if status != 0 || !slices.ContainsFunc(found, func(f doctor.Finding) bool { return f.Check == "reachable" && f.Level == doctor.OK }) {
			t.Errorf("%s: exit status %d, %q", file, status, lines(found))
		}
	}
}

// withTokenFile returns an example's config, or a copy of it that reads the token from a file that exists here.
func withTokenFile(t *testing.T, config string) string {
	t.Helper()
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	path := regexp.MustCompile(`/run/secrets/illumichat[/_]token`).FindString(string(text))
	if path == "" {
		return config
	}
	dir := t.TempDir()
	token, copied := filepath.Join(dir, "token"), filepath.Join(dir, filepath.Base(config))
	sitetest.WriteFile(t, token, sandbox.Token)
	sitetest.WriteFile(t, copied, strings.ReplaceAll(string(text), path, token))
	return copied
}

// sound is a site in which the check finds nothing wrong. Each case of TestCheckFindsFaults has a fault more.
const sound = `{
	grace_period 10s
	<global>
}
<site> {
	<directives>
	illumichat <matcher> {
		token <token>
		assistants <assistants>
		<limits>
		<options>
	}
	file_server
}
`

// soundly returns the sound site with other words in some places: names of places and words in turn.
func soundly(words ...string) string {
	places := map[string]string{
		"global": "", "site": "example.com", "directives": "", "matcher": "/chat", "token": "{env.ILLUMICHAT_API_TOKEN}",
		"assistants": "asst_1", "limits": "limit 20 1h\nlimit 2000 24h everyone", "options": "",
	}
	for pair := range slices.Chunk(words, 2) {
		places[pair[0]] = pair[1]
	}
	var replacements []string
	for name, words := range places {
		replacements = append(replacements, "<"+name+">", words)
	}
	return strings.NewReplacer(replacements...).Replace(sound)
}

// chatInBlock is a chat without a matcher.
const chatInBlock = "illumichat {\ntoken {env.ILLUMICHAT_API_TOKEN}\nassistants asst_1\nlimit 20 1h\nlimit 2000 24h everyone\n}\n"

// login is a line of a basic_auth.
const login = "alice $2a$04$02taKPwyyHPh/hXdAd94/Oa8Y2pCKCHivQm/8GJPTa1CQWG8yhQ8q"

// Each fault of a config has its finding, and no other.
func TestCheckFindsFaults(t *testing.T) {
	const allow = "allow_origins https://www.example.org"
	for _, test := range []struct {
		name, caddyfile string
		want            string // "": nothing
		words           string // which the reason or the remedy has
	}{
		{"nothing", soundly(), "", ""},
		{"no chat", "example.com {\n\tfile_server\n}\n", "wrong chat: the config has no illumichat directive", "illumichat /api/chat-proxy {"},
		{"order last", soundly("global", "order illumichat last"), "wrong reachable: a POST to /chat does not reach the chat: `file_server` answers first", "Remove the `order` option of `illumichat` or `file_server`"},
		{"order of another", soundly("global", "order reverse_proxy before rewrite", "directives", "reverse_proxy localhost:9000"),
			"wrong reachable: a POST to /chat does not reach the chat: `reverse_proxy` answers first", "Remove the `order` option of `illumichat` or `reverse_proxy`"},
		{"whole site", soundly("matcher", ""), "wrong whole_site: the chat takes every request of the site, so `file_server` gets none", "illumichat /api/chat-proxy {"},
		{"star", soundly("matcher", "*"), "wrong whole_site: the chat takes every request of the site, so `file_server` gets none", ""},
		{"the rest of a site", soundly("directives", "@chat not path /static/*", "matcher", "@chat"), "", ""},
		{"the POSTs of a site", soundly("directives", "@chat method POST", "matcher", "@chat"), "", ""},
		{"two chats", soundly("directives", "illumichat /chat {\ntoken {env.ILLUMICHAT_API_TOKEN}\nassistants asst_2\nlimit 20 1h\nlimit 9 1d all\n}"),
			"wrong reachable: a POST to /chat does not reach the chat: another `illumichat` answers first", "different paths"},

		{"empty token", soundly("token", "{env.NO_SUCH_VARIABLE}"), "wrong token: {env.NO_SUCH_VARIABLE} is empty or cannot be read", "the variables of the service"},
		{"no token file", soundly("token", "{file./no/such/file}"), "wrong token: {file./no/such/file}: stat /no/such/file: no such file or directory", "Put the token into the file"},
		{"no token file, relative", soundly("token", "{file.no/such/file}"),
			"wrong token: {file.no/such/file}: there is no such file; write an absolute path, such as {file./etc/caddy/illumichat_token}", "Caddy refuses this config."},
		{"relative token file", soundly("token", "{file.testdata/token}"),
			"warning token: the path of the token's file is relative, so it depends on Caddy's working directory", "{file./etc/caddy/illumichat_token}"},
		{"literal token", soundly("token", sitetest.FakeToken("1")), "warning token: the token is part of the config", "{file./etc/caddy/illumichat_token}"},
		{"empty assistant", soundly("assistants", "{env.NO_SUCH_VARIABLE}"), "wrong assistants: {env.NO_SUCH_VARIABLE} is empty or cannot be read", "the variables of the service"},
		{"any assistant", soundly("assistants", "*"), "warning assistants: visitors may talk to every assistant of the token's workspace", "asst_abc123"},
		{"endpoint", soundly("options", "endpoint https://{env.NO_SUCH_VARIABLE}/chat"), "wrong options: endpoint: {env.NO_SUCH_VARIABLE} is empty or cannot be read", ""},

		{"no limit", soundly("limits", ""), "warning limit: there is no limit", "limit 2000 24h everyone"},
		{"no limit for all", soundly("limits", "limit 20 1h"), "warning limit: no limit counts all visitors together", "limit 2000 24h everyone"},
		{"a limit of a host", soundly("limits", "limit 20 1h\nlimit 2000 24h {host}"), "", ""},
		{"a limit of users", soundly("limits", "limit 20 1h {http.auth.user.id}"), "warning limit: no limit counts all visitors together", ""},
		{"a limit of any host", soundly("site", "*.example.com", "limits", "limit 20 1h\nlimit 2000 24h everyone\nlimit 200 24h {host}"),
			"warning limit: a limit counts by {http.request.host}, which a visitor chooses", "Leave the key out"},
		{"a limit of a header", soundly("limits", "limit 20 1h\nlimit 2000 24h everyone\nlimit 9 1h {http.request.header.X-User}"),
			"warning limit: a limit counts by {http.request.header.X-User}, which a visitor chooses", ""},
		{"a limit of a cookie", soundly("limits", "limit 20 1h\nlimit 2000 24h everyone\nlimit 9 1h {http.request.cookie.session}"),
			"warning limit: a limit counts by {http.request.cookie.session}, which a visitor chooses", ""},
		{"a limit of a header that a login sets", soundly("directives", "forward_auth localhost:9091 {\nuri /check\ncopy_headers Remote-User\n}",
			"limits", "limit 20 1h\nlimit 2000 24h everyone\nlimit 9 1h {http.request.header.Remote-User}"), "", ""},
		{"a limit of nothing", soundly("limits", "limit 20 1h\nlimit 2000 24h everyone\nlimit 9 1h {hostt}"),
			"warning limit: a limit counts by {hostt}, which nothing in this config sets", "Correct the placeholder"},
		{"a limit of a mapped value", soundly("directives", "map {host} {plan} {\ndefault free\n}", "limits", "limit 20 1h\nlimit 2000 24h everyone\nlimit 9 1h {plan}"), "", ""},
		{"a limit of the proxy", soundly("global", "servers {\ntrusted_proxies static private_ranges\ntrusted_proxies_strict\n}",
			"limits", "limit 20 1h {http.request.remote.host}\nlimit 2000 24h everyone"),
			"warning limit: a limit counts by {http.request.remote.host}, which is the address of the proxy", "Leave the key out"},
		{"no limit on a demo", soundly("site", "http://localhost:8080", "limits", ""), "", ""},

		{"plain", soundly("site", "http://example.com"), "warning trusted_proxies: the site is plain HTTP, and there is no `trusted_proxies`", "trusted_proxies static"},
		{"plain, with a longer key", soundly("site", "http://example.com", "limits", "limit 20 1h {client_ip}-x\nlimit 2000 24h everyone"),
			"warning trusted_proxies: the site is plain HTTP, and there is no `trusted_proxies`", ""},
		{"plain, with the key of the connection", soundly("site", "http://example.com", "limits", "limit 20 1h {http.request.remote.host}\nlimit 2000 24h everyone"),
			"warning trusted_proxies: the site is plain HTTP, and there is no `trusted_proxies`", ""},
		{"any header believed", soundly("global", "servers {\ntrusted_proxies static private_ranges\n}"),
			"warning trusted_proxies: `trusted_proxies_strict` is missing, so the first address of X-Forwarded-For counts", "trusted_proxies_strict"},
		{"the header of a CDN believed", soundly("global", "servers {\ntrusted_proxies static private_ranges\nclient_ip_headers CF-Connecting-IP\n}"), "", ""},
		{"everybody believed", soundly("global", "servers {\ntrusted_proxies static 0.0.0.0/0 ::/0\ntrusted_proxies_strict\n}"),
			"wrong trusted_proxies: `trusted_proxies` includes every address, so any visitor can claim any address", "trusted_proxies static 203.0.113.0/24"},
		{"plain at a port", soundly("site", ":8080"), "warning trusted_proxies: the site is plain HTTP, and there is no `trusted_proxies`", ""},
		{"plain at another port", soundly("site", "http://example.com:8080"), "warning trusted_proxies: the site is plain HTTP, and there is no `trusted_proxies`", ""},
		{"HTTPS at a port", soundly("site", "example.com:8443"), "", ""},
		{"private", soundly("directives", "bind 10.1.2.3"), "warning trusted_proxies: the site binds the private address 10.1.2.3, and there is no `trusted_proxies`", ""},
		{"private, and known", soundly("directives", "bind 10.1.2.3", "global", "servers {\ntrusted_proxies static private_ranges\ntrusted_proxies_strict\n}"), "", ""},
		{"a socket", soundly("site", "http://example.com", "directives", "bind unix//run/caddy.sock"),
			"warning trusted_proxies: the server listens at a Unix socket, and `trusted_proxies_unix` is missing", "trusted_proxies_unix"},
		{"a known socket", soundly("site", "http://example.com", "directives", "bind unix//run/caddy.sock", "global", "servers {\ntrusted_proxies_unix\ntrusted_proxies_strict\n}"), "", ""},
		{"no grace period", strings.Replace(soundly(), "grace_period 10s", "", 1), "warning grace_period: there is no `grace_period`", "grace_period 10s"},
		{"write timeout", soundly("global", "servers {\ntimeouts {\nwrite 30s\n}\n}"),
			"warning write_timeout: the server's `write` timeout, 30s, is shorter than the chat's `max_duration`, 2m0s", "write 3m0s"},
		{"long write timeout", soundly("global", "servers {\ntimeouts {\nwrite 3m\n}\n}"), "", ""},

		{"request logged", soundly("directives", "log_append asked {http.request.body}"), "warning logging: `log_append` logs the body of each request", "what visitors write"},
		{"response logged", soundly("directives", "log_append answered {http.response.body}"), "warning logging: `log_append` logs the body of each response", "held back to its end"},
		{"others logged", soundly("directives", "@others not path /chat\nlog_append @others asked {http.request.body}"), "", ""},
		{"header of all origins", soundly("directives", "header Access-Control-Allow-Origin *"),
			"warning cors: a `header` directive writes `Access-Control-Allow-Origin` on the chat's answers, too", "allow_origins https://www.example.com"},
		{"header that is replaced", soundly("directives", "header Access-Control-Allow-Origin *", "options", allow), "", ""},
		{"header of another origin, last", soundly("directives", "header >Access-Control-Allow-Origin https://example.net", "options", allow),
			"wrong cors: a `header` directive writes `Access-Control-Allow-Origin` on the chat's answers, too, and runs after the chat", "with a matcher"},
		{"header of all origins, last", soundly("directives", "header >Access-Control-Allow-Origin *", "options", allow), "", ""},
		{"header added, last", soundly("directives", "header {\n+Access-Control-Allow-Origin *\ndefer\n}", "options", allow),
			"wrong cors: a `header` directive writes `Access-Control-Allow-Origin` on the chat's answers, too, and runs after the chat", "twice"},
		{"header of the only origin, last", soundly("directives", "header >Access-Control-Allow-Origin https://www.example.org", "options", allow), "", ""},
		{"header of one of two origins, last", soundly("directives", "header >Access-Control-Allow-Origin https://www.example.org", "options", allow+" https://www.example.net"),
			"wrong cors: a `header` directive writes `Access-Control-Allow-Origin` on the chat's answers, too, and runs after the chat", ""},
		{"header of any origin, last", soundly("directives", "header >Access-Control-Allow-Origin {header.Origin}", "options", allow),
			"warning cors: a `header` directive writes `Access-Control-Allow-Origin` on the chat's answers, too, and runs after the chat", ""},
		{"headers deleted", soundly("directives", "header -Access-Control-*", "options", allow),
			"wrong cors: a `header` directive writes `Access-Control-*` on the chat's answers, too, and runs after the chat", ""},
		{"login, as advised", "{\ngrace_period 10s\n}\nexample.com {\nhandle /chat {\nroute {\nbasic_auth {\n" + login + "\n}\n" + chatInBlock + "}\n}\nhandle {\nbasic_auth {\n" + login + "\n}\nfile_server\n}\n}", "", ""},
		{"origin deleted", soundly("directives", "request_header -Origin"), "warning request_header: `request_header` changes `Origin` before the chat", "with a matcher"},
		{"another type", soundly("directives", "request_header Content-Type text/plain"),
			"warning request_header: `request_header` changes `Content-Type` before the chat", ""},
		{"another field of the request", soundly("directives", "request_header X-Site a"), "", ""},
		{"header deleted", soundly("directives", "header -Access-Control-Allow-Origin", "options", allow),
			"wrong cors: a `header` directive writes `Access-Control-Allow-Origin` on the chat's answers, too, and runs after the chat", ""},

		{"another field, last", soundly("directives", "header >Access-Control-Max-Age 5", "options", allow),
			"warning cors: a `header` directive writes `Access-Control-Max-Age` on the chat's answers, too, and runs after the chat", ""},
		{"login", soundly("directives", "basic_auth {\n"+login+"\n}"), "", ""},
		{"login before a preflight", soundly("directives", "basic_auth {\n"+login+"\n}", "options", allow),
			"wrong preflight: `basic_auth` comes before the chat and refuses OPTIONS requests, though the chat has `allow_origins`", "@login not method OPTIONS\nbasic_auth @login …"},
		{"login service before a preflight", soundly("directives", "forward_auth localhost:9091 {\nuri /check\n}", "options", allow),
			"wrong preflight: `forward_auth` comes before the chat and refuses OPTIONS requests, though the chat has `allow_origins`", "forward_auth @login …"},
		{"login without preflights", soundly("directives", "@login not method OPTIONS\nbasic_auth @login {\n"+login+"\n}", "options", allow), "", ""},
		{"preflights answered", soundly("directives", "@preflight method OPTIONS\nrespond @preflight 204", "options", allow),
			"wrong preflight: an OPTIONS request does not reach the chat, though the chat has `allow_origins`: `respond (method OPTIONS)` answers first", ""},
		{"only POST", soundly("directives", "@chat {\nmethod POST\npath /chat\n}", "matcher", "@chat", "options", allow),
			"wrong preflight: an OPTIONS request does not reach the chat, though the chat has `allow_origins`: `file_server` answers first", ""},
		{"only POST, but resume", soundly("directives", "@chat {\nmethod POST\npath /chat\n}", "matcher", "@chat", "options", "resume"),
			"wrong resume: the chat has `resume`, but GET and DELETE requests do not reach it", "Remove the `method` and `header` conditions"},
		{"only JSON, but resume", soundly("directives", "@chat {\nheader Content-Type application/json*\npath /chat\n}", "matcher", "@chat", "options", "resume"),
			"wrong resume: the chat has `resume`, but GET and DELETE requests do not reach it", "no Content-Type"},
		{"login of the others", "{\ngrace_period 10s\n}\nexample.com {\nhandle /chat {\n" + chatInBlock + "}\nhandle {\nbasic_auth {\n" + login + "\n}\nfile_server\n}\n}",
			"warning login: `basic_auth` protects the site's other paths, but not the chat", "handle /chat {\n\troute {\n\t\tbasic_auth …\n\t\tillumichat {"},
		{"login after the chat", soundly("global", "order illumichat first", "directives", "basic_auth {\n"+login+"\n}"),
			"warning login: `basic_auth` protects the site's other paths, but not the chat", ""},
		{"login of a part", soundly("directives", "basic_auth /admin/* {\n"+login+"\n}"), "", ""},
		{"handles errors", soundly("directives", "handle_errors {\nillumichat {\ntoken {env.ILLUMICHAT_API_TOKEN}\nassistants asst_1\nlimit 2 1h all\n}\n}"),
			"warning reachable: the chat is in `handle_errors`, so a request reaches it only after an error", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			faults := faults(checkCaddyfile(t, test.caddyfile))
			switch {
			case test.want == "":
				if len(faults) > 0 {
					t.Errorf("found %q", lines(faults))
				}
			case len(faults) != 1 || line(faults[0]) != test.want:
				t.Errorf("found %q, want %q", lines(faults), test.want)
			case !strings.Contains(faults[0].Why+"\n"+faults[0].Do, test.words):
				t.Errorf("it says %q, %q, want %q", faults[0].Why, faults[0].Do, test.words)
			}
		})
	}
}

// A path that needs a slash at its end, or none, has a note: only the page shows which of them it posts to. With what the
// note says, both lead to the chat.
func TestCheckNotesTrailingSlash(t *testing.T) {
	const options = " {\ntoken {env.ILLUMICHAT_API_TOKEN}\nassistants asst_1\nlimit 20 1h\nlimit 2000 24h everyone\n}\n"
	for _, test := range []struct{ directives, want, advised string }{
		{"illumichat /chat" + options, "/chat/ does not reach the chat; if a page posts there, write `@chat path /chat /chat/` and `illumichat @chat`",
			"@chat path /chat /chat/\nillumichat @chat" + options},
		{"illumichat /chat/" + options, "/chat does not reach the chat; if a page posts there, write `@chat path /chat/ /chat` and `illumichat @chat`",
			"@chat path /chat/ /chat\nillumichat @chat" + options},
		{"handle /chat {\nillumichat" + options + "}\nhandle {\ntry_files {path} /index.html\nfile_server\n}",
			"/chat/ does not reach the chat; if a page posts there, write `@chat path /chat /chat/` and `handle @chat`, and no matcher in it",
			"@chat path /chat /chat/\nhandle @chat {\nillumichat" + options + "}\nhandle {\ntry_files {path} /index.html\nfile_server\n}"},
		{"handle_path /api/* {\nillumichat /chat" + options + "}",
			"/api/chat/ does not reach the chat; if a page posts there, write `@chat path /chat /chat/` and `illumichat @chat`",
			"handle_path /api/* {\n@chat path /chat /chat/\nillumichat @chat" + options + "}"},
		{"illumichat /chat*" + options, "", ""},
		{"illumichat /chat/*" + options, "", ""},
		{"respond /chat/ 404\nillumichat /chat" + options, "", ""},
	} {
		notes := func(directives string) string {
			var got []string
			for _, f := range checkCaddyfile(t, "{\ngrace_period 10s\n}\nexample.com {\n"+directives+"\n}\n") {
				if f.Check == "trailing_slash" || f.Level == doctor.Wrong {
					got = append(got, line(f))
				}
			}
			return strings.TrimPrefix(strings.Join(got, "\n"), "note trailing_slash: a POST to ")
		}
		if got := notes(test.directives); got != test.want {
			t.Errorf("%s: got %q, want %q", test.directives, got, test.want)
		}
		if got := notes(test.advised); test.advised != "" && got != "" {
			t.Errorf("%s: got %q", test.advised, got)
		}
	}
}

// The check says which hosts and paths lead to a chat, and what comes before it.
func TestCheckSaysWhatLeadsToAChat(t *testing.T) {
	for _, test := range []struct{ caddyfile, where, order, unless string }{
		{soundly(), "example.com /chat", "", ""},
		{soundly("site", "example.com, www.example.com:443, http://example.org:8080"), "example.com, www.example.com /chat", "", ""},
		{soundly("site", ":8080", "matcher", "/chat/*"), "server srv0 (:8080) /chat/*", "", ""},
		{soundly("site", "*.example.com"), "*.example.com /chat", "", ""},
		{soundly("site", "a.test, b.test, c.test, d.test, e.test"), "a.test, b.test, c.test and 2 more /chat", "", ""},
		{soundly("directives", "@chat path_regexp ^/v[12]/chat$", "matcher", "@chat"), "example.com /v1/chat", "", ""},
		{soundly("directives", "encode\nheader X-Site a\nabort @strangers\n@strangers not remote_ip 10.0.0.0/8\nroot /srv"), "example.com /chat",
			"note order: before it come `root`, `header` and `encode`; `abort (not remote_ip 10.0.0.0/8)` may answer first",
			" unless `abort (not remote_ip 10.0.0.0/8)` answers first"},
		{soundly("directives", "root /srv"), "example.com /chat", "ok order: before it comes `root`", ""},
		{soundly("directives", "request_header X-Site a"), "example.com /chat", "ok order: before it comes `request_header`", ""},
		{soundly("directives", "basic_auth {\n"+login+"\n}"), "example.com /chat", "note order: before it comes `basic_auth`; `basic_auth` may answer first", " unless `basic_auth` answers first"},
		{soundly("directives", "@maintenance not remote_ip 10.0.0.0/8\nrespond @maintenance 503\nbasic_auth {\n"+login+"\n}"), "example.com /chat", "",
			" unless `basic_auth` or `respond (not remote_ip 10.0.0.0/8)` answers first"},
	} {
		found := checkCaddyfile(t, test.caddyfile)
		if !slices.ContainsFunc(found, func(f doctor.Finding) bool {
			return f.Where == test.where && line(f) == "ok reachable: a POST reaches the chat"+test.unless
		}) {
			t.Errorf("no POST to %s reaches a chat: %+v", test.where, found)
		}
		if test.order != "" && !slices.Contains(lines(found), test.order) {
			t.Errorf("got %q, want %q", lines(found), test.order)
		}
	}
}

// A host that sends all its visitors to another one, where they reach the same chat, has a note and nothing else. Any other
// redirect is wrong.
func TestCheckNotesHostsThatRedirect(t *testing.T) {
	www := "note reachable: `redir (host www.example.com)` sends visitors to another address, where they reach the same chat"
	for _, test := range []struct{ site, directives, want string }{
		{"example.com, www.example.com", "@www host www.example.com\nredir @www https://example.com{uri}", www},
		{"example.com, www.example.com", "@www host www.example.com\nhandle @www {\nredir https://example.com{uri}\n}", strings.Replace(www, "`redir (host www.example.com)`", "`redir` in `handle (host www.example.com)`", 1)},
		{"example.com, www.example.com", "@other not host example.com\nredir @other https://example.com{uri}", strings.Replace(www, "(host www.", "(not host ", 1)},
		{"http://example.com, https://example.com", "@http protocol http\nredir @http https://{host}{uri} 308", strings.Replace(www, "(host www.example.com)", "(protocol http)", 1)},
		{"example.com, www.example.com", "@www host www.example.com\nredir @www https://example.net{uri}", "wrong reachable: a POST to /chat does not reach the chat: `redir (host www.example.com)` answers first"},
		{"example.com, www.example.com", "@www host www.example.com\n@chat {\nhost www.example.com\npath /chat\n}\nredir @chat https://example.com{uri}",
			"wrong reachable: a POST to /chat does not reach the chat: `redir (host www.example.com and path /chat)` answers first"},
	} {
		var got []string
		for _, f := range checkCaddyfile(t, soundly("site", test.site, "directives", test.directives)) {
			if f.Level == doctor.Wrong || f.Level == doctor.Warning || f.Level == doctor.Note && f.Check != "trailing_slash" {
				got = append(got, line(f))
			}
		}
		if len(got) != 1 || got[0] != test.want {
			t.Errorf("%s: got %q, want %q", test.directives, got, test.want)
		}
	}
}

// A matcher that leaves only some paths to others takes the home page, too, which has a note.
func TestCheckNotesHomePage(t *testing.T) {
	for matcher, want := range map[string]bool{"not path /static/*": true, "method POST": false, "path /chat/*": false, "query chat=*": false} {
		found := checkCaddyfile(t, soundly("directives", "@chat "+matcher, "matcher", "@chat"))
		got := slices.Contains(lines(found), "note whole_site: the chat takes the home page, too, so `file_server` does not get it")
		if got != want {
			t.Errorf("%s: got %q", matcher, lines(found))
		}
	}
}

// Two chats at one path have names that tell them apart.
func TestCheckNamesChatsAtOnePath(t *testing.T) {
	found := checkCaddyfile(t, soundly("directives", strings.Replace(chatInBlock, "illumichat {", "illumichat /chat {", 1), "assistants", "asst_2"))
	var got []string
	for _, f := range found {
		if f.Check == "reachable" {
			got = append(got, string(f.Level)+" "+f.Where)
		}
	}
	if want := []string{"ok example.com /chat (asst_1)", "wrong example.com /chat (asst_2)"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// If nothing but the whole count of chats depends on a proxy, the check only notes that Caddy knows none.
func TestCheckNotesUnknownProxy(t *testing.T) {
	found := checkCaddyfile(t, soundly("site", "http://example.com", "limits", "limit 2000 24h everyone"))
	if want := "note trusted_proxies: the site is plain HTTP, and there is no `trusted_proxies`"; !slices.Contains(lines(found), want) {
		t.Errorf("got %q, want %q", lines(found), want)
	}
}

// The check prints no secret, even one in a wrong place. It exits with status 1 if something is wrong.
func TestCheckPrintsNoSecret(t *testing.T) {
	secret := sitetest.FakeToken("2")
	file := filepath.Join(t.TempDir(), "Caddyfile")
	sitetest.WriteFile(t, file, soundly("token", secret, "site", "http://example.com", "matcher", "/chat-"+secret,
		"directives", "respond /chat-"+secret+" \"no\"\nheader Access-Control-Allow-"+secret+" *"))
	for _, args := range [][]string{nil, {"--json"}} {
		stdout, stderr, status := sitetest.Command(t, nil, append([]string{"illumichat", "check", "--config", file}, args...)...)
		if strings.Contains(stdout+stderr, secret) || !strings.Contains(stdout, "wrong") {
			t.Errorf("it prints %s%s", stdout, stderr)
		}
		if status != 1 {
			t.Errorf("the exit status is %d", status)
		}
	}
}

// A config that Caddy cannot read is an error, as it is for `caddy run`.
func TestCheckRefusesWhatCaddyCannotRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "Caddyfile")
	sitetest.WriteFile(t, file, "example.com {\n\tillumichat {\n\t\tassistant asst_1\n\t}\n}\n")
	_, stderr, status := sitetest.Command(t, nil, "illumichat", "check", "--config", file)
	if status != 1 || !strings.Contains(stderr, "Caddyfile:3") {
		t.Errorf("exit status %d, %s", status, stderr)
	}
}

// randomSite writes random directives of a site, with one chat in it.
type randomSite struct {
	*rand.Rand
	root string
	text strings.Builder
	chat int // how many directives are written before the chat
}

func (r *randomSite) pick(words ...string) string { return words[r.IntN(len(words))] }

// path returns a path that the chat, or another directive, may have.
func (r *randomSite) path() string {
	return r.pick("/a", "/a/b", "/a/b/c", "/b", "/b/c", "/c")
}

// pattern returns a path, or a pattern that may match it.
func (r *randomSite) pattern() string {
	return r.pick(r.path(), r.path()+"*", r.path()+"/*", "/*")
}

// directives writes some directives, as deep as depth.
func (r *randomSite) directives(depth int) {
	for range 1 + r.IntN(3) {
		if r.chat--; r.chat == 0 {
			r.text.WriteString("import chat " + r.pick(r.path(), r.path(), r.path()+"*", "") + "\n")
		}
		if depth > 0 && r.IntN(2) == 0 {
			r.block(depth - 1)
			continue
		}
		r.text.WriteString(r.pick(
			"respond "+r.pattern()+" other",
			"redir "+r.pattern()+" https://example.com",
			"reverse_proxy "+r.pattern()+" 127.0.0.1:1",
			"header X-Site a",
			"encode",
			"rewrite "+r.pattern()+" "+r.path(),
			"uri strip_prefix "+r.path(),
			"uri strip_suffix "+r.pick("/b", "/c"),
			"uri replace /b /c",
			"uri path_regexp ^/[ab]/ /",
			"rewrite "+r.pattern()+" "+r.path()+"{uri}",
			"try_files {path} "+r.pick("/index.html", "=404", "{path}/", "/index.html?{query}&p={path}"),
			"file_server",
			"method "+r.pattern()+" "+r.pick("GET", "POST"),
			"error "+r.path()+" 404",
		) + "\n")
	}
}

// block writes a block of directives.
func (r *randomSite) block(depth int) {
	r.text.WriteString(r.pick("handle "+r.pattern(), "handle", "handle_path "+r.path()+"/*", "handle_path "+r.path(), "route", "route "+r.pattern()) + " {\n")
	r.directives(depth)
	r.text.WriteString("}\n")
}

// The check says of random sites where requests go, and a running Caddy agrees.
func TestCheckAgreesWithCaddy(t *testing.T) {
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	const sites, seed = 400, 1
	port, root := localhost.Ports(t, 1)[0], t.TempDir()
	sitetest.WriteFile(t, filepath.Join(root, "index.html"), "<!doctype html>")
	var text strings.Builder
	fmt.Fprintf(&text, "{\nadmin off\npersist_config off\nstorage file_system %s\nauto_https off\ndefault_bind 127.0.0.1\n}\n", t.TempDir())
	text.WriteString(chatSnippet)
	bodies := make(map[string]string)
	chance := rand.New(rand.NewPCG(seed, seed))
	for i := range sites {
		site := randomSite{Rand: chance, root: root, chat: 1 + chance.IntN(4)}
		site.directives(2)
		if !strings.Contains(site.text.String(), "import chat") {
			site.text.WriteString("import chat " + site.path() + "\n")
		}
		host := fmt.Sprintf("s%d.test:%d", i, port)
		bodies[host] = site.text.String()
		fmt.Fprintf(&text, "http://%s {\nroot %s\n%s}\n", host, root, site.text.String())
	}
	found := checkCaddyfile(t, text.String())
	sitetest.Load(t, sitetest.Adapt(t, text.String()))
	t.Cleanup(func() { _ = caddy.Stop() })

	claims := map[bool]int{}
	for _, f := range found {
		if f.Check != "reachable" || f.Level == doctor.Skipped {
			continue
		}
		host, paths, _ := strings.Cut(f.Where, " ")
		if paths == "(every path)" {
			continue // which is said if any path leads to the chat
		}
		// A chat with some paths that do not lead to it has a finding for these.
		lost := func(path string) bool {
			return slices.ContainsFunc(found, func(other doctor.Finding) bool {
				return other.Check == "reachable" && other.Level == doctor.Wrong && other.Where == host+" "+path
			})
		}
		for path := range strings.FieldsSeq(paths) {
			claim := f.Level == doctor.OK && !lost(path)
			claims[claim]++
			if got := reachesChat(t, port, host, strings.ReplaceAll(path, "*", "any")); got != claim {
				t.Errorf("a POST to %s%s reaches the chat: %t, but the check says %+v of\n%s", host, path, got, f, bodies[host])
			}
		}
	}
	if claims[true] < sites/10 || claims[false] < sites/10 {
		t.Errorf("the check claims too little: %v", claims)
	}
}

// A page that asks where no chat is says so, with the path to write. A page whose chat may be behind a proxy or on another origin
// may be right.
func TestCheckConfigFindsThePagesChat(t *testing.T) {
	const lost, write = "wrong page: the page asks /api/chat-proxy, where no chat is", "Write in the block of `illumichat_page`:\nchat /talk"
	for _, test := range []struct{ name, caddyfile, where, do string }{
		{"the default", "example.com {\nimport chat /api/chat-proxy\nillumichat_page /chat*\n}", "", ""},
		{"its option", "example.com {\nimport chat /talk\nillumichat_page /chat* {\nchat /talk\n}\n}", "", ""},
		{"no matcher", "example.com {\nimport chat /api/chat-proxy\nillumichat_page\n}", "", ""},
		{"a handle block", "example.com {\nhandle /api/* {\nimport chat\n}\nhandle_path /chat* {\nillumichat_page\n}\n}", "", ""},
		{"a proxy", "example.com {\nimport chat /talk\nreverse_proxy localhost:9000\nillumichat_page /chat*\n}", "", ""},
		{"another origin", "example.com {\nimport chat /talk\nillumichat_page /chat* {\nchat https://chat.example.com/api/chat\n}\n}", "", ""},
		{"another path", "example.com {\nimport chat /talk\nfile_server\nillumichat_page /chat*\n}", "example.com /chat /chat/*", write},
		{"another path, no matcher", "example.com {\nimport chat /talk\nillumichat_page\n}", "example.com (every path)", write},
		{"another site", "chat.example.com {\nimport chat /api/chat-proxy\n}\nexample.com {\nillumichat_page /\n}", "example.com (every path)", "Write an `illumichat` for this path."},
	} {
		t.Run(test.name, func(t *testing.T) {
			var pages []doctor.Finding
			for _, f := range checkCaddyfile(t, chatSnippet+test.caddyfile) {
				if f.Check == "page" {
					pages = append(pages, f)
				}
			}
			if test.where == "" {
				if len(pages) > 0 {
					t.Errorf("got %q", lines(pages))
				}
				return
			}
			if len(pages) != 1 || line(pages[0]) != lost || pages[0].Where != test.where || !strings.HasPrefix(pages[0].Do, test.do) {
				t.Errorf("got %+v, want %q at %s, and to do: %s", pages, lost, test.where, test.do)
			}
		})
	}

	file := filepath.Join(t.TempDir(), "Caddyfile")
	sitetest.WriteFile(t, file, "example.com {\nillumichat_page / {\nchat https://chat.example.com/api/chat\n}\n}")
	if found, status := checkConfig(t, nil, file); status != 0 || len(found) > 0 {
		t.Errorf("of a page whose chat is elsewhere, got the status %d and %q", status, lines(found))
	}
}
