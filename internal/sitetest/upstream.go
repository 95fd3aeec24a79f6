package sitetest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Upstream is a chat API that answers as a test defines. It is for answers that the sandbox does not give.
type Upstream struct {
	*httptest.Server

	mu    sync.Mutex
	asked []Asked
}

// Asked is a request that reached the upstream.
type Asked struct {
	Header http.Header
	Body   string
}

// NewUpstream starts an Upstream that answers each request with answer. It runs until the test ends.
func NewUpstream(tb testing.TB, answer http.HandlerFunc) *Upstream {
	tb.Helper()
	u := NewUnstartedUpstream(answer)
	u.Start()
	tb.Cleanup(u.Close)
	return u
}

// NewUnstartedUpstream returns an Upstream that is not started yet. The caller starts and closes it.
func NewUnstartedUpstream(answer http.HandlerFunc) *Upstream {
	u := new(Upstream)
	u.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a body that breaks off is recorded as far as it came
		u.mu.Lock()
		u.asked = append(u.asked, Asked{r.Header, string(body)})
		u.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer(w, r)
	}))
	return u
}

// Take returns the requests that the upstream has got since the last call.
func (u *Upstream) Take() []Asked {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := u.asked
	u.asked = nil
	return taken
}

// Finishing answers with a finish and nothing else.
func Finishing(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, Finish)
}

// Answering returns a handler that answers with a status, a body and headers, which are names and values in turn.
func Answering(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil // so that net/http does not guess it
		for i := 0; i < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// Raw returns a handler that sends answer as it is, for bytes that no HTTP server sends, and closes the connection.
func Raw(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err) // an HTTP/1.1 connection can always be hijacked
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, answer)
	}
}

// Stalling returns a handler that runs answer, and then sends nothing more until the client gives up.
func Stalling(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer(w, r)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// Breaking returns a handler that runs answer, and then breaks the connection before the end.
func Breaking(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer(w, r)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// Silent sends nothing, not even response headers, until the client gives up.
func Silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// ByMessage returns a handler that answers each chat with the handler for the text of its first message.
func ByMessage(answers map[string]http.HandlerFunc) http.HandlerFunc {
	return ByMessageFunc(func(text string) http.HandlerFunc { return answers[text] })
}

// ByMessageFunc returns a handler that answers each chat with the handler that choose returns for the text of its first
// message.
func ByMessageFunc(choose func(text string) http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var chat struct{ Messages []struct{ Content string } }
		if err := json.NewDecoder(r.Body).Decode(&chat); err != nil {
			panic(err) // the module checks each chat before sending it
		}
		choose(chat.Messages[0].Content)(w, r)
	}
}
