package doctor

import (
	"net/http"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/doctor/site"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// A text with the form of a token is found wherever it arrives, and never printed.
func TestTokenInAnswer(t *testing.T) {
	leak := sitetest.FakeToken("7")
	event := `data: {"type":"text-delta","textDelta":"` + leak + `"}` + "\n\n"
	for where, answer := range map[string]http.HandlerFunc{
		"an event":          sitetest.Answering(200, event+sitetest.Finish, "Content-Type", "text/event-stream"),
		"a response header": sitetest.Answering(200, sitetest.Finish, "Content-Type", "text/event-stream", "X-Key", leak),
		"the body":          sitetest.Answering(400, `{"error":"`+leak+`","code":"bad_request:chat"}`, "Content-Type", "application/json"),
	} {
		t.Run(where, func(t *testing.T) {
			upstream := sitetest.NewUpstream(t, answer)
			s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "limit 20 1h"))
			found := check(t, s.Secure+sitetest.ChatPath, site.Options{})
			found.want(t, "token", doctor.Wrong, where)
			for _, f := range found {
				if strings.Contains(f.Found+f.Why+f.Do, leak[:20]) {
					t.Errorf("the token is printed: %+v", f)
				}
			}
		})
	}
}

// A chat that fails is reported with the chat's own words.
func TestChatFails(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	for name, tc := range map[string]struct {
		subdirectives string
		options       site.Options
		level         doctor.Level
		words         []string
	}{
		"several assistants": {"alias help asst_demo", site.Options{}, doctor.Skipped, []string{"assistantId", "--assistant"}},
		"another assistant":  {"", site.Options{Assistant: "asst_other"}, doctor.Wrong, []string{"403 forbidden:assistant", "--assistant"}},
		"an error":           {sitetest.Once, site.Options{Question: "/status 503"}, doctor.Wrong, []string{"503"}},
		"a wrong token":      {"", site.Options{Question: "/status 401"}, doctor.Wrong, []string{"502 unauthorized:upstream", "Caddy's log"}},
		"an unknown id":      {"", site.Options{Question: "/status 404"}, doctor.Wrong, []string{"404 ", "`assistants`"}},
		"another URL":        {"", site.Options{Question: "/status 405"}, doctor.Wrong, []string{"405 ", "`endpoint`"}},
		"JSON":               {"", site.Options{Question: "/json"}, doctor.Note, []string{"JSON"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.Serve(t, sitetest.ChatTo(server, tc.subdirectives))
			found := check(t, s.Secure+sitetest.ChatPath, tc.options)
			found.want(t, "chat", tc.level, tc.words...)
			found.wantNothingElse(t, "chat")
		})
	}
}

// An answer that ends with an error is found.
func TestAnswerEndsWithError(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, "limit 20 1h"))
	found := check(t, s.Secure+sitetest.ChatPath, site.Options{Question: "/cut 3"})
	found.want(t, "finish", doctor.Wrong, "closed:upstream", "Caddy's log")
	found.wantNothingElse(t, "finish")
}

// Without a chat, nothing reaches the upstream.
func TestNoChat(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, everything))
	found := check(t, s.Secure+sitetest.ChatPath, site.Options{NoChat: true, Origin: "https://www.example.com"})
	found.want(t, "chat", doctor.Skipped, "--no-chat")
	found.wantNothingElse(t)
	if n := len(server.Requests()); n > 0 {
		t.Errorf("%d chats were sent", n)
	}
}
