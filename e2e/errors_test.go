package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// Operators can replace the module's errors with intercept and use their code as a placeholder. handle_errors does not
// see them.
func TestErrorsBesideOtherDirectives(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, `
	handle_errors {
		respond "handle_errors was here" 418
	}
	header >X-Code {http.illumichat.code}
	intercept {
		@asset status 405
		handle_response @asset {
			respond "intercepted {http.illumichat.code}" 404
		}
	}
	log
	log_append chat_code {http.illumichat.code}
	`+sitetest.ChatToURL(upstream.URL, ""))

	t.Run("handle_errors does not see them", func(t *testing.T) {
		resp := s.Ask(`{}`)
		sitetest.WantError(t, resp, http.StatusBadRequest, "bad_request:chat")
		if got := resp.Header.Get("X-Code"); got != "bad_request:chat" {
			t.Errorf("the placeholder is %q", got)
		}
		sitetest.Eventually(t, "the access log names the code", func() bool {
			return strings.Contains(s.Log(), `"chat_code":"bad_request:chat"`)
		})
	})
	t.Run("intercept can replace them", func(t *testing.T) {
		req := sitetest.ChatRequest(t, s.Plain, "")
		req.Method = http.MethodGet
		resp := s.Send(http.DefaultTransport, req)
		if body := sitetest.ReadAll(t, resp); resp.StatusCode != http.StatusNotFound || body != "intercepted method_not_allowed:chat" {
			t.Errorf("got status %d: %s", resp.StatusCode, body)
		}
	})
	t.Run("an answer is none", func(t *testing.T) {
		if body := sitetest.ReadAll(t, s.Ask(sitetest.Hello)); body != sitetest.Finish {
			t.Errorf("got %q", body)
		}
	})
}
