package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// maxTokenLength is the greatest length of a token, in bytes. A longer one would not fit next to a piece of an event in a
// stream's buffer. The token is searched for in that buffer.
const maxTokenLength = 2048

// Token is an API token. Formatting or logging a Token does not show its value.
type Token struct {
	value []byte
	rare  int // index of the byte of value that is rarest in texts
}

// byRarity lists the bytes that are rare in texts, the rarest first.
const byRarity = "QXZJKVWYUGPHFBRLNOMDCTSEAI_qzxjkv9876543210"

func newToken(value []byte) Token {
	s := Token{value: value}
	for i := range byRarity {
		if s.rare = bytes.IndexByte(value, byRarity[i]); s.rare >= 0 {
			return s
		}
	}
	s.rare = 0
	return s
}

// String returns "REDACTED".
func (Token) String() string { return "REDACTED" }

// GoString returns "REDACTED".
func (Token) GoString() string { return "REDACTED" }

// In reports whether p holds the token's exact bytes. It returns false for the zero Token.
//
// In is called for every event, so it searches for the token's rarest byte. bytes.Contains searches for the first byte,
// and stops at each of its many occurrences in a text. If the rarest byte is not rare in p, bytes.Contains is faster.
func (s Token) In(p []byte) bool {
	if len(p) < len(s.value) || len(s.value) == 0 {
		return false
	}
	const enough = 8
	for range enough {
		i := bytes.IndexByte(p[s.rare:len(p)-len(s.value)+s.rare+1], s.value[s.rare])
		if i < 0 {
			return false
		}
		if bytes.HasPrefix(p[i:], s.value) {
			return true
		}
		if p = p[i+1:]; len(p) < len(s.value) {
			return false
		}
	}
	return bytes.Contains(p, s.value)
}

// inName reports whether a header's name holds the token in any letter case. HTTP/2 sends names in lower case, and
// net/http puts them into canonical form.
func (s Token) inName(name string) bool {
	if len(name) < len(s.value) || len(s.value) == 0 {
		return false
	}
	return bytes.Contains(bytes.ToLower([]byte(name)), bytes.ToLower(s.value))
}

// Len returns the length of the token in bytes.
func (s Token) Len() int { return len(s.value) }

// HasDocumentedForm reports whether the token has the form that the vendor documents.
func (s Token) HasDocumentedForm() bool { return values.APIToken.Match(s.value) }

// bearer returns the value of the Authorization header (RFC 6750, § 2.1).
func (s Token) bearer() string { return "Bearer " + string(s.value) }

// TokenSource provides the token: a value that was fixed when the config was loaded, or the content of a file.
type TokenSource struct {
	fixed Token
	path  string // of the file, which is read for each request; "" if the token is fixed
}

// NewTokenSource resolves the configured token. It returns an error if there is no usable token now, unless it is
// that of a file with an absolute path that does not exist yet: the secret of one chat must not take down all sites of a
// Caddy. The error names
// the placeholder, if there is one, and never holds the token.
func NewTokenSource(configured string) (TokenSource, error) {
	if path, ok := values.File(configured); ok {
		if values.HoldsToken(path) {
			return TokenSource{}, errors.New("the token is written where the path of a file is expected")
		}
		source := TokenSource{path: path}
		_, err := source.Get()
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist) && filepath.IsAbs(path):
			return source, nil
		case errors.Is(err, fs.ErrNotExist): // the path may be wrong from this working directory
			err = errors.New("there is no such file; write an absolute path, such as {file./etc/caddy/illumichat_token}")
		}
		return source, fmt.Errorf("%s: %w", values.Printable(configured), values.PrintableError(err))
	}
	if err := CheckTokenOption(configured); err != nil {
		return TokenSource{}, err
	}
	value, err := values.Expand(configured)
	if err != nil {
		return TokenSource{}, err
	}
	if err := CheckToken([]byte(value)); err != nil {
		if values.HasPlaceholder(configured) {
			err = fmt.Errorf("%s: %w", values.Placeholders(configured), err)
		}
		return TokenSource{}, err
	}
	return TokenSource{fixed: newToken([]byte(value))}, nil
}

// Get returns the current token. It returns an error if the file has become unreadable or malformed. An older token is
// never used, because the operator replaced it for a reason.
func (s TokenSource) Get() (Token, error) {
	if s.path == "" {
		return s.fixed, nil
	}
	value, err := values.ReadSecret(s.path, maxTokenLength)
	if err != nil {
		return Token{}, err
	}
	if err := CheckToken(value); err != nil {
		return Token{}, err
	}
	return newToken(value), nil
}

// OccursIn reports whether text holds the current token in any letter case, because hosts and origins are lower-cased. A
// percent escape counts as the byte that it stands for.
func (s TokenSource) OccursIn(text string) bool {
	token, err := s.Get()
	if err != nil {
		return false
	}
	return token.inName(text) || token.inName(unescape(text))
}

// byteOrderMark is U+FEFF in UTF-8.
const byteOrderMark = "\xef\xbb\xbf"

// checkBytes returns an error if the token has a byte that no header value may have, or a space. The error says where the
// byte is, and does not show it.
func checkBytes(token string) error {
	wrong := strings.IndexFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f })
	switch {
	case wrong < 0:
		return nil
	case strings.HasPrefix(strings.ToLower(token), "bearer "):
		return errors.New("the token begins with the word Bearer; leave it out")
	case strings.TrimRight(token, "\r\n") == token[:wrong]:
		return errors.New("the token ends with a line end; leave it out")
	case strings.TrimRight(token, " \t") == token[:wrong]:
		return errors.New("the token ends with white space; leave it out")
	case strings.TrimLeft(token, " \t") != token:
		return errors.New("the token begins with white space; leave it out")
	case strings.HasPrefix(token, byteOrderMark):
		return errors.New("the token begins with a byte order mark, as some editors write it; save the file without one")
	case token[wrong] == '\n' || token[wrong] == '\r':
		return errors.New("the token has a line end in it; write one token and nothing else")
	case token[wrong] == ' ':
		return fmt.Errorf("the token has a space after %d characters; write one token and nothing else", wrong)
	case token[wrong] > 0x7f:
		return fmt.Errorf("the token has a character that is not ASCII after %d others; copy it again", wrong)
	}
	return fmt.Errorf("the token has a control character after %d others; copy it again", wrong)
}

// CheckToken returns an error if token cannot be an API token. The error does not show the token.
func CheckToken(token []byte) error {
	switch {
	case len(token) == 0:
		return errors.New("the token is empty")
	case len(token) < values.MinTokenLength:
		if err := checkNoReference(string(token)); err != nil {
			return err
		}
		return fmt.Errorf("the token is shorter than %d bytes", values.MinTokenLength)
	case len(token) > maxTokenLength:
		return fmt.Errorf("the token is longer than %d bytes", maxTokenLength)
	}
	if err := checkBytes(string(token)); err != nil {
		return err
	}
	if strings.ContainsRune("\"'`", rune(token[0])) {
		return errors.New("the token has quotation marks around it; leave them out")
	}
	return checkNoReference(string(token))
}
