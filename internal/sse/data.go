package sse

import "bytes"

// isData reports whether a line, or the beginning of one, is a data field. A line without a colon is a field name with
// an empty value.
func isData(line []byte) bool {
	const n = len(dataField)
	return len(line) >= n && string(line[:n]) == dataField && (len(line) == n || line[n] == ':')
}

// DataReader finds the data of one event, which may arrive in pieces of any size: the values of its data fields, joined
// by LF. It keeps only the first few bytes of a line. Its zero value is ready for any event but a stream's first.
type DataReader struct {
	first bool // the next line is the stream's first, which may begin with a byte order mark
	cr    bool // the last byte was a CR: an LF that follows belongs to it
	many  bool // the event has had a data field, so the next one's value follows an LF

	line   linePart
	prefix [8]byte // the line's first bytes: enough for a byte order mark and "data:"
	n      int     // how many bytes of prefix are in use
}

// linePart is the part of a line that a DataReader is in.
type linePart int

const (
	inName   linePart = iota // it is not known yet whether the line is a data field
	atValue                  // a space may precede the value
	inValue                  // of a data field
	inOthers                 // the line is no data field
)

// NewDataReader returns a DataReader. first says whether the event is the stream's first, which may begin with a byte
// order mark.
func NewDataReader(first bool) DataReader { return DataReader{first: first} }

var lineFeed = []byte{'\n'}

// Next returns the first piece of data in p, and the bytes of p that follow it. The piece may be empty. p has been read
// when rest is empty.
func (d *DataReader) Next(p []byte) (data, rest []byte) {
	for len(p) > 0 {
		if d.cr {
			if d.cr = false; p[0] == '\n' {
				p = p[1:]
				continue
			}
		}
		switch d.line {
		case inName:
			joined := d.name(p[0])
			if p = p[1:]; joined {
				return lineFeed, p
			}
		case atValue:
			if d.line = inValue; p[0] == ' ' {
				p = p[1:]
			}
		default:
			isValue := d.line == inValue
			end, found := lineEnd(p)
			data, rest = p[:end], p[end:]
			if found {
				d.endLine(p[end])
				rest = rest[1:]
			}
			if isValue {
				return data, rest
			}
			p = rest
		}
	}
	return nil, nil
}

// name reads one byte of a line that may be a data field. joined says that the line is a further data field.
func (d *DataReader) name(c byte) (joined bool) {
	if c == '\n' || c == '\r' {
		joined = d.isField() && d.addField() // without a colon, the value is empty
		d.endLine(c)
		return joined
	}
	d.prefix[d.n] = c
	d.n++
	name := d.known()
	switch {
	case len(name) <= len(dataField):
		return false
	case d.isField():
		d.line = atValue
		return d.addField()
	}
	d.line = inOthers
	return false
}

const dataField = "data"

// known returns the first bytes of the line, without a byte order mark.
func (d *DataReader) known() []byte {
	if d.first {
		return bytes.TrimPrefix(d.prefix[:d.n], ByteOrderMark)
	}
	return d.prefix[:d.n]
}

// isField reports whether the line is a data field.
func (d *DataReader) isField() bool { return isData(d.known()) }

// addField notes a data field, and reports whether an LF precedes its value.
func (d *DataReader) addField() (joined bool) {
	joined, d.many = d.many, true
	return joined
}

// endLine notes the end of a line, which is an LF or a CR.
func (d *DataReader) endLine(c byte) {
	d.cr = c == '\r'
	d.first, d.line, d.n = false, inName, 0
}

// AppendData appends the data of the event ev to dst. first says whether ev is the stream's first event, which may begin
// with a byte order mark.
func AppendData(dst, ev []byte, first bool) []byte {
	reader := NewDataReader(first)
	for len(ev) > 0 {
		var data []byte
		data, ev = reader.Next(ev)
		dst = append(dst, data...)
	}
	return dst
}
