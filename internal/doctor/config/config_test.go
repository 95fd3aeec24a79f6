package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// findings collects findings.
type findings []doctor.Finding

func (f *findings) Add(found doctor.Finding) { *f = append(*f, found) }
func (*findings) Progress(string)            {}

// lines returns the findings of some levels, with their places.
func (f findings) lines(levels ...doctor.Level) []string {
	var lines []string
	for _, each := range f {
		if slices.Contains(levels, each.Level) {
			lines = append(lines, fmt.Sprintf("%s: %s %s: %s", each.Where, each.Level, each.Check, each.Found))
		}
	}
	return lines
}

// wellSet returns options in which nothing is wrong.
func wellSet(json.RawMessage) Options {
	return Options{Limits: []Limit{{Placeholders: []string{clientAddress}}, {ForMany: true}}, MaxDuration: 2 * time.Minute}
}

// check checks a server with routes, and other fields before them.
func check(t *testing.T, fields, routes string) findings {
	t.Helper()
	var found findings
	config := fmt.Sprintf(`{"apps": {"http": {"grace_period": "10s", "servers": {"main": {"listen": [":443"], %s "routes": %s}}}}}`, fields, routes)
	if err := Check([]byte(config), wellSet, &found); err != nil {
		t.Fatal(err)
	}
	return found
}

const chatRoute = `{"handle": [{"handler": "illumichat"}]}`

// at returns the route of a chat at a path.
func at(path string) string {
	return fmt.Sprintf(`{"match": [{"path": [%q]}], "handle": [{"handler": "illumichat"}]}`, path)
}

// respondAt returns the beginning of a list of routes, with one that answers at a path.
func respondAt(path string) string {
	return fmt.Sprintf(`[{"match": [{"path": [%q]}], "handle": [{"handler": "static_response"}]}, `, path)
}

// twice returns named routes of which each invokes the next one twice.
func twice(n int) string {
	var routes []string
	for i := range n {
		invoke := fmt.Sprintf(`{"handler": "invoke", "name": "n%d"}`, i+1)
		routes = append(routes, fmt.Sprintf(`"n%d": {"handle": [%s, %s]}`, i, invoke, invoke))
	}
	return `"named_routes": {` + strings.Join(routes, ", ") + "},"
}

