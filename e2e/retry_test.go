package e2e

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// All attempts of an exchange use the token that it began with, and one Idempotency-Key. The next exchange reads the
// token anew.
func TestTriesShareOneToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	sitetest.WriteFile(t, file, sitetest.FakeToken("1"))
	upstream := sitetest.NewUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if err := os.WriteFile(file, []byte(sitetest.FakeToken("2")), 0o600); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusInternalServerError)
	})
	s := sitetest.Serve(t, strings.Replace(sitetest.ChatToURL(upstream.URL, "retry {\nbackoff 1ms\n}"), sandbox.Token, "{file."+file+"}", 1))
	sitetest.WantError(t, s.Ask(sitetest.Hello), http.StatusInternalServerError, "server_error:upstream")
	asked := upstream.Take()
	if len(asked) != 3 {
		t.Fatalf("there were %d tries", len(asked))
	}
	for i, try := range asked {
		if got, want := try.Header.Get("Authorization"), "Bearer "+sitetest.FakeToken("1"); got != want {
			t.Errorf("try %d had the token %q", i+1, got)
		}
		if got := try.Header.Get("Idempotency-Key"); got == "" || got != asked[0].Header.Get("Idempotency-Key") {
			t.Errorf("try %d had the key %q, the first %q", i+1, got, asked[0].Header.Get("Idempotency-Key"))
		}
	}
	if sitetest.ReadAll(t, s.Ask(sitetest.Hello)); upstream.Take()[0].Header.Get("Authorization") != "Bearer "+sitetest.FakeToken("2") {
		t.Error("the next exchange did not read the token anew")
	}
}

// A chat is sent again if the connection is refused, as while an upstream restarts. The log says why.
func TestRefusedConnectionIsTriedAgain(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, "retry {\nattempts 2\nbackoff 1ms\n}"))
	server.Close()
	sitetest.WantError(t, s.Ask(sitetest.Hello), http.StatusBadGateway, "bad_gateway:upstream")
	sitetest.Eventually(t, "the log tells of the second try", func() bool { return strings.Contains(s.Log(), `"msg":"trying again"`) })
	if !strings.Contains(s.Log(), "connection refused") {
		t.Error("the log does not say why there was a second try")
	}
}

// If the upstream closes every connection while it is kept, no chat is lost and none is answered twice.
func TestClosedKeptConnections(t *testing.T) {
	upstream := sitetest.NewUnstartedUpstream(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(sitetest.Finish)))
		_, _ = io.WriteString(w, sitetest.Finish)
	})
	upstream.Config.IdleTimeout = 1 // a nanosecond
	upstream.Start()
	t.Cleanup(upstream.Close)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "retry {\nbackoff 1ms\n}"))
	for i := range 300 {
		if got := sitetest.ReadAll(t, s.Ask(sitetest.Hello)); got != sitetest.Finish {
			t.Fatalf("chat %d: got %q", i, got)
		}
	}
	keys := make(map[string]int)
	for _, asked := range upstream.Take() {
		keys[asked.Header.Get("Idempotency-Key")]++
	}
	for key, n := range keys {
		if n != 1 {
			t.Errorf("%d requests with the key %s were answered", n, key)
		}
	}
}

// The log gives the reason for a pause without the upstream's words, because those may quote the chat.
func TestLogOfAPauseLeavesTheUpstreamsWordsOut(t *testing.T) {
	u := sitetest.NewUpstream(t, sitetest.Answering(http.StatusInternalServerError, sitetest.Theirs))
	s := sitetest.Serve(t, sitetest.ChatToURL(u.URL, "retry {\nattempts 2\nbackoff 1ms\n}"))
	sitetest.WantError(t, s.Ask(sitetest.Hello), http.StatusInternalServerError, "their_code:chat")
	sitetest.Eventually(t, "the log tells of the pause", func() bool { return strings.Contains(s.Log(), `"msg":"trying again"`) })
	if log := s.Log(); !strings.Contains(log, `"cause":"status 500"`) || strings.Contains(log, "Their words") {
		t.Errorf("got the log %s", log)
	}
}
