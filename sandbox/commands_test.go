package sandbox_test

import (
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

func TestHelpListsCommands(t *testing.T) {
	text := prose(ask(t, "/help").events(t))
	for _, c := range sandbox.Commands() {
		if want := c.Usage() + ": " + c.Does + "\n"; !strings.Contains(text, want) {
			t.Errorf("/help does not say %q", want)
		}
	}
}

func TestCommandsAreDistinct(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range sandbox.Commands() {
		if seen[c.Name] {
			t.Errorf("two commands are called %s", c.Name)
		}
		seen[c.Name] = true
	}
}

func TestMisunderstanding(t *testing.T) {
	for message, want := range map[string]string{
		"/fly":                     "there is no command /fly",
		"/":                        "there is no command /",
		"/cut /fly":                "there is no command /fly",
		"/cut x":                   "x is no number from 0 to 100000; the command is /cut [n]",
		"/cut -1":                  "-1 is no number",
		"/cut 1 2":                 "2 is too much; the command is /cut [n]",
		"/events":                  "an argument is missing; the command is /events <n>",
		"/events 100001":           "100001 is no number",
		"/chunk 0":                 "0 is no number from 1",
		"/large 99999999999999999": "99999999999999999 is no number",
		"/slow 2":                  "2 is no duration such as 500ms or 2s; the command is /slow <duration>",
		"/slow -1s":                "-1s is no duration",
		"/drip 1":                  "an argument is missing; the command is /drip <bytes> <pause>",
		"/status 100":              "100 is no number from 200 to 599",
		"/crlf please":             "please is too much; the command is /crlf",
		"/cut /stall":              "/cut and /stall are two answers",
	} {
		t.Run(message, func(t *testing.T) {
			events := ask(t, message).events(t)
			if got := prose(events); !strings.Contains(got, want) || !strings.Contains(got, "/help") {
				t.Errorf("got %q, want %q and /help in it", got, want)
			}
			if last := events[len(events)-1]; last["finishReason"] != "stop" {
				t.Errorf("the last event is %v", last)
			}
		})
	}
}

// Only the last user message is a command, and only with its slash in front.
func TestNoCommand(t *testing.T) {
	for _, body := range []string{
		saying("what does /cut do?"),
		`{"assistantId":"asst_demo","messages":[{"role":"user","content":"/cut"},{"role":"user","content":"Hello"}]}`,
		`{"assistantId":"asst_demo","messages":[{"role":"user","content":"Hello"},{"role":"assistant","content":"/cut"}]}`,
	} {
		events := answer(sandbox.New(sandbox.Options{}), chatRequest(t, body)).events(t)
		if last := events[len(events)-1]; last["type"] != "finish" {
			t.Errorf("%s: the last event is %v", body, last)
		}
	}
}

func TestCommandAppliesToOneRequest(t *testing.T) {
	api := sandbox.New(sandbox.Options{})
	id := answer(api, chatRequest(t, saying("/crlf /cut"))).header.Get("X-Chat-Id")
	events := answer(api, chatRequest(t, inChat(sandbox.Assistant, id, "Hello"))).events(t)
	if last := events[len(events)-1]; last["type"] != "finish" {
		t.Errorf("the last event is %v", last)
	}
}
