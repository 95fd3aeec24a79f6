package sse

import "bytes"

// isData reports whether a line, or the beginning of one, is a data field. A line without a colon is a field name with
// an empty value.
func isData(line []byte) bool {
	const field = "data"
	return len(line) >= len(field) && string(line[:len(field)]) == field && (len(line) == len(field) || line[len(field)] == ':')
}

// AppendData appends the data of the event ev to dst: the values of its data fields, joined by LF. first says whether
// ev is the stream's first event, which may begin with a byte order mark.
func AppendData(dst, ev []byte, first bool) []byte {
	if first {
		ev = bytes.TrimPrefix(ev, ByteOrderMark)
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
		ev = ev[min(end+1, len(ev)):] // the LF of a CRLF becomes an empty line, which has no effect here
	}
	return dst
}
