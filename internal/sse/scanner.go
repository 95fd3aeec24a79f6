package sse

import "bytes"

// Block is the kind of a block. A block is the part of an event stream up to and including a blank line.
type Block int

const (
	Torn    Block = iota // no block ended: more bytes are needed
	Comment              // a block without data, which dispatches no event
	Event                // a block with data
)

// MediaType is the media type of an event stream.
const MediaType = "text/event-stream"

// ByteOrderMark is U+FEFF in UTF-8. A stream may begin with one, which is not part of its first line.
var ByteOrderMark = []byte("\xEF\xBB\xBF")

// Heartbeat is a block with an empty comment, for which browsers dispatch no event.
var Heartbeat = []byte(":\n\n")

// CloseTorn returns ev after two LFs. They end the line and the block of a torn event, whatever line ending the stream
// used last.
func CloseTorn(ev []byte) []byte { return append([]byte("\n\n"), ev...) }

// Scanner finds the blocks of an event stream by the rules of the HTML Standard, § 9.2.6 "Interpreting an event
// stream". The stream may arrive in pieces of any size. A Scanner keeps only the first few bytes of a line. Its zero
// value is ready for the beginning of a stream.
type Scanner struct {
	started bool // the first line, which may begin with a byte order mark, has ended
	cr      bool // the last byte was a CR: an LF that follows belongs to it
	data    bool // the block has a data field
	within  bool // the block has at least one byte

	prefix [8]byte // the line's first bytes: enough for a byte order mark and "data:"
	n      int     // how many bytes of prefix are in use
}

// NewScanner returns a Scanner for the part of a stream that begins with a block. started is false if that is the
// stream's first block, which may begin with a byte order mark.
func NewScanner(started bool) Scanner { return Scanner{started: started} }

// HasCR reports whether p contains a CR. Few streams do, and [Scanner.Next] is faster without one.
func HasCR(p []byte) bool { return bytes.IndexByte(p, '\r') >= 0 }

// Next scans p up to the end of the first block that ends in p. It returns the number of bytes up to there and the kind
// of block. If no block ends in p, it returns len(p) and Torn. cr must be true if p contains a CR. The next call
// continues with the bytes that follow.
func (s *Scanner) Next(p []byte, cr bool) (int, Block) {
	i := 0
	if s.cr && len(p) > 0 {
		s.cr = false
		if p[0] == '\n' {
			if i = 1; !s.within {
				return i, Comment // the LF of a CRLF: the CR has ended the block already
			}
		}
	}
	for i < len(p) {
		s.within = true
		// A line that arrives whole, as most do, need not be remembered.
		if !cr && s.started && s.n == 0 {
			if p[i] == '\n' {
				return i + 1, s.endBlock()
			}
			if end := bytes.IndexByte(p[i:], '\n'); end > 0 {
				s.data = s.data || isData(p[i:i+end])
				i += end + 1
				continue
			}
		}
		end, found := lineEnd(p[i:])
		s.note(p[i : i+end])
		i += end
		if !found {
			break
		}
		if p[i] == '\r' {
			if i+1 == len(p) {
				s.cr = true
			} else if p[i+1] == '\n' {
				i++
			}
		}
		i++
		if s.endLine() {
			return i, s.endBlock()
		}
	}
	return len(p), Torn
}

// Blocks scans p. It returns the offset at which the last block in p ends, and how many events end in p. The offset is
// 0 if no block ends in p. last is the offset at which the last event that ends in p begins. It is negative if that is
// before p, or if no event ends in p. cr must be true if p contains a CR.
func (s *Scanner) Blocks(p []byte, cr bool) (whole, events, last int) {
	plain := !cr // look for a run of plain events
	last = -1
	for whole < len(p) {
		within := s.within
		n, ended := s.Next(p[whole:], cr)
		if ended == Torn {
			break
		}
		if ended == Event {
			events++
			if last = whole; within {
				last = -1
			}
		}
		whole += n
		if plain && whole < len(p) {
			plain = false // only once, because the search may read half of p
			n, more, size := plainEvents(p[whole:])
			whole += n
			events += more
			if more > 0 {
				last = whole - size
			}
		}
	}
	return whole, events, last
}

