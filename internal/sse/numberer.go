package sse

import (
	"bytes"
	"strconv"
)

// Numberer adds the line `id: <stream>:<n>` to each event of a stream, after the event's last line and with the same
// line ending. n counts the events of the stream from 1.
type Numberer struct {
	stream string
	n      int64
	within bool // the bytes so far end within a block

	scanner Scanner
	last    [2]byte // the last two bytes of the stream
	out     []byte
	ends    []int
}

// NewNumberer returns a Numberer for the beginning of the stream with the given id.
func NewNumberer(stream string) Numberer { return Numberer{stream: stream} }

// Within reports whether the bytes so far end within a block.
func (b *Numberer) Within() bool { return b.within }

// Number returns p with an id line for each event that ends in p, and the offset of each such end in the returned
// bytes. The next call overwrites both results.
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

// copy appends p to out and remembers its last bytes.
func (b *Numberer) copy(p []byte) {
	b.out = append(b.out, p...)
	for _, c := range p[max(0, len(p)-len(b.last)):] {
		b.last = [2]byte{b.last[1], c}
	}
}

// lineEnd returns the line ending of the last line: CRLF, CR or LF.
func (b *Numberer) lineEnd() []byte {
	if b.last == [2]byte{'\r', '\n'} {
		return b.last[:]
	}
	return b.last[1:]
}

// blankLine returns the length, in bytes, of the blank line that ends a block.
func blankLine(block []byte) int {
	if bytes.HasSuffix(block, []byte("\r\n")) {
		return 2
	}
	return 1
}
