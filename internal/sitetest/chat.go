package sitetest

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// ChatPath is the path at which the tests' sites serve the chat.
const ChatPath = "/api/chat-proxy"

// Hello is a chat that the sandbox answers with every type of event.
const Hello = `{"assistantId":"asst_demo","messages":[{"role":"user","content":"Hello"}]}`

// ChatTo returns an illumichat directive whose upstream is server, with further subdirectives.
func ChatTo(server *sandboxtest.Server, subdirectives string) string {
	return ChatToURL(server.URL, subdirectives)
}

// ChatToURL is like ChatTo, for an upstream that is not a sandbox.
func ChatToURL(endpoint, subdirectives string) string {
	return fmt.Sprintf(`illumichat %s {
		token %s
		assistants %s
		endpoint %s
		%s
	}`, ChatPath, sandbox.Token, sandbox.Assistant, endpoint, subdirectives)
}

// Once is the subdirective that turns retrying off, for tests of how a single attempt ends.
const Once = "retry {\nattempts 1\n}"

// Saying returns a chat with one message, text. The sandbox takes text that begins with a slash as a command.
func Saying(text string) string {
	message, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string can always be marshalled
	}
	return fmt.Sprintf(`{"assistantId":"asst_demo","messages":[{"role":"user","content":%s}]}`, message)
}

// ChatRequest returns a POST request with the chat to the chat path of origin.
func ChatRequest(tb testing.TB, origin, chat string) *http.Request {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, origin+ChatPath, strings.NewReader(chat))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return req
}

// Protocols returns a transport for each protocol that visitors use, by the name in Response.Proto. The transports trust any
// certificate. Each call returns new ones, so it makes new connections.
func Protocols(tb testing.TB) map[string]http.RoundTripper {
	tb.Helper()
	insecure := &tls.Config{InsecureSkipVerify: true}
	h1 := &http.Transport{TLSClientConfig: insecure.Clone(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	h2 := &http.Transport{TLSClientConfig: insecure.Clone(), ForceAttemptHTTP2: true}
	h3 := &http3.Transport{TLSClientConfig: insecure.Clone()}
	tb.Cleanup(func() {
		h1.CloseIdleConnections()
		h2.CloseIdleConnections()
		h3.Close()
	})
	return map[string]http.RoundTripper{"HTTP/1.1": h1, "HTTP/2.0": h2, "HTTP/3.0": h3}
}

// ReadAll reads the body of an answer to its end and returns it.
func ReadAll(tb testing.TB, resp *http.Response) string {
	tb.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatalf("reading the answer: %v", err)
	}
	return string(body)
}

// WantError checks that an answer is an error as documented, with the given status and code. It returns the error's text.
func WantError(tb testing.TB, resp *http.Response, status int, code string) string {
	tb.Helper()
	body := ReadAll(tb, resp)
	if resp.StatusCode != status {
		tb.Errorf("got status %d, want %d: %s", resp.StatusCode, status, body)
	}
	var e struct{ Error, Code string }
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		tb.Fatalf("the answer is not of the documented shape: %v: %q", err, body)
	}
	if e.Code != code {
		tb.Errorf("got code %q, want %q: %s", e.Code, code, body)
	}
	if e.Error == "" {
		tb.Errorf("the answer has no text: %s", body)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/json" {
		tb.Errorf("got Content-Type %q", got)
	}
	if got := resp.Header.Get("Cache-Control"); got != "no-store" {
		tb.Errorf("got Cache-Control %q", got)
	}
	return e.Error
}

// CheckRetryAfter checks that the Retry-After header is at least want[0] and at most want[1], in seconds. If want is nil, there
// must be no such header.
func CheckRetryAfter(t *testing.T, header http.Header, want []int) {
	t.Helper()
	value := header.Get("Retry-After")
	if want == nil {
		if value != "" {
			t.Errorf("got Retry-After: %s", value)
		}
		return
	}
	if got, err := strconv.Atoi(value); err != nil || got < want[0] || got > want[1] {
		t.Errorf("got Retry-After: %q, want %d to %d", value, want[0], want[1])
	}
}

// RawChat returns the text of an HTTP/1.1 request with the chat.
func RawChat(chat string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", ChatPath, len(chat), chat)
}

// SendRaw connects to the site over plain TCP and sends text. The returned connection times out after Patience, and is closed
// when the test ends.
func SendRaw(tb testing.TB, s *Site, text string) net.Conn {
	tb.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.Plain, "http://"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		tb.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		tb.Fatal(err)
	}
	return conn
}
