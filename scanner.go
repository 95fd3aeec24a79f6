package illumichat

import "bytes"

// block is what ends at a blank line of an event stream.
type block int

const (
	torn    block = iota // no block ended: more bytes are needed
	comment              // a block without data, which dispatches no event
	event                // a block with data
)

var byteOrderMark = []byte("\xEF\xBB\xBF")

// scanner finds the blocks of an event stream by the rules of the HTML Standard, § 9.2.6 "Interpreting an
// event stream", in whatever pieces the stream comes. It keeps no bytes but the first few of a line, and
// its zero value is ready for the beginning of a stream.
type scanner struct {
	started bool // the first line, which may have a byte order mark, is over
	cr      bool // the last byte was a CR: a LF next belongs to it
	data    bool // the block has a data field
	within  bool // the block has a byte already

	prefix [8]byte // the line's first bytes: room for a byte order mark and "data:"
	n      int     // how many of them there are
}

// hasCR reports whether there is a CR in p. Few streams have any, and next is faster where there is none.
func hasCR(p []byte) bool { return bytes.IndexByte(p, '\r') >= 0 }

// next scans p, which may have a CR only if cr is true, to the end of the first block that ends in it. It returns how many
// bytes that are and what ended; all of p, and torn, where nothing does. The next call takes the bytes that follow.
func (s *scanner) next(p []byte, cr bool) (int, block) {
	i := 0
	if s.cr && len(p) > 0 {
		s.cr = false
		if p[0] == '\n' {
			if i = 1; !s.within {
				return i, comment // the tail of a block that ended with the CR
			}
		}
	}
	for i < len(p) {
		s.within = true
		// A line that comes whole need not be remembered. Most do.
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
	return len(p), torn
}

// lineEnd returns where the first line of p ends, by LF or CR, and whether it does.
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

// note remembers the beginning of the line that p continues.
func (s *scanner) note(p []byte) {
	s.n += copy(s.prefix[s.n:], p)
}

// endLine judges the line that has ended and reports whether it was blank.
func (s *scanner) endLine() bool {
	line := s.prefix[:s.n]
	if !s.started {
		line = bytes.TrimPrefix(line, byteOrderMark)
	}
	s.data = s.data || isData(line)
	s.n = 0
	s.started = true
	return len(line) == 0
}

// isData reports whether a line, or its beginning, is a data field. A line without a colon is a field's name alone, its
// value empty.
func isData(line []byte) bool {
	const field = "data"
	return len(line) >= len(field) && string(line[:len(field)]) == field && (len(line) == len(field) || line[len(field)] == ':')
}

func (s *scanner) endBlock() block {
	ended := comment
	if s.data {
		ended = event
	}
	s.data, s.within = false, false
	return ended
}

// missingEnd returns the byte that would end the block where only its blank line is missing, else 0.
func (s *scanner) missingEnd() byte {
	switch {
	case !s.data || s.n > 0:
		return 0
	case s.cr:
		return '\r' // a LF would be taken as part of that line's end
	}
	return '\n'
}

// appendData appends the value of an event's data to dst: that of its data fields, joined by LF. first
// tells that the event is the stream's first, which may begin with a byte order mark.
func appendData(dst, ev []byte, first bool) []byte {
	if first {
		ev = bytes.TrimPrefix(ev, byteOrderMark)
	}
	for fields := 0; len(ev) > 0; {
		end, _ := lineEnd(ev)
		if isData(ev[:end]) {
			if fields > 0 {
				dst = append(dst, '\n')
			}
			fields++
			_, value, _ := bytes.Cut(ev[:end], []byte(":"))
			dst = append(dst, bytes.TrimPrefix(value, []byte(" "))...)
		}
		ev = ev[min(end+1, len(ev)):] // the LF of a CRLF is one more empty line, which says nothing here
	}
	return dst
}
