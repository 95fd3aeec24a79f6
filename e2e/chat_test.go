package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// A visitor's chat goes upstream with the module's own headers and none of the visitor's. The visitor gets every event
// of the answer, up to its finish.
func TestChat(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, ""))
	req := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
	req.Header.Set("Cookie", "session=secret")
	req.Header.Set("Authorization", "Bearer of-the-visitor")
	req.Header.Set("X-Forwarded-For", "192.0.2.1")
	resp := s.Send(http.DefaultTransport, req)
	stream := sitetest.ReadAll(t, resp)

	if resp.StatusCode != http.StatusOK {
		t.Errorf("got status %d", resp.StatusCode)
	}
	for name, want := range map[string]string{
		"Content-Type":      "text/event-stream",
		"Cache-Control":     "no-cache, no-transform",
		"X-Accel-Buffering": "no",
	} {
		if got := resp.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("got %s: %q, want %q", name, got, want)
		}
	}
	if resp.Header.Get("X-Chat-Id") == "" {
		t.Error("the header that tells the chat's id did not arrive")
	}

	types := make(map[string]bool)
	for _, e := range sitetest.DecodeEvents(t, stream) {
		types[e.Type] = true
	}
	if got := slices.Sorted(maps.Keys(types)); !slices.Equal(got, []string{"finish", "text-delta", "tool-call", "tool-result"}) {
		t.Errorf("got events of the types %q", got)
	}
	if finish := sitetest.OnlyFinish(t, stream); finish.FinishReason != "stop" {
		t.Errorf("got finish %+v", finish)
	}

	asked := server.Requests()
	if len(asked) != 1 {
		t.Fatalf("the upstream got %d requests", len(asked))
	}
	upstream := asked[0]
	if want := `{"messages":[{"role":"user","content":"Hello"}],"assistantId":"asst_demo"}`; string(upstream.Body) != want {
		t.Errorf("the upstream got the body %s, want %s", upstream.Body, want)
	}
	for name, want := range map[string]string{
		"Authorization":   "Bearer " + sandbox.Token,
		"Content-Type":    "application/json",
		"Accept":          "text/event-stream",
		"Accept-Encoding": "identity",
		"User-Agent":      "caddy-illumichat",
	} {
		if got := upstream.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("the upstream got %s: %q, want %q", name, got, want)
		}
	}
	if key := upstream.Header.Get("Idempotency-Key"); len(key) < 16 || key[0] != '"' || key[len(key)-1] != '"' {
		t.Errorf("the upstream got the Idempotency-Key %q, want a quoted string", key)
	}
	if got := slices.Sorted(maps.Keys(upstream.Header)); len(got) != 7 {
		t.Errorf("the upstream got the headers %q, want ours and the length alone", got)
	}
}

// A page that names no assistant gets the default one, so a second assistant does not break the pages that are there.
func TestDefaultAssistant(t *testing.T) {
	t.Setenv("TEST_ASSISTANT", "asst_env")
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, "respond 404")
	for _, row := range []struct{ options, want string }{
		{"assistants asst_1", "asst_1"},
		{"alias support asst_1\nalias sales asst_2\ndefault_assistant sales", "asst_2"},
		{"default_assistant asst_1\nassistants asst_1 asst_2", "asst_1"}, // before the list
		{"assistants asst_1 {env.TEST_ASSISTANT}\ndefault_assistant {env.TEST_ASSISTANT}", "asst_env"},
		{"assistants *\ndefault_assistant asst_9", "asst_9"},
		{"assistants asst_1 asst_2", ""},
		{"assistants *", ""},
	} {
		t.Run(row.options, func(t *testing.T) {
			s.Reload(fmt.Sprintf("illumichat %s {\ntoken %s\nendpoint %s\n%s\n}", sitetest.ChatPath, sandbox.Token, upstream.URL, row.options))
			for _, chat := range []string{`{"messages":[{"role":"user","content":"Hi"}]}`, `{"assistantId":null,"messages":[{"role":"user","content":"Hi"}]}`} {
				resp := s.Send(sitetest.OneShot, sitetest.ChatRequest(t, s.Plain, chat))
				if row.want == "" {
					sitetest.WantError(t, resp, http.StatusBadRequest, "bad_request:chat")
					continue
				}
				sitetest.OnlyFinish(t, sitetest.ReadAll(t, resp))
				if asked := upstream.Take(); len(asked) != 1 || !strings.Contains(asked[0].Body, `"assistantId":"`+row.want+`"`) {
					t.Errorf("%s: the upstream got %+v, want a chat with %s", chat, asked, row.want)
				}
			}
		})
	}
}
