package sandbox_test

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

func TestTokenHasDocumentedForm(t *testing.T) {
	if !regexp.MustCompile(`^ic_[0-9A-Za-z]{40}$`).MatchString(sandbox.Token) {
		t.Errorf("%s is not ic_ and 40 characters", sandbox.Token)
	}
}

func TestAnswer(t *testing.T) {
	w := ask(t, "How are you?")
	events := w.events(t)

	var types []string
	for _, e := range events {
		typ := e["type"].(string)
		if len(types) == 0 || types[len(types)-1] != typ {
			types = append(types, typ)
		}
	}
	if want := []string{"text-delta", "tool-call", "tool-result", "text-delta", "finish"}; !reflect.DeepEqual(types, want) {
		t.Errorf("got types %v, want %v", types, want)
	}
	for _, e := range events {
		switch e["type"] {
		case "tool-call":
			if args, _ := e["args"].(map[string]any); e["toolName"] != "web_search" || args["query"] != "How are you?" {
				t.Errorf("got %v", e)
			}
		case "tool-result":
			if e["toolName"] != "web_search" || e["result"] == nil {
				t.Errorf("got %v", e)
			}
		case "finish":
			if e["finishReason"] != "stop" || e["chatId"] != w.header.Get("X-Chat-Id") || e["chatId"] == "" {
				t.Errorf("got %v, and the header %q", e, w.header.Get("X-Chat-Id"))
			}
		}
	}
	if text := prose(events); !strings.Contains(text, "How are you?") || !strings.Contains(text, "turn 1 ") {
		t.Errorf("the answer says %q", text)
	}
	if len(w.writes) != len(events) {
		t.Errorf("%d events came in %d writes", len(events), len(w.writes))
	}
	for name := range w.header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("sent the CORS header %s", name)
		}
	}
}

func TestContentParts(t *testing.T) {
	w := answer(sandbox.New(sandbox.Options{}), chatRequest(t, `{"assistantId":"asst_demo","messages":[
		{"role":"user","content":[{"type":"text","text":"Look "},{"type":"image"},{"type":"text","text":"at this"}]}]}`))
	if text := prose(w.events(t)); !strings.Contains(text, "“Look at this”") {
		t.Errorf("the answer says %q", text)
	}
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sandbox.New(sandbox.Options{Pace: 50 * time.Millisecond})
		start := time.Now()
		w := answer(api, chatRequest(t, saying("Hello")))
		for i, e := range w.events(t) {
			pause := w.times[i+1].Sub(w.times[i])
			want := 50 * time.Millisecond
			if e["type"] == "tool-result" {
				want *= 10
			}
			if pause != want {
				t.Errorf("event %d, %v, came after %v, want %v", i, e["type"], pause, want)
			}
		}
		if head := w.times[0].Sub(start); head != 0 {
			t.Errorf("the head came after %v", head)
		}
	})
}

func TestOnEvent(t *testing.T) {
	var told []int
	r := chatRequest(t, saying("/events 3"))
	answer(sandbox.New(sandbox.Options{OnEvent: func(about *http.Request, n int) {
		if about != r {
			t.Error("the hook was given another request")
		}
		told = append(told, n)
	}}), r)
	if want := []int{0, 1, 2, 3}; !reflect.DeepEqual(told, want) {
		t.Errorf("the hook was told of %v, want %v", told, want)
	}
}

func TestOptions(t *testing.T) {
	const token = "ic_sandboxAnother00000000000000000000000000"
	api := sandbox.New(sandbox.Options{Token: token, Assistants: []string{"asst_one", "asst_two"}})
	for _, tc := range []struct {
		token, assistant string
		status           int
	}{
		{token, "asst_one", http.StatusOK},
		{token, "asst_two", http.StatusOK},
		{token, sandbox.Assistant, http.StatusNotFound},
		{sandbox.Token, "asst_one", http.StatusUnauthorized},
	} {
		r := chatRequest(t, strings.Replace(saying("Hello"), sandbox.Assistant, tc.assistant, 1))
		r.Header.Set("Authorization", "Bearer "+tc.token)
		if w := answer(api, r); w.status != tc.status {
			t.Errorf("%s with %s: got %d, want %d", tc.assistant, tc.token, w.status, tc.status)
		}
	}
}

// A client that waits for the whole answer gets it from a writer that cannot
// flush, too.
func TestNoFlusher(t *testing.T) {
	w := httptest.NewRecorder()
	sandbox.New(sandbox.Options{}).ServeHTTP(struct{ http.ResponseWriter }{w}, chatRequest(t, saying("/events 2")))
	if got := len(decodeEvents(t, w.Body.String())); got != 3 {
		t.Errorf("got %d events, want 3", got)
	}
}
