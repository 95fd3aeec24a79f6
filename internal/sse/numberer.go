package sse

import (
	"bytes"
	"strconv"
)

// Numberer gives each event of a stream the line `id: <stream>:<n>`, after its last line and in the same style.
type Numberer struct {
	stream string
	n      int64
	within bool // an event

	scanner Scanner
	last    [2]byte // bytes of the stream
	out     []byte
	ends    []int
}

func NewNumberer(stream string) Numberer { return Numberer{stream: stream} }

// Within reports whether an event has begun.
func (b *Numberer) Within() bool { return b.within }

// Number returns p with the ids of the events that end in it, and where those end. Both are overwritten by the next call.
func (b *Numberer) Number(p []byte) (numbered []byte, ends []int) {
	b.out, b.ends = b.out[:0], b.ends[:0]
	cr := HasCR(p)
	for len(p) > 0 {
		n, kind := b.scanner.Next(p, cr)
		if kind == Event {
			blank := blankLine(p[:n])
			b.copy(p[:n-blank])
			b.n++
			b.out = append(b.out, "id: "...)
			b.out = append(b.out, b.stream...)
			b.out = append(b.out, ':')
			b.out = strconv.AppendInt(b.out, b.n, 10)
			b.out = append(b.out, b.lineEnd()...)
			b.copy(p[n-blank : n])
			b.ends = append(b.ends, len(b.out))
		} else {
			b.copy(p[:n])
		}
		b.within = kind == Torn
		p = p[n:]
	}
	return b.out, b.ends
}

// copy copies p to what is returned.
func (b *Numberer) copy(p []byte) {
	b.out = append(b.out, p...)
	for _, c := range p[max(0, len(p)-len(b.last)):] {
		b.last = [2]byte{b.last[1], c}
	}
}

// lineEnd is the end of the last line.
func (b *Numberer) lineEnd() []byte {
	if b.last == [2]byte{'\r', '\n'} {
		return b.last[:]
	}
	return b.last[1:]
}

// blankLine returns how many bytes at the end of a block are its blank line.
func blankLine(block []byte) int {
	if bytes.HasSuffix(block, []byte("\r\n")) {
		return 2
	}
	return 1
}
