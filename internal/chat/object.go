package chat

import "strings"

// objectReader reads one JSON object (RFC 8259) that arrives in pieces of any size. It reports where the names and the
// values of the object itself begin and end, but nothing of nested values. It keeps none of the bytes: an event can be
// larger than the memory of its stream. That is why jsontext.Decoder, which holds each string as a whole, is not used.
//
// Like JSON.parse, it accepts names that occur twice. It accepts any bytes in a string but control characters, because
// browsers replace invalid UTF-8.
type objectReader struct {
	state jsonState
	open  []byte // the '{' and '[' that are open, the outermost first
	name  bool   // the string that is being read is a name
	rest  string // of the literal that is being read
	hex   int    // how many digits of a \u escape are missing
}

// maxDepth is how deeply arrays and objects may be nested, which bounds the memory of open.
const maxDepth = 10_000

// jsonState says which bytes may come next.
type jsonState int

const (
	beforeObject jsonState = iota
	beforeFirstName
	beforeName
	beforeColon
	beforeFirstValue // of an array
	beforeValue
	afterValue
	afterObject
	inLiteral // true, false or null

	inString
	afterBackslash
	inHex

	afterMinus
	afterZero
	inInteger
	afterPoint
	inFraction
	afterE
	afterSign
	inExponent

	notJSON
)

// mark is what a byte begins or ends in the object itself.
type mark int

const (
	noMark       mark = iota
	nameBegins        // the byte is the quote before a name
	stringBegins      // the byte is the quote before a value that is a string
	valueBegins       // the byte is the first one of a value that is no string
	nameEnds          // the byte is the quote after a name
	stringEnds        // the byte is the quote after a value
)

// reset prepares the reader for another object.
func (o *objectReader) reset() { *o = objectReader{open: o.open[:0]} }

// whole reports whether the bytes so far are exactly one object.
func (o *objectReader) whole() bool { return o.state == afterObject }

// next reads p up to the first mark. It returns the number of bytes that it has read, including the one with the mark.
func (o *objectReader) next(p []byte) (n int, m mark) {
	for n < len(p) {
		if o.state == inString {
			if n += plainLength(p[n:]); n == len(p) {
				break
			}
		}
		m := o.byte(p[n])
		if n++; m != noMark {
			return n, m
		}
	}
	return n, noMark
}

// plainLength returns how many bytes of a string p begins with that have no meaning of their own.
func plainLength(p []byte) int {
	for i, c := range p {
		if c == '"' || c == '\\' || c < ' ' {
			return i
		}
	}
	return len(p)
}

// byte reads one byte.
func (o *objectReader) byte(c byte) mark {
	switch {
	case o.state >= inString && o.state <= inHex:
		return o.stringByte(c)
	case o.state == inLiteral:
		o.literalByte(c)
		return noMark
	case o.state >= afterMinus && o.state <= inExponent:
		if o.numberByte(c) {
			return noMark
		}
	}
	if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
		return noMark
	}
	return o.structure(c)
}

// structure reads a byte that is not within a string, a number or a literal, and is no white space.
func (o *objectReader) structure(c byte) mark {
	switch state := o.state; {
	case state == beforeObject && c == '{':
		o.begin('{')
	case c == '"' && (state == beforeFirstName || state == beforeName):
		return o.beginString(true)
	case c == ':' && state == beforeColon:
		o.state = beforeValue
	case c == ']' && state == beforeFirstValue, (c == '}' || c == ']') && state == afterValue, c == '}' && state == beforeFirstName:
		o.end(c)
	case c == ',' && state == afterValue && o.open[len(o.open)-1] == '{':
		o.state = beforeName
	case c == ',' && state == afterValue:
		o.state = beforeValue
	case state == beforeValue, state == beforeFirstValue:
		return o.beginValue(c)
	default:
		o.state = notJSON
	}
	return noMark
}

// beginValue reads the first byte of a value.
func (o *objectReader) beginValue(c byte) mark {
	m := noMark
	if len(o.open) == 1 {
		m = valueBegins
	}
	switch {
	case c == '"':
		return o.beginString(false)
	case c == '{', c == '[':
		o.begin(c)
	case c == 't':
		o.state, o.rest = inLiteral, "rue"
	case c == 'f':
		o.state, o.rest = inLiteral, "alse"
	case c == 'n':
		o.state, o.rest = inLiteral, "ull"
	case c == '-':
		o.state = afterMinus
	case c == '0':
		o.state = afterZero
	case isDigit(c):
		o.state = inInteger
	default:
		o.state = notJSON
	}
	return m
}

// begin opens an object or an array.
func (o *objectReader) begin(kind byte) {
	if len(o.open) == maxDepth {
		o.state = notJSON
		return
	}
	o.open = append(o.open, kind)
	if o.state = beforeFirstName; kind == '[' {
		o.state = beforeFirstValue
	}
}

// end closes the innermost object or array.
func (o *objectReader) end(c byte) {
	last := len(o.open) - 1
	if (o.open[last] == '{') != (c == '}') {
		o.state = notJSON
		return
	}
	o.open = o.open[:last]
	if o.state = afterValue; last == 0 {
		o.state = afterObject
	}
}

func (o *objectReader) beginString(name bool) mark {
	o.state, o.name = inString, name
	switch {
	case len(o.open) > 1:
		return noMark
	case name:
		return nameBegins
	}
	return stringBegins
}

// stringByte reads a byte within a string.
func (o *objectReader) stringByte(c byte) mark {
	switch {
	case c < ' ':
		o.state = notJSON
	case o.state == afterBackslash:
		o.escape(c)
	case o.state == inHex:
		if !isHex(c) {
			o.state = notJSON
		} else if o.hex--; o.hex == 0 {
			o.state = inString
		}
	case c == '\\':
		o.state = afterBackslash
	case c == '"':
		return o.endString()
	}
	return noMark
}

func (o *objectReader) escape(c byte) {
	switch {
	case c == 'u':
		o.state, o.hex = inHex, 4
	case strings.IndexByte(`"\/bfnrt`, c) >= 0:
		o.state = inString
	default:
		o.state = notJSON
	}
}

func (o *objectReader) endString() mark {
	if o.state = afterValue; o.name {
		o.state = beforeColon
	}
	switch {
	case len(o.open) > 1:
		return noMark
	case o.name:
		return nameEnds
	}
	return stringEnds
}

// literalByte reads a byte of true, false or null.
func (o *objectReader) literalByte(c byte) {
	if c != o.rest[0] {
		o.state = notJSON
	} else if o.rest = o.rest[1:]; o.rest == "" {
		o.state = afterValue
	}
}

// numberByte reads a byte that may belong to a number. It returns false if it does not. Then the number has ended, or is
// no JSON.
func (o *objectReader) numberByte(c byte) bool {
	next := notJSON
	switch state := o.state; {
	case state == afterMinus && c == '0':
		next = afterZero
	case (state == afterMinus || state == inInteger) && isDigit(c):
		next = inInteger
	case (state == afterZero || state == inInteger) && c == '.':
		next = afterPoint
	case (state == afterPoint || state == inFraction) && isDigit(c):
		next = inFraction
	case (state == afterZero || state == inInteger || state == inFraction) && (c == 'e' || c == 'E'):
		next = afterE
	case state == afterE && (c == '+' || c == '-'):
		next = afterSign
	case (state == afterE || state == afterSign || state == inExponent) && isDigit(c):
		next = inExponent
	case state == afterZero, state == inInteger, state == inFraction, state == inExponent:
		o.state = afterValue
		return false
	}
	o.state = next
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }
