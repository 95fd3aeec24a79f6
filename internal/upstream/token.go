package upstream

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// Bounds of a token's length, in bytes. Less is no secret; more would not fit beside an event's piece
// in a stream's buffer, where the token is looked for.
const (
	minTokenLength = 16
	maxTokenLength = 2048
)

// Token is an API token. Formatting or logging it does not show it.
type Token struct {
	value []byte
	rare  int // where its byte is that texts have least
}

// byRarity are the bytes that texts have least, the rarest one first.
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

func (Token) String() string   { return "REDACTED" }
func (Token) GoString() string { return "REDACTED" }

// In reports whether p holds the token's exact bytes. No token is in nothing.
//
// It is asked about every event, so it looks for the token's rarest byte: bytes.Contains looks for the first, and stops at
// each of a text's as many as there are. Where the rare byte is not rare, that is the better way.
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

func (s Token) Len() int { return len(s.value) }

// bearer is the value of the Authorization header (RFC 6750, § 2.1).
func (s Token) bearer() string { return "Bearer " + string(s.value) }

// TokenSource is where the token comes from: a value known since the config was loaded, or a file.
type TokenSource struct {
	fixed Token
	path  string // read for each request; "" where the token is fixed
}

// NewTokenSource resolves the configured token and checks that there is a usable one now. Its errors
// name a placeholder, and never hold the token.
func NewTokenSource(configured string) (TokenSource, error) {
	if path, ok := values.File(configured); ok {
		source := TokenSource{path: path}
		if _, err := source.Get(); err != nil {
			return source, fmt.Errorf("%s: %w", configured, err)
		}
		return source, nil
	}
	value, err := values.Expand(configured)
	if err != nil {
		return TokenSource{}, err
	}
	if err := CheckToken([]byte(value)); err != nil {
		if values.IsPlaceholder(configured) {
			err = fmt.Errorf("%s: %w", configured, err)
		}
		return TokenSource{}, err
	}
	return TokenSource{fixed: newToken([]byte(value))}, nil
}

// Get returns the token as it is now. A file that has become unreadable or malformed is an error: an
// older token is never used, because it was replaced for a reason.
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

// HasDocumentedForm reports whether the token looks like those that the vendor issues.
func (s TokenSource) HasDocumentedForm() bool {
	token, err := s.Get()
	return err == nil && values.APIToken.Match(token.value)
}

// CheckToken refuses what cannot be a token, without showing it.
func CheckToken(token []byte) error {
	switch {
	case len(token) == 0:
		return errors.New("the token is empty")
	case len(token) < minTokenLength:
		return fmt.Errorf("the token is shorter than %d bytes", minTokenLength)
	case len(token) > maxTokenLength:
		return fmt.Errorf("the token is longer than %d bytes", maxTokenLength)
	}
	for _, c := range token {
		if c <= ' ' || c >= 0x7f {
			return errors.New("the token holds a space, a control character or a byte that is not ASCII")
		}
	}
	// No token begins like this (RFC 6750, § 2.1), but a placeholder does that was not written right.
	if token[0] == '{' || token[0] == '$' {
		return errors.New("the token begins like a placeholder; one is written {env.NAME} or {file.PATH}")
	}
	return nil
}
