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
}

// Numbered is a part of a stream with ids.
type Numbered struct {
	Data []byte
	Ends []int // where events end in Data
}

// spare holds results of Number that are no longer used. Streams share it, so that a processor has it in its caches.
var spare = sync.Pool{New: func() any { return new(Numbered) }}

// maxNumbered is how large a result is at most that is used again.
const maxNumbered = 16 << 10

// Release ends the use of the result. A nil one needs no Release.
func (d *Numbered) Release() {
	if d != nil && cap(d.Data) <= maxNumbered {
		spare.Put(d)
	}
}

// NewNumberer returns a Numberer for the beginning of the stream with the given id.
func NewNumberer(stream string) Numberer { return Numberer{stream: stream} }

// Within reports whether the bytes so far end within a block.
func (n *Numberer) Within() bool { return n.within }

// Number returns p with an id line for each event that ends in p. The caller should release the result.
func (n *Numberer) Number(p []byte) *Numbered {
	d := spare.Get().(*Numbered)
	d.Data, d.Ends = slices.Grow(d.Data[:0], len(p)+n.room(p)), d.Ends[:0]
	cr := HasCR(p)
	for len(p) > 0 {
		size, kind := n.scanner.Next(p, cr)
		switch {
		case kind == Event:
			n.n++
			n.copyWithID(d, p[:size])
			d.Ends = append(d.Ends, len(d.Data))
		case kind == Comment && n.id.find(p[:size]):
			n.copyWithID(d, p[:size])
		default:
			if kind == Torn {
				n.id.find(p[:size])
			}
			n.copy(d, p[:size])
		}
		n.within = kind == Torn
		if kind != Torn {
			n.id = idFinder{}
		}
		p = p[size:]
	}
	return d
}

// room returns about how many bytes the ids of the events in p take up.
func (n *Numberer) room(p []byte) int {
	const line, number = len("id: :\n"), 6
	return (1 + bytes.Count(p, []byte("\n\n"))) * (line + len(n.stream) + number)
}

// copyWithID appends the end of a block, with the id of the last event after its last line.
func (n *Numberer) copyWithID(d *Numbered, block []byte) {
	blank := blankLine(block)
	n.copy(d, block[:len(block)-blank])
	d.Data = append(d.Data, "id: "...)
	d.Data = append(d.Data, n.stream...)
	d.Data = append(d.Data, ':')
	d.Data = strconv.AppendInt(d.Data, n.n, 10)
	d.Data = append(d.Data, n.lineEnd()...)
	n.copy(d, block[len(block)-blank:])
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

// copy appends p to d and remembers its last bytes.
func (n *Numberer) copy(d *Numbered, p []byte) {
	d.Data = append(d.Data, p...)
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