func TestJSON(t *testing.T) {
	t.Setenv("ILLUMICHAT_TEST_PATH", "hidden-path")
	const respond = `{"handle": [{"handler": "static_response"}]}`
	for _, test := range []struct {
		name, fields, routes string
		want                 []string // wrong, warnings and skipped
	}{
		{"a chat", "", "[" + at("/chat") + "]", nil},
		{"sets of hosts with paths", "", `[{"match": [{"host": ["a.test"], "path": ["/a"]}, {"host": ["b.test"], "path": ["/b"]}], "handle": [{"handler": "illumichat"}]}]`, nil},
		{"one of two hosts", "", `[
			{"match": [{"host": ["b.test"]}], "handle": [{"handler": "static_response"}], "terminal": true},
			{"match": [{"host": ["a.test", "b.test"], "path": ["/chat"]}], "handle": [{"handler": "illumichat"}]}]`,
			[]string{"b.test /chat: wrong reachable: a POST to /chat does not reach the chat: `respond (host b.test)` answers first"}},
		{"one of two paths", "", `[
			{"match": [{"path": ["/b"]}], "handle": [{"handler": "static_response"}]},
			{"match": [{"path": ["/a", "/b"]}], "handle": [{"handler": "illumichat"}]}]`,
			[]string{"server main (:443) /b: wrong reachable: a POST to /b does not reach the chat: `respond /b` answers first"}},
		{"a terminal route", "", `[{"match": [{"path": ["/c*"]}], "terminal": true}, ` + at("/chat") + "]",
			[]string{"server main (:443) /chat: wrong reachable: a POST to /chat does not reach the chat: nothing answers it"}},
		{"an unknown handler", "", `[{"handle": [{"handler": "of_another_module"}]}, ` + at("/chat") + "]", nil},
		{"an unknown matcher", "", `[{"match": [{"of_another_module": {}}], "handle": [{"handler": "static_response"}]}, ` + at("/chat") + "]", nil},
		{"all but an unknown matcher", "", `[{"match": [{"not": [{"of_another_module": {}}]}], "handle": [{"handler": "static_response"}]}, ` + at("/chat") + "]", nil},
		{"rewrites on conditions", "", "[" + strings.Repeat(`{"match": [{"remote_ip": {"ranges": ["10.0.0.0/8"]}}], "handle": [{"handler": "rewrite", "strip_path_suffix": "x"}]},`, 40) + at("/chat") + "]", nil},
		{"different rewrites on conditions", "", "[" + func() (routes string) {
			for i := range 20 {
				routes += fmt.Sprintf(`{"match": [{"remote_ip": {"ranges": ["10.0.0.0/8"]}}], "handle": [{"handler": "rewrite", "uri": "{http.request.uri.path}/%d"}]},`, i)
			}
			return routes
		}() + at("/chat") + "]", []string{"server main (:443) /chat: skipped reachable: this check cannot construct every request that the chat's matchers accept"}},
		{"a host that is not ASCII", "", `[{"match": [{"host": ["münchen.test", "Äpfel.test"]}], "handle": [{"handler": "illumichat"}]}]`, nil},
		{"an escaped path", "", "[" + at("/a%2Fb%20c") + "]", nil},
		{"a path with a placeholder", "", respondAt("/*") + at("/{env.ILLUMICHAT_TEST_PATH}") + "]",
			[]string{"server main (:443) /{env.ILLUMICHAT_TEST_PATH}: wrong reachable: a POST to /{env.ILLUMICHAT_TEST_PATH} does not reach the chat: `respond /*` answers first"}},
		{"another site", "", `[
			{"match": [{"host": ["*.test"]}], "handle": [{"handler": "subroute", "routes": [` + respond + `]}], "terminal": true},
			{"match": [{"host": ["a.test"]}], "handle": [{"handler": "subroute", "routes": [` + at("/chat") + `]}], "terminal": true}]`,
			[]string{"a.test /chat: wrong reachable: a POST to /chat does not reach the chat: `respond` in the site of `host *.test` answers first"}},
		{"a proxy that replaces errors", "", `[{"handle": [{"handler": "reverse_proxy", "handle_response": [{"match": {"status_code": [5]}, "routes": [
			{"handle": [{"handler": "subroute", "routes": [{"handle": [{"handler": "static_response"}]}]}]}]}]}]}, ` + at("/chat") + "]",
			[]string{"server main (:443) /chat: wrong reachable: a POST to /chat does not reach the chat: `reverse_proxy` answers first"}},
		{"a proxy that asks another server first", "", `[{"handle": [{"handler": "reverse_proxy", "handle_response": [{"match": {"status_code": [2]}, "routes": [
			{"handle": [{"handler": "headers"}]}]}]}]}, ` + at("/chat") + "]", nil},
		{"a fallback of the request", "", `[{"match": [{"file": {"try_files": ["{http.request.uri.path}.html"], "try_policy": "first_exist_fallback"}}],
			"handle": [{"handler": "rewrite", "uri": "{http.matchers.file.relative}"}]}, ` + at("/chat") + "]",
			[]string{"server main (:443) /chat: wrong reachable: a POST to /chat does not reach the chat: `try_files {path}.html` changes the path to /chat.html first"}},
		{"a path and a method that change", "", `[{"handle": [{"handler": "rewrite", "uri": "/x"}]}, {"handle": [{"handler": "rewrite", "method": "GET"}]}, ` + at("/chat") + "]",
			[]string{"server main (:443) /chat: wrong reachable: a POST to /chat does not reach the chat: `rewrite` changes the path to /x first"}},
		{"a host that is not there", "", `[{"match": [{"host": ["a.test"]}], "handle": [{"handler": "subroute", "routes": [
			{"handle": [{"handler": "rewrite", "strip_path_suffix": "y"}]},
			{"match": [{"host": ["b.test"], "path": ["/x"]}], "handle": [{"handler": "illumichat"}]}]}]}]`,
			[]string{"b.test /x: wrong reachable: a POST to /x does not reach the chat: a route around it matches only `host a.test`"}},
		{"either of two matchers", "", `[{"match": [{"remote_ip": {}}, {"method": ["POST"]}], "handle": [{"handler": "static_response"}]}, ` + at("/chat") + "]",
			[]string{"server main (:443) /chat: wrong reachable: a POST to /chat does not reach the chat: `respond (remote_ip, or method POST)` answers first"}},
		{"a rewrite to an unknown path", "", `[{"handle": [{"handler": "rewrite", "uri": "{http.vars.path}"}]}, ` + at("/chat") + "]",
			[]string{"server main (:443) /chat: skipped reachable: this check cannot construct every request that the chat's matchers accept"}},
		{"a rewrite by a regular expression", "", `[{"handle": [{"handler": "rewrite", "path_regexp": [{"find": "/v\\d{2}/", "replace": "/"}]}]}, ` + at("/v12/chat") + "]",
			[]string{"server main (:443) /v12/chat: skipped reachable: this check cannot construct every request that the chat's matchers accept"}},
		{"a rewrite that keeps the path", "", `[{"handle": [{"handler": "rewrite", "uri": "/{http.request.host}{http.request.uri}"}]}, ` + at("/chat") + "]",
			[]string{"server main (:443) /chat: skipped reachable: this check cannot construct every request that the chat's matchers accept"}},
		{"a path of the request", "", "[" + at("/{http.request.host}") + "]",
			[]string{"server main (:443): skipped reachable: this check cannot construct every request that the chat's matchers accept"}},
		{"a named route", `"named_routes": {"n": ` + at("/chat") + `},`, `[{"handle": [{"handler": "invoke", "name": "n"}]}]`, nil},
		{"a named route twice", `"named_routes": {"n": ` + chatRoute + `},`, `[
			{"match": [{"path": ["/a"]}], "handle": [{"handler": "invoke", "name": "n"}]},
			{"match": [{"path": ["/b"]}], "handle": [{"handler": "invoke", "name": "n"}]}]`, nil},
		{"a named route that is not invoked", `"named_routes": {"n": ` + chatRoute + `},`, "[" + respond + "]",
			[]string{"server main (:443): wrong reachable: the chat in the named route `&(n)` is not reached, because no site invokes the route"}},
		{"a named route that invokes itself", `"named_routes": {"n": {"handle": [{"handler": "invoke", "name": "n"}]}},`,
			`[` + at("/chat") + `, {"handle": [{"handler": "invoke", "name": "n"}]}]`, nil},
		{"a named route that invokes itself twice, before the chat", `"named_routes": {"n": {"handle": [{"handler": "invoke", "name": "n"}, {"handler": "invoke", "name": "n"}]}},`,
			`[{"handle": [{"handler": "invoke", "name": "n"}]}, ` + at("/chat") + "]",
			[]string{"server main (:443) /chat: skipped reachable: this check cannot construct every request that the chat's matchers accept"}},
		{"named routes that each invoke another twice", twice(40), `[{"handle": [{"handler": "invoke", "name": "n0"}]}, ` + at("/chat") + "]",
			[]string{"server main (:443) /chat: skipped reachable: this check cannot construct every request that the chat's matchers accept"}},
		{"named routes that each invoke another twice, with a chat", strings.Replace(twice(40), `"n39": {"handle": [`, `"n39": {"handle": [{"handler": "illumichat"}, `, 1),
			`[{"handle": [{"handler": "invoke", "name": "n0"}]}]`,
			[]string{"server main (:443): skipped chat: its routes invoke each other too often for this check"}},
		{"captures on two ways", "", `[{"match": [{"path_regexp": {"name": "id", "pattern": "^/(x)"}, "remote_ip": {}}], "handle": [{"handler": "rewrite", "uri": "/{http.regexp.id.1}"}]},
			{"match": [{"path": ["/x"]}], "handle": [{"handler": "illumichat"}]}]`, nil},
		{"inside another handler", "", `[{"handle": [{"handler": "reverse_proxy", "handle_response": [{"routes": [` + chatRoute + `]}]}]}]`,
			[]string{"server main (:443): skipped chat: there is an `illumichat` inside `reverse_proxy`, where this check cannot follow a request"}},
		{"a file that has to exist", "", `[{"match": [{"path": ["/chat"], "file": {"try_files": ["{http.request.uri.path}", "=404"]}}], "handle": [{"handler": "illumichat"}]}]`,
			[]string{"server main (:443) /chat: wrong reachable: a POST to /chat does not reach the chat: `try_files` refuses it, because no such file exists"}},
		{"a path behind a map", "", `[{"match": [{"expression": "{dest} == '/x'"}], "handle": [{"handler": "subroute", "routes": [
			{"handle": [{"handler": "rewrite", "uri": "/internal"}]}, ` + at("/internal") + "]}]}]", nil},
		{"two in one route", "", `[{"match": [{"path": ["/chat"]}], "handle": [{"handler": "illumichat"}, {"handler": "illumichat"}]}]`,
			[]string{"server main (:443) /chat: wrong reachable: a POST to /chat does not reach the chat: another `illumichat` answers first"}},
		{"no config at all", "", "[]", []string{": wrong chat: the config has no illumichat directive"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			found := check(t, test.fields, test.routes)
			if got := found.lines(doctor.Wrong, doctor.Warning, doctor.Skipped); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if text := fmt.Sprint(found); strings.Contains(text, "hidden-path") {
				t.Errorf("a value of a placeholder is in %s", text)
			}
		})
	}
}

