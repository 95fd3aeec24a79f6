package sse

import (
	"bytes"
	"slices"
	"strconv"
	"sync"
)

// Numberer adds the line `id: <stream>:<n>` to each event of a stream. The line follows the event's last line and has
// the same line ending. n counts the events of the stream from 1.
//
// A block without data is no event, but its id would still become the last event's id (HTML Standard, § 9.2.6). So a
// Numberer adds the id of the last event to such a block, too, if it has an id of its own.
type Numberer struct {
	stream string
	n      int64
	within bool     // the bytes so far end within a block
	id     idFinder // looks for an id in the block that is not over yet

	scanner Scanner
	last    [2]byte // the last two bytes of the stream
	out     []byte
	ends    []int
}

// spareOutput holds memory for the results of Number that no stream uses at the moment.
var spareOutput = sync.Pool{New: func() any { return new([]byte) }}

// maxNumbered is how much memory is kept for other streams.
const maxNumbered = 16 << 10

// Release ends the use of the Numberer, and of what Number has returned.
func (n *Numberer) Release() {
	if out := n.out; cap(out) <= maxNumbered {
		spareOutput.Put(&out)
	}
	n.out = nil
}

// NewNumberer returns a Numberer for the beginning of the stream with the given id.
func NewNumberer(stream string) Numberer { return Numberer{stream: stream} }

// Within reports whether the bytes so far end within a block.
func (n *Numberer) Within() bool { return n.within }

// Number returns p with an id line for each event that ends in p. ends holds the offset of each such end in numbered.
// The next call overwrites both results.
func (n *Numberer) Number(p []byte) (numbered []byte, ends []int) {
	if n.out == nil {
		n.out = *spareOutput.Get().(*[]byte)
	}
	n.out, n.ends = slices.Grow(n.out[:0], len(p)+n.room(p)), n.ends[:0]
	cr := HasCR(p)
	for len(p) > 0 {
		size, kind := n.scanner.Next(p, cr)
		switch {
		case kind == Event:
			n.n++
			n.copyWithID(p[:size])
			n.ends = append(n.ends, len(n.out))
		case kind == Comment && n.id.find(p[:size]):
			n.copyWithID(p[:size])
		default:
			if kind == Torn {
				n.id.find(p[:size])
			}
			n.copy(p[:size])
		}
		n.within = kind == Torn
		if kind != Torn {
			n.id = idFinder{}
		}
		p = p[size:]
	}
	return n.out, n.ends
}

// room returns about how many bytes the ids of the events in p take up.
func (n *Numberer) room(p []byte) int {
	const line, number = len("id: :\n"), 6
	return (1 + bytes.Count(p, []byte("\n\n"))) * (line + len(n.stream) + number)
}

// copyWithID appends the end of a block, with the id of the last event after its last line.
func (n *Numberer) copyWithID(block []byte) {
	blank := blankLine(block)
	n.copy(block[:len(block)-blank])
	n.out = append(n.out, "id: "...)
	n.out = append(n.out, n.stream...)
	n.out = append(n.out, ':')
	n.out = strconv.AppendInt(n.out, n.n, 10)
	n.out = append(n.out, n.lineEnd()...)
	n.copy(block[len(block)-blank:])
}

// idFinder finds an id field in a block that may arrive in pieces. Its zero value is ready for a block.
type idFinder struct {
	matched int // how many bytes of the current line match "id"; -1: the line is another field
	found   bool
}

// find reports whether the block has had an id field up to the end of p.
func (f *idFinder) find(p []byte) bool {
	const name = "id"
	for _, c := range p {
		lineEnds := c == '\n' || c == '\r'
		switch {
		case f.matched == len(name) && (c == ':' || lineEnds):
			f.found = true
		case f.matched >= 0 && f.matched < len(name) && c == name[f.matched]:
			f.matched++
			continue
		}
		f.matched = -1
		if lineEnds {
			f.matched = 0
		}
	}
	return f.found
}

// copy appends p to out and remembers its last bytes.
func (n *Numberer) copy(p []byte) {
	n.out = append(n.out, p...)
	for _, c := range p[max(0, len(p)-len(n.last)):] {
		n.last = [2]byte{n.last[1], c}
	}
}

// lineEnd returns the line ending of the last line: CRLF, CR or LF.
func (n *Numberer) lineEnd() []byte {
	if n.last == [2]byte{'\r', '\n'} {
		return n.last[:]
	}
	return n.last[1:]
}

// blankLine returns the length, in bytes, of the blank line that ends a block.
func blankLine(block []byte) int {
	if bytes.HasSuffix(block, []byte("\r\n")) {
		return 2
	}
	return 1
}
