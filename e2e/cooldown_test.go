package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// Handlers with the same endpoint and token source share a cool-down. Those of later configs share it too.
func TestCoolDownIsShared(t *testing.T) {
	t.Setenv("TEST_TOKEN", sandbox.Token)
	t.Setenv("TEST_TOKEN_2", sandbox.Token)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	site := func(token, endpoint string) string {
		return fmt.Sprintf("illumichat {\ntoken %s\nassistants asst_demo\nendpoint %s\n%s\n}", token, endpoint, sitetest.Once)
	}
	handle := func(path, directive string) string { return fmt.Sprintf("handle %s {\n%s\n}\n", path, directive) }
	directives := handle("/first", site("{env.TEST_TOKEN}", server.URL)) +
		handle("/same", site("{env.TEST_TOKEN}", server.URL)) +
		handle("/token", site("{env.TEST_TOKEN_2}", server.URL)) +
		handle("/endpoint", site("{env.TEST_TOKEN}", server.URL+"/2")) +
		handle("/literal", site(sandbox.Token, server.URL))
	s := sitetest.Serve(t, directives)

	status := func(path, chat string) int {
		t.Helper()
		req := sitetest.ChatRequest(t, s.Plain, chat)
		req.URL.Path = path
		resp := s.Send(&http.Transport{DisableKeepAlives: true}, req)
		sitetest.ReadAll(t, resp)
		return resp.StatusCode
	}
	want := func(wanted map[string]int) {
		t.Helper()
		for path, want := range wanted {
			if got := status(path, sitetest.Hello); got != want {
				t.Errorf("%s: got status %d, want %d", path, got, want)
			}
		}
	}
	want(map[string]int{"/first": 200, "/same": 200, "/token": 200, "/endpoint": 200, "/literal": 200})
	if got := status("/first", sitetest.Saying("/status 429 1000000000")); got != http.StatusTooManyRequests {
		t.Fatalf("got status %d", got)
	}
	limited := map[string]int{"/first": 429, "/same": 429, "/token": 200, "/endpoint": 200, "/literal": 200}
	want(limited)
	s.Reload(directives)
	want(limited)
	s.Reload(handle("/first", site("{env.TEST_TOKEN}", server.URL)))
	s.Reload(handle("/new", site("{env.TEST_TOKEN}", server.URL)) + handle("/literal", site(sandbox.Token, server.URL)))
	want(map[string]int{"/new": 429, "/literal": 200})

	asked := len(server.Requests())
	want(map[string]int{"/new": 429})
	if got := len(server.Requests()); got != asked {
		t.Error("the upstream was asked during the cool-down")
	}
	if n := strings.Count(s.Log(), "the upstream limits the rate"); n != 1 {
		t.Errorf("the log tells %d times of one cool-down", n)
	}
}
