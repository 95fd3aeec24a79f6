package values

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// This file decides what an error may print of a config. Every error that shows a word shows Printable(word).

// hidden stands for what an error does not print.
const hidden = "…"

// maxPrinted is how many bytes of a word an error prints at most. No option's name or value needs more.
const maxPrinted = 100

var (
	// tokenPiece matches a token, or a piece that an operator may have left of one. It also matches some names.
	tokenPiece = regexp.MustCompile(`(?:^|[^0-9A-Za-z])(?:ic|wsk_live)_[0-9A-Za-z_-]{8,}`)

	// wordPiece matches a placeholder, or what tokenPiece does.
	wordPiece = regexp.MustCompile(`\{[a-z_]+\.[^{}]*\}|` + tokenPiece.String())

	// unbrokenPiece matches such a piece without a separator behind its prefix.
	unbrokenPiece = regexp.MustCompile(`ic_[0-9A-Za-z]{17,}|wsk_live_[0-9A-Za-z_-]{8,}`)

	// namedSecret matches the name of a secret and the secret behind it, as in "token=abc" and "token abc".
	namedSecret = regexp.MustCompile(`(?is)((?:^|[^0-9a-z])(?:token|bearer|password|passwd|secret|api[_-]?key|key|authorization)["']?\s*[:=\s]\s*)\S.*`)

	// query matches the query or the fragment of a URL.
	query = regexp.MustCompile(`(?s)([?#]).+`)

	// namedPlaceholder matches a word that is one placeholder, with the name of what provides its value.
	namedPlaceholder = regexp.MustCompile(`^\{[a-z_]+\.[^{}]*\}$`)
)

// Printable returns word as an error may print it. It hides everything that may be a secret in the wrong place: tokens,
// what follows a word such as "token", the user and the query of a URL, and long opaque runs. It keeps the names of
// placeholders, because an error names them instead of their values.
func Printable(word string) string {
	word = strings.ToValidUTF8(word, "�")
	if namedPlaceholder.MatchString(word) {
		return hideTokens(word)
	}
	word = namedSecret.ReplaceAllString(word, "${1}"+hidden)
	word = query.ReplaceAllString(hideUser(word), "${1}"+hidden)
	return shorten(hideOpaque(hidePieces(word)))
}

// hideUser hides the user and the password of a URL. A password may hold any character, so only the last @ ends it.
func hideUser(word string) string {
	end := strings.LastIndexByte(word, '@')
	if end <= 0 {
		return word
	}
	if scheme, _, ok := strings.Cut(word[:end], "://"); ok {
		return scheme + "://" + hidden + word[end:]
	}
	return hidden + word[end:]
}

// hideTokens hides tokens, and pieces of them. Names that begin like a token, such as that of a file, stay.
func hideTokens(text string) string {
	return tokenPiece.ReplaceAllStringFunc(text, func(piece string) string {
		if isTokenPiece(piece) {
			return hiddenPiece(piece)
		}
		return piece
	})
}

// hidePieces is hideTokens for a word of the config. Outside of placeholders, it also hides shorter pieces of tokens.
func hidePieces(word string) string {
	return wordPiece.ReplaceAllStringFunc(word, func(piece string) string {
		switch {
		case namedPlaceholder.MatchString(piece):
			return hideTokens(piece)
		case strings.ContainsAny(piece, "0123456789") || len(piece) >= 20:
			return hiddenPiece(piece)
		}
		return piece
	})
}

// hiddenPiece returns what is shown for a match of tokenPiece: the character before the token, if there is one.
func hiddenPiece(piece string) string {
	if strings.HasPrefix(piece, "ic_") || strings.HasPrefix(piece, "wsk_") {
		return hidden
	}
	_, length := utf8.DecodeRuneInString(piece)
	return piece[:length] + hidden
}

// isTokenPiece reports whether a text that begins like a token is one, or a piece of one: it has a digit and 20 bytes, or
// is too long for a name.
func isTokenPiece(text string) bool {
	piece := unbrokenPiece.FindString(text)
	return piece != "" && (strings.ContainsAny(piece, "0123456789") || len(piece) >= 35)
}

func shorten(word string) string {
	if len(word) <= maxPrinted {
		return word
	}
	end := maxPrinted
	for !utf8.RuneStart(word[end]) {
		end--
	}
	return word[:end] + hidden
}

// PrintableError returns err without the tokens in its text. It is for errors of Caddy, of other modules and of the
// system. Those print words and file names as they are. It returns err itself if the text has no token.
func PrintableError(err error) error {
	if err == nil || hideTokens(err.Error()) == err.Error() {
		return err
	}
	return &printableError{err}
}

type printableError struct{ err error }

// Error returns the text of the error without tokens.
func (e *printableError) Error() string { return hideTokens(e.err.Error()) }

// Unwrap returns the error with its whole text.
func (e *printableError) Unwrap() error { return e.err }
