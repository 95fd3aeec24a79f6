package sandbox

import (
	"strings"
)

// The commands that answer well.

func help(x *reply, _ args) {
	x.send(textDelta("The last message can ask for these; those down to /type can be combined with any other.\n\n"))
	for _, c := range Commands() {
		x.send(textDelta("%s: %s\n", c.Usage(), c.Does))
	}
	x.send(x.finish("stop"))
}

func rememberedTurns(x *reply, _ args) {
	first := x.chat.count - len(x.chat.turns) + 1
	for i, turn := range x.chat.turns {
		x.send(textDelta("%d. %s\n", first+i, turn))
	}
	x.send(x.finish("stop"))
}

func numberedEvents(x *reply, a args) {
	for i := range a.n {
		x.send(numbered(i + 1))
	}
	x.send(x.finish("stop"))
}

func large(x *reply, a args) {
	const digits = "0123456789"
	x.send(event{Type: "text-delta", TextDelta: strings.Repeat(digits, a.n/len(digits)+1)[:a.n]}, x.finish("stop"))
}

func finishLength(x *reply, _ args) { x.send(x.answer("length")...) }
func finishError(x *reply, _ args)  { x.send(x.answer("error")...) }
