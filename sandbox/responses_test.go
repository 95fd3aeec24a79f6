package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

func TestStatus(t *testing.T) {
	for status, code := range map[int]string{
		400: "bad_request:chat",
		401: "unauthorized:chat",
		403: "forbidden:api",
		404: "not_found:chat",
		429: "rate_limit:chat",
		500: "server_error:chat",
	} {
		w := ask(t, fmt.Sprintf("/status %d", status))
		checkError(t, w, status, code, "")
		if got := w.header.Get("Retry-After"); got != "" {
			t.Errorf("%d: got Retry-After %q", status, got)
		}
	}
	checkError(t, ask(t, "/status 400"), 400, "bad_request:chat", "messages")
}

func TestRetryAfter(t *testing.T) {
	for message, want := range map[string]string{
		"/status 429 7": "7",
		"/status 503 Wed, 21 Oct 2026 07:28:00 GMT": "Wed, 21 Oct 2026 07:28:00 GMT",
		"/status 429 soon":                          "soon",
	} {
		if got := ask(t, message).header.Get("Retry-After"); got != want {
			t.Errorf("%s: got Retry-After %q", message, got)
		}
	}
}

func TestPages(t *testing.T) {
	for message, status := range map[string]int{
		"/status 502": http.StatusBadGateway,
		"/status 418": http.StatusTeapot,
		"/status 202": http.StatusAccepted,
		"/html":       http.StatusOK,
		"/redirect":   http.StatusFound,
	} {
		w := ask(t, message)
		if got := w.header.Get("Content-Type"); w.status != status || got != "text/html; charset=utf-8" {
			t.Errorf("%s: got %d %s", message, w.status, got)
		}
		if !strings.HasPrefix(w.body(), "<!doctype html>") {
			t.Errorf("%s: got %q", message, w.body())
		}
	}
}

func TestRedirect(t *testing.T) {
	for message, want := range map[string]string{
		"/redirect":                         "https://elsewhere.invalid/api/chat",
		"/redirect http://127.0.0.1:1/chat": "http://127.0.0.1:1/chat",
	} {
		if got := ask(t, message).header.Get("Location"); got != want {
			t.Errorf("%s: got Location %q", message, got)
		}
	}
}

func TestNoContent(t *testing.T) {
	if w := ask(t, "/no-content"); w.status != http.StatusNoContent || w.body() != "" {
		t.Errorf("got %d %q", w.status, w.body())
	}
}

// decodeObject decodes an answer that must be one JSON object.
func decodeObject(t *testing.T, w *recording) fields {
	t.Helper()
	var object fields
	if err := json.Unmarshal([]byte(w.body()), &object); err != nil {
		t.Fatal(err)
	}
	if got := w.header.Get("Content-Type"); w.status != http.StatusOK || got != "application/json" {
		t.Errorf("got %d %s", w.status, got)
	}
	return object
}

func TestJSON(t *testing.T) {
	w := ask(t, "/json")
	if got := decodeObject(t, w); got["text"] == "" || got["chatId"] != w.header.Get("X-Chat-Id") {
		t.Errorf("got %v", got)
	}
}

func TestTokenLeaks(t *testing.T) {
	const token = "ic_sandboxLeaking00000000000000000000000000"
	leak := func(message string) *recording {
		r := chatRequest(t, saying(message))
		r.Header.Set("Authorization", "Bearer "+token)
		return answer(sandbox.New(sandbox.Options{Token: token}), r)
	}

	for message, before := range map[string]int{"/echo-token": 3, "/echo-token 0": 0} {
		events := leak(message).events(t)
		if text := prose(events[before : before+1]); !strings.Contains(text, token) || len(events) != before+2 {
			t.Errorf("%s: event %d of %d says %q", message, before, len(events), text)
		}
		if last := events[len(events)-1]; last["type"] != "finish" {
			t.Errorf("%s: the last event is %v", message, last)
		}
	}

	w := leak("/echo-token-header")
	if got := w.header.Get("X-Token"); got != token {
		t.Errorf("the header says %q", got)
	}
	if body := w.body(); strings.Contains(body, token) || !strings.Contains(body, `"type":"finish"`) {
		t.Errorf("got %s", body)
	}

	w = leak("/echo-token-error")
	checkError(t, w, http.StatusBadRequest, "bad_request:chat", "")
	if !strings.Contains(w.body(), token) {
		t.Errorf("got %s", w.body())
	}

	if got := decodeObject(t, leak("/echo-token-json")); got["text"] != token {
		t.Errorf("got %v", got)
	}
}