// A config that is no JSON is an error, and one without an HTTP app has no chat.
func TestNoHTTP(t *testing.T) {
	var found findings
	if err := Check([]byte("{"), wellSet, &found); err == nil || len(found) > 0 {
		t.Errorf("got %v, %q", err, found)
	}
	for _, config := range []string{"{}", `{"apps": {"tls": {}}}`, `{"apps": {"http": {"servers": {"main": null}}}}`} {
		found = nil
		if err := Check([]byte(config), wellSet, &found); err != nil || len(found.lines(doctor.Wrong)) != 1 {
			t.Errorf("%s: got %v, %q", config, err, found)
		}
	}
}

// An error about JSON names the place, and no type of Go.
func TestBadJSON(t *testing.T) {
	server := func(routes string) string {
		return `{"apps": {"http": {"servers": {"main": {"routes": ` + routes + "}}}}}"
	}
	for config, want := range map[string]string{
		"[]": "the config's JSON: it is not an object, but an array",
		`{"apps": {"http": {"servers": {"main": {"listen": ":443"}}}}}`: "the config's JSON: the value of apps.http.servers.listen cannot be a string",
		server(`[{"handle": ["x"]}]`):                                   "server main: routes[0].handle[0]: it is not an object, but a string",
		server(`[{"handle": [{"handler": "vars"}, null]}]`):             `server main: routes[0].handle[1]: there is no handler; write one, such as {"handler": "file_server"}`,
		server(`[{}, {"handle": [{"handler": "subroute", "routes": [{"handle": [{}]}]}]}]`): "server main: routes[1].handle[0]: routes[0].handle[0]: there is no handler; " +
			`write one, such as {"handler": "file_server"}`,
	} {
		var found findings
		if err := Check([]byte(config), wellSet, &found); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", config, err, want)
		}
	}
}

