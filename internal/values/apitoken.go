package values

import (
	"errors"
	"regexp"
)

// This file knows the forms of the vendor's tokens.

// MinTokenLength is the least length of an API token, in bytes. A shorter one is no secret.
const MinTokenLength = 16

// The form of a token that the vendor documents.
const apiTokenForm = `ic_[0-9A-Za-z]{40}`

var (
	// APIToken matches a token in the form that the vendor documents.
	APIToken = regexp.MustCompile(`^` + apiTokenForm + `$`)

	anyAPIToken = regexp.MustCompile(apiTokenForm)

	// anyToken matches a text that holds a token of either form that the vendor uses. It ignores the letter case, because
	// hosts and origins are lower-cased.
	anyToken = regexp.MustCompile(`(?i)(?:^|[^0-9a-z])(?:ic_[0-9a-z]{32}|wsk_live_[0-9a-z_-]{8})`)
)

// Errors of an option that holds a token in the wrong place.
var (
	ErrIsToken   = errors.New("this is the API token, which others could read here; the option token is its only place")
	ErrLikeToken = errors.New("this has the form of an API token (ic_… or wsk_live_…), which others could read here; the option token is its only place")
)

// HoldsToken reports whether s holds a token of a form that the vendor uses.
func HoldsToken(s string) bool { return anyToken.MatchString(s) }

// CheckNoToken returns an error if s holds a token of a form that the vendor uses.
func CheckNoToken(s string) error {
	if HoldsToken(s) {
		return ErrLikeToken
	}
	return nil
}

// WithoutAPITokens returns text with "REDACTED" for each token in the form that the vendor documents. It is for text of
// other modules, so it changes nothing else.
func WithoutAPITokens(text []byte) []byte { return anyAPIToken.ReplaceAll(text, []byte("REDACTED")) }