// plainEvents looks at the run of plain events at the beginning of p. It returns the run's length in bytes, the number
// of events, and the size of the last one. A plain event is a single data line, as most events are. p must begin with a
// block and contain no CR.
//
// An event's start is known only when the previous event's end is found, and the CPU stalls on that. Two interleaved
// scans, one of which starts near the middle of p, hide the stall. An event of a flood then takes 6 ns instead of 10.
func plainEvents(p []byte) (n, events, size int) {
	middle := blockAfterMiddle(p)
	first, second := p[:middle], p[middle:]
	pairs, a, b := 0, 0, 0
	for {
		nextA, nextB := plainEvent(first), plainEvent(second)
		if nextA == 0 || nextB == 0 {
			break
		}
		a, b = nextA, nextB
		first, second = first[a:], second[b:]
		pairs++
	}
	first, inFirst, a := dropPlainEvents(first, a)
	if len(first) > 0 {
		return middle - len(first), pairs + inFirst, a
	}
	second, inSecond, b := dropPlainEvents(second, b)
	if events = pairs + inSecond; events == 0 {
		b = a // the last event is in the first run
	}
	return len(p) - len(second), pairs + inFirst + events, b
}

// dropPlainEvents returns p without the plain events at its beginning, their number, and the size of the last one. If
// there are none, it returns the given size.
func dropPlainEvents(p []byte, size int) (rest []byte, events, last int) {
	for {
		n := plainEvent(p)
		if n == 0 {
			return p, events, size
		}
		p, size = p[n:], n
		events++
	}
}

// twoRuns is the smallest number of bytes for which two interleaved scans pay off.
const twoRuns = 2 << 10

// blockAfterMiddle returns the offset of the first block that begins after the middle of p. It returns len(p) if there
// is none, or if p is shorter than twoRuns.
func blockAfterMiddle(p []byte) int {
	if len(p) >= twoRuns {
		middle := len(p) / 2
		if end := bytes.Index(p[middle:], []byte("\n\n")); end >= 0 {
			return middle + end + 2
		}
	}
	return len(p)
}

// plainEvent returns the length, in bytes, of the plain event that p begins with, or 0 if there is none.
func plainEvent(p []byte) int {
	end := bytes.IndexByte(p, '\n')
	if end < 0 || end+1 == len(p) || p[end+1] != '\n' || !isData(p[:end]) {
		return 0
	}
	return end + 2
}

// lineEnd returns the offset of the LF or CR that ends the first line of p. If there is none, it returns len(p) and
// false.
func lineEnd(p []byte) (int, bool) {
	lf := bytes.IndexByte(p, '\n')
	if lf < 0 {
		lf = len(p)
	}
	if cr := bytes.IndexByte(p[:lf], '\r'); cr >= 0 {
		return cr, true
	}
	return lf, lf < len(p)
}

// note keeps the first bytes of the current line, which continues with p.
func (s *Scanner) note(p []byte) {
	s.n += copy(s.prefix[s.n:], p)
}

// endLine notes whether the line that has ended is a data field, and reports whether it is blank.
func (s *Scanner) endLine() bool {
	line := s.prefix[:s.n]
	if !s.started {
		line = bytes.TrimPrefix(line, ByteOrderMark)
	}
	s.data = s.data || isData(line)
	s.n = 0
	s.started = true
	return len(line) == 0
}

func (s *Scanner) endBlock() Block {
	ended := Comment
	if s.data {
		ended = Event
	}
	s.data, s.within = false, false
	return ended
}

// InEvent reports whether the bytes so far end within an event: a block that has a data field, but not its blank line.
func (s *Scanner) InEvent() bool { return s.data || isData(s.prefix[:s.n]) }

// IsStream reports whether p, the beginning of what may be an event stream, has a line of one: a known field, or a
// comment. A last line that is not whole counts once it has a colon.
func IsStream(p []byte) bool {
	p = bytes.TrimPrefix(p, ByteOrderMark)
	for len(p) > 0 {
		end, whole := lineEnd(p)
		name, _, colon := bytes.Cut(p[:end], []byte(":"))
		if (colon || whole) && isFieldName(name, colon) {
			return true
		}
		p = p[min(end+1, len(p)):]
	}
	return false
}

// isFieldName reports whether a line that begins with name is a field or a comment. colon says whether a colon follows.
// The names are those of the HTML Standard, § 9.2.6.
func isFieldName(name []byte, colon bool) bool {
	switch string(name) {
	case "data", "event", "id", "retry":
		return true
	}
	return colon && len(name) == 0
}

// MissingEnd returns the byte that would end the current event if only its blank line is missing, else 0.
func (s *Scanner) MissingEnd() byte {
	switch {
	case !s.data || s.n > 0:
		return 0
	case s.cr:
		return '\r' // an LF would belong to the CR before it, and end no line
	}
	return '\n'
}
