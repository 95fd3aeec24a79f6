package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

// inChat is the body of a request that continues a chat.
func inChat(assistant, chat, message string) string {
	body, _ := json.Marshal(fields{
		"assistantId": assistant,
		"chatId":      chat,
		"messages":    []fields{{"role": "user", "content": message}},
	})
	return string(body)
}

func TestChatIsContinued(t *testing.T) {
	api := sandbox.New(sandbox.Options{})
	first := answer(api, chatRequest(t, saying("I like tea")))
	id := first.header.Get("X-Chat-Id")
	other := answer(api, chatRequest(t, saying("I like coffee")))
	if other.header.Get("X-Chat-Id") == id {
		t.Fatal("two new chats have one id")
	}

	second := answer(api, chatRequest(t, inChat(sandbox.Assistant, id, "What do I like?")))
	if got := second.header.Get("X-Chat-Id"); got != id {
		t.Errorf("the chat %s goes on as %s", id, got)
	}
	text := prose(second.events(t))
	for _, want := range []string{"“What do I like?”", "turn 2 ", "“I like tea”"} {
		if !strings.Contains(text, want) {
			t.Errorf("the answer says %q, want %s in it", text, want)
		}
	}
}

func TestNewChatBeginsWithItsHistory(t *testing.T) {
	w := answer(sandbox.New(sandbox.Options{}), chatRequest(t, `{"assistantId":"asst_demo","messages":[
		{"role":"user","content":"One"},{"role":"assistant","content":"Yes?"},{"role":"user","content":"/turns"}]}`))
	if got, want := prose(w.events(t)), "1. One\n2. /turns\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChatOfAnotherAssistant(t *testing.T) {
	api := sandbox.New(sandbox.Options{Assistants: []string{"asst_demo", "asst_other"}})
	id := answer(api, chatRequest(t, saying("Hello"))).header.Get("X-Chat-Id")
	w := answer(api, chatRequest(t, inChat("asst_other", id, "Hello")))
	checkError(t, w, http.StatusNotFound, "not_found:chat", "")
}

func TestOldTurnsAreForgotten(t *testing.T) {
	api := sandbox.New(sandbox.Options{})
	id := answer(api, chatRequest(t, saying(strings.Repeat("long ", 100)))).header.Get("X-Chat-Id")
	turns := func() string {
		return prose(answer(api, chatRequest(t, inChat(sandbox.Assistant, id, "/turns"))).events(t))
	}
	if got := turns(); len(got) > 300 || !strings.HasPrefix(got, "1. long") {
		t.Errorf("a long turn is remembered as %q", got)
	}
	for range 60 {
		answer(api, chatRequest(t, inChat(sandbox.Assistant, id, "more")))
	}
	got := turns()
	if lines := strings.Count(got, "\n"); lines != 50 || !strings.HasPrefix(got, "14. more\n") || !strings.HasSuffix(got, "63. /turns\n") {
		t.Errorf("%d turns are remembered: %s", lines, got)
	}
}

func TestOldChatsAreForgotten(t *testing.T) {
	api := sandbox.New(sandbox.Options{})
	start := func() string {
		return answer(api, chatRequest(t, saying("/events 0"))).header.Get("X-Chat-Id")
	}
	kept, forgotten := start(), start()
	for range 998 {
		start()
	}
	use := func(id string) int {
		return answer(api, chatRequest(t, inChat(sandbox.Assistant, id, "/events 0"))).status
	}
	if got := use(kept); got != http.StatusOK {
		t.Fatalf("one of 1000 chats is answered %d", got)
	}
	start()
	if got := use(forgotten); got != http.StatusNotFound {
		t.Errorf("the chat that was unused longest is answered %d, want 404", got)
	}
	if got := use(kept); got != http.StatusOK {
		t.Errorf("a chat in use is answered %d", got)
	}
}

func TestChatsAtOnce(t *testing.T) {
	api := sandbox.New(sandbox.Options{})
	id := answer(api, chatRequest(t, saying("0"))).header.Get("X-Chat-Id")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			answer(api, chatRequest(t, saying("Hello")))
			answer(api, chatRequest(t, inChat(sandbox.Assistant, id, fmt.Sprint(i+1))))
		})
	}
	wg.Wait()
	got := prose(answer(api, chatRequest(t, inChat(sandbox.Assistant, id, "/turns"))).events(t))
	if lines := strings.Count(got, "\n"); lines != 22 {
		t.Errorf("%d turns are remembered: %s", lines, got)
	}
}
