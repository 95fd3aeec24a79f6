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

// Upstream is a chat API that answers as a test wants it to, for what the sandbox does not do.
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

func NewUpstream(tb testing.TB, answer http.HandlerFunc) *Upstream {
	tb.Helper()
	u := NewUnstartedUpstream(answer)
	u.Start()
	tb.Cleanup(u.Close)
	return u
}

func NewUnstartedUpstream(answer http.HandlerFunc) *Upstream {
	u := new(Upstream)
	u.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what broke off is recorded as far as it came
		u.mu.Lock()
		u.asked = append(u.asked, Asked{r.Header, string(body)})
		u.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer(w, r)
	}))
	return u
}

// Take returns the requests that came since the last call.
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

// Answering answers with a status, a body and headers, which are names and values in turn.
func Answering(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil // so that none is guessed
		for i := 0; i < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// Raw answers with bytes that no server sends, and ends the connection.
func Raw(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err) // an HTTP/1.1 connection always can be hijacked
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, answer)
	}
}

// Stalling answers, and falls silent before the end.
func Stalling(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer(w, r)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// Breaking answers, and breaks the connection before the end.
func Breaking(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer(w, r)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func Silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// ByMessage answers each chat by the handler for its message's text.
func ByMessage(answers map[string]http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var chat struct{ Messages []struct{ Content string } }
		if err := json.NewDecoder(r.Body).Decode(&chat); err != nil {
			panic(err) // what goes upstream is checked
		}
		answers[chat.Messages[0].Content](w, r)
	}
}