// An error of the token says what to do, or the finding does.
func TestTokenRemedy(t *testing.T) {
	missing := &fs.PathError{Op: "open", Path: "/token", Err: fs.ErrNotExist}
	for _, test := range []struct {
		err     error
		why, do string // which the finding begins with; "": nothing
	}{
		{fmt.Errorf("{file./token}: %w", missing), "Until the file exists", "Put the token into the file"},
		{fmt.Errorf("{file./token}: %w", fs.ErrPermission), "Caddy refuses", "Let Caddy's user read the file."},
		{errors.New("{env.TOKEN} is empty or cannot be read"), "Caddy refuses", "If the service has another environment"},
		{errors.New("{env.TOKEN}: the token has quotation marks around it; leave them out"), "Caddy refuses", ""},
		{errors.New("{file./token}: the token is shorter than 16 bytes"), "Caddy refuses", ""},
		{errors.New("the token is a path; write {file.PATH} to read it from a file"), "Caddy refuses", ""},
		{errors.New("the token is empty"), "Caddy refuses", "Write `token {file."},
	} {
		why, do := tokenRemedy(test.err)
		if !strings.HasPrefix(why, test.why) || !strings.HasPrefix(do, test.do) || (do == "") != (test.do == "") {
			t.Errorf("%v: got %q, %q", test.err, why, do)
		}
	}
}

// The handler's own errors are findings.
func TestOptionsOfTheHandler(t *testing.T) {
	var found findings
	refused := func(raw json.RawMessage) Options {
		if !strings.Contains(string(raw), `"roles"`) {
			t.Errorf("the handler's config is %s", raw)
		}
		return Options{Token: errors.New("token error"), Assistants: errors.New("assistants error"), Other: errors.New("other error")}
	}
	config := `{"apps": {"http": {"grace_period": "1s", "servers": {"main": {"routes": [{"handle": [{"handler": "illumichat", "roles": []}]}]}}}}}`
	if err := Check([]byte(config), refused, &found); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"server main () (every path): wrong token: token error",
		"server main () (every path): wrong assistants: assistants error",
		"server main () (every path): wrong options: other error",
	}
	if got := found.lines(doctor.Wrong); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// If the handler cannot decode its options, nothing is said of them.
func TestUndecodableOptions(t *testing.T) {
	var found findings
	undecodable := func(json.RawMessage) Options { return Options{Undecodable: errors.New("no such option")} }
	config := `{"apps": {"http": {"grace_period": "1s", "servers": {"main": {"listen": [":443"], "routes": [` + at("/chat") + `]}}}}}`
	if err := Check([]byte(config), undecodable, &found); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"server main (:443) /chat: ok reachable: a POST reaches the chat",
		"server main (:443) /chat: wrong options: no such option",
	}
	if got := found.lines(doctor.Wrong, doctor.Warning, doctor.OK); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSampleOfRegularExpression(t *testing.T) {
	for expression, want := range map[string]string{
		`^/api/chat$`:                `/api/chat`,
		`^/api/v[12]/(?:chat|talk)$`: `/api/v1/chat`,
		`/chat/?$`:                   `/chat`,
		`^/[a-z]{3,}/\d+$`:           `/aaa/0`,
		`chat`:                       `/chat`,
		`^/a*b.c$`:                   `/bac`,
		`^/(`:                        "",
		`^chat$`:                     "",
	} {
		got, ok := sampleOf(expression)
		if !ok {
			got = ""
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", expression, got, want)
		}
	}
}
