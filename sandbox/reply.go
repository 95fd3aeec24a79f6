package sandbox

import (
	"fmt"
	"strings"
)

// A reply is the answer to one question.
type reply struct {
	stream
	question *question
	chat     chat
}

// run answers: as the commands in the question want it, or else in a friendly
// way.
func (x *reply) run() {
	x.w.Header().Set("X-Chat-Id", x.chat.id)
	defer x.end()

	calls, err := parseCalls(x.question.said())
	if err != nil {
		x.send(textDelta("The sandbox does not understand that: %v. Type /help for what it can do.", err), x.finish("stop"))
		return
	}
	answer := func() { x.send(x.answer("stop")...) }
	for _, c := range calls {
		if c.command.shape != nil {
			c.command.shape(&x.stream, c.args)
		} else {
			answer = func() { c.command.answer(x, c.args) }
		}
	}
	answer()
}

// finish is the event that completes an answer. It tells the chat's id.
func (x *reply) finish(reason string) event {
	return event{Type: "finish", FinishReason: reason, ChatID: x.chat.id}
}

// answer is a whole answer, with all four types of event.
func (x *reply) answer(reason string) []event {
	said := shorten(x.question.said())
	var events []event
	events = append(events, words(x.greeting(said))...)
	events = append(events,
		event{
			Type:     "tool-call",
			ToolName: "web_search",
			Args:     map[string]any{"query": said},
		},
		event{
			Type:     "tool-result",
			ToolName: "web_search",
			Result: map[string]any{"results": []map[string]any{{
				"title": "How a streamed chat answer works",
				"url":   "https://example.com/streams",
			}}},
		},
	)
	events = append(events, words("I have looked it up, just for show: nothing left this machine. "+
		"You are talking to the IllumiChat sandbox, which streams its answers as the real assistant does — "+
		"piece by piece, with a tool in between. It can also misbehave; “/help” tells how.")...)
	return append(events, x.finish(reason))
}

// greeting is the part of the answer that shows that the sandbox has listened.
func (x *reply) greeting(said string) string {
	turns := x.chat.turns
	switch {
	case len(turns) < 2:
		return fmt.Sprintf("Hello! You said: “%s”. That is turn %d of our chat, and a fine one to begin with. ", said, x.chat.count)
	default:
		return fmt.Sprintf("You said: “%s”. That is turn %d of our chat; before that you said: “%s”. ", said, x.chat.count, turns[len(turns)-2])
	}
}

// first is the first n events of the answer, made longer where it has fewer,
// and never its finish.
func (x *reply) first(n int) []event {
	events := x.answer("stop")
	events = events[:len(events)-1]
	for i := len(events); i < n; i++ {
		events = append(events, numbered(i+1))
	}
	return events[:n]
}

// words makes a text-delta event of each word.
func words(prose string) []event {
	var events []event
	for word := range strings.SplitAfterSeq(prose, " ") {
		if word != "" {
			events = append(events, event{Type: "text-delta", TextDelta: word})
		}
	}
	return events
}
