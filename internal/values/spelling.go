package values

import (
	"errors"
	"regexp"
	"strings"
)

// This file finds placeholders that are not written as Caddy reads them. Caddy would take them literally.

// Errors of a placeholder that is not replaced.
var (
	errHalfBraces = errors.New("it has a brace without its partner; a placeholder is written {env.NAME} or {file.PATH}")
	errBare       = errors.New("it looks like a placeholder without its braces; one is written {env.NAME} or {file.PATH}")
	errDollar     = errors.New("it looks like a variable of a shell; a placeholder is written {env.NAME} or {file.PATH}, without a dollar sign")
	errNoneHere   = errors.New("a placeholder does not work here; write the word itself")
)

var (
	// shellVariable matches the variable of a shell, of systemd or of a batch file. A $ within a word may be meant.
	shellVariable = regexp.MustCompile(`^\$|\$\{|\$[A-Z][A-Z0-9_]+|^%[A-Za-z_]+%$`)

	// bareName matches a word that begins with what provides a placeholder's value.
	bareName = regexp.MustCompile(`(?i)^(?:env|file|http|system)(?:\.|:)`)
)

// CheckBraces returns an error if s has a brace without its partner, or a variable as shells have them.
func CheckBraces(s string) error {
	if !bracesMatch(s) {
		return errHalfBraces
	}
	if shellVariable.MatchString(s) {
		return errDollar
	}
	return nil
}

// bracesMatch reports whether the braces of s enclose placeholders: none is empty, escaped or within another.
func bracesMatch(s string) bool {
	for s != "" {
		at := strings.IndexAny(s, "{}")
		switch {
		case at < 0:
			return true
		case s[at] == '}' || at > 0 && s[at-1] == '\\':
			return false
		}
		length := strings.IndexAny(s[at+1:], "{}")
		if length <= 0 || s[at+1+length] != '}' {
			return false
		}
		s = s[at+1+length+1:]
	}
	return true
}

// CheckSpelling is CheckBraces for a word that is no host and no URL. It also returns an error for a placeholder's name
// without braces.
func CheckSpelling(s string) error {
	if err := CheckBraces(s); err != nil {
		return err
	}
	if bareName.MatchString(s) {
		return errBare
	}
	return nil
}

// CheckNoPlaceholder returns an error if s has a brace, or a variable as shells have them.
func CheckNoPlaceholder(s string) error {
	if strings.ContainsAny(s, "{}") || CheckBraces(s) != nil {
		return errNoneHere
	}
	return nil
}
