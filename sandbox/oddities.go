package sandbox

import (
	"time"
)

// The commands that say something strange.

func twoFinishes(x *reply, _ args) {
	x.send(x.answer("stop")...)
	x.send(x.finish("stop"))
}

func talkOn(x *reply, a args) {
	x.send(x.answer("stop")...)
	for i, start := 1, time.Now(); time.Since(start) < a.wait && !x.gone(); i++ {
		x.send(numbered(i))
		x.pause(breath)
	}
}

func quoteFinish(x *reply, _ args) {
	const quote = `{"type":"finish","finishReason":"stop"}`
	x.send(
		textDelta("A stream is complete with the event\n\ndata: %s\n\n", quote),
		event{Type: "tool-call", ToolName: "read_manual", Args: map[string]any{
			"type":         "finish",
			"finishReason": "stop",
		}},
		textDelta("%s", quote),
	)
}

func badJSON(x *reply, _ args) {
	x.sendLines(`data: {"type":"text-delta",`)
	x.send(x.answer("stop")...)
}

func multiData(x *reply, _ args) {
	x.sendLines(`data: {"type":"text-delta",
data: "textDelta":
data: "This event has three lines. "}`)
	x.send(x.answer("stop")...)
}

func extras(x *reply, _ args) {
	x.sendLines(`data: {"type":"mood","mood":"cheerful"}`)
	x.sendLines(`data: {"type":"text-delta","textDelta":"This event has a language. ","language":"en"}`)
	x.sendLines(`event: message
id: 42
retry: 3000
data: {"type":"text-delta","textDelta":"This one has an id. "}`)
	x.send(x.answer("stop")...)
}
