package chat

import (
	"bytes"
	"encoding/hex"
	"unicode/utf16"
	"unicode/utf8"
)

// replacement is the escape for U+FFFD. It is as long as the escape that it replaces.
const replacement = `\ufffd`

// escapeLength is the length of an escape of the form \uXXXX.
const escapeLength = len(replacement)

// replaceHalfPairs replaces each half of a surrogate pair (RFC 8259, § 8.2) in body with U+FFFD, in place. Pages make
// such halves when they cut a text within a character, and they send them as escapes. It changes nothing else, so bytes
// that are not UTF-8 remain.
func replaceHalfPairs(body []byte) {
	for {
		at := bytes.IndexByte(body, '\\')
		if at < 0 {
			return
		}
		body = body[at:]
		switch unit, ok := escapedUnit(body); {
		case !ok: // another escape; its second byte may be a backslash
			body = body[min(2, len(body)):]
		case !utf16.IsSurrogate(unit):
			body = body[escapeLength:]
		case isPair(unit, body[escapeLength:]):
			body = body[2*escapeLength:]
		default:
			body = body[copy(body, replacement):]
		}
	}
}

// escapedUnit returns the UTF-16 code unit whose escape b begins with. It returns false if there is none.
func escapedUnit(b []byte) (unit rune, ok bool) {
	if len(b) < escapeLength || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var n [2]byte
	_, err := hex.Decode(n[:], b[2:escapeLength])
	return rune(n[0])<<8 | rune(n[1]), err == nil
}

// isPair reports whether the code unit high and the escape that rest begins with are a surrogate pair.
func isPair(high rune, rest []byte) bool {
	low, ok := escapedUnit(rest)
	return ok && utf16.DecodeRune(high, low) != utf8.RuneError
}
