package sandbox

import (
	"strings"
	"time"
)

// The commands that end an answer badly, or not at all.

// breath is the least pause between the pieces of an answer that has no end of
// its own, so that a fast client is kept busy, not buried.
const breath = time.Millisecond

func cut(x *reply, a args) {
	x.head()
	x.send(x.first(a.n)...)
}

func torn(x *reply, a args) {
	events := x.first(a.n + 1)
	x.send(events[:a.n]...)
	line := events[a.n].line()
	x.sendPart(line[:len(line)/2])
}

func noBlank(x *reply, _ args) {
	events := x.answer("stop")
	x.send(events[:len(events)-1]...)
	x.sendPart(x.finish("stop").line() + "\n")
}

func reset(x *reply, a args) {
	x.send(x.first(a.n)...)
	x.reset()
}

func stall(x *reply, a args) {
	x.head()
	x.send(x.first(a.n)...)
	x.stall()
}

func silent(x *reply, _ args) {
	x.stall()
}

func hang(x *reply, _ args) {
	x.head()
	x.stall()
}

func endless(x *reply, _ args) {
	for i := 1; !x.gone(); i++ {
		x.send(numbered(i))
		x.pause(breath)
	}
}

func endlessEvent(x *reply, _ args) {
	x.sendPart(`data: {"type":"text-delta","textDelta":"`)
	for !x.gone() {
		x.write(strings.Repeat("on and on and ", 64))
		x.pause(max(x.pace, breath))
	}
}
