package upstream

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// This file tells a token from a text that should lead to one: a path, or a placeholder that is not written as one.

var (
	errTokenOfParts = errors.New("the token is put together from a placeholder and other text; " +
		"write one {env.NAME} or {file.PATH} alone, and put the whole token into that variable or file")
	errTokenIsPath        = errors.New("the token is a path; write {file.PATH} to read it from a file")
	errTokenIsAssignment  = errors.New("the token begins with the name of a variable; write only what follows the equals sign")
	errTokenIsURL         = errors.New("the token is a URL; write {file.PATH} to read it from a file")
	errTokenIsPlaceholder = errors.New("the token begins like a placeholder; one is written {env.NAME} or {file.PATH}")
)

// CheckTokenOption checks the token as it is configured: one placeholder and nothing else, or the token itself. Of a
// placeholder, the value can be checked only when it is replaced. The error does not show the token.
func CheckTokenOption(configured string) error {
	switch {
	case values.IsPlaceholder(configured):
		return values.CheckSources(configured)
	case values.Placeholders(configured) != "":
		return fmt.Errorf("%s: %w", values.Placeholders(configured), errTokenOfParts)
	case strings.ContainsAny(configured, "{}"):
		return errTokenIsPlaceholder
	}
	return CheckToken([]byte(configured))
}

// checkNoReference returns an error if a token is a reference to one.
func checkNoReference(token string) error {
	switch {
	// No token begins with these bytes (RFC 6750, § 2.1), but a misspelled placeholder does.
	case token[0] == '{' || token[0] == '$' || token[0] == '%' || placeholderName.MatchString(token):
		return errTokenIsPlaceholder
	case strings.Contains(token, "://"):
		return errTokenIsURL
	case isPath(token):
		return errTokenIsPath
	case assignment.MatchString(token):
		return errTokenIsAssignment
	}
	return nil
}

var (
	// placeholderName matches the name of a placeholder without its braces. A token may have a dot, but not there.
	placeholderName = regexp.MustCompile(`(?i)^(?:env|file)[.:]`)

	// assignment matches a line that sets a variable, as in an env file. A token may end with equals signs.
	assignment = regexp.MustCompile(`^[A-Z][A-Z0-9_]{3,}=[^=]`)

	// fileName matches the name of a file of text.
	fileName = regexp.MustCompile(`(?i)^[a-z_-]+\.(?:txt|token|secret|key|env)$`)

	// windowsPath matches the path of a drive or of a network share.
	windowsPath = regexp.MustCompile(`^(?:[A-Za-z]:[/\\]|\\\\)`)

	// pathSegment matches a name of a directory or a file that people choose.
	pathSegment = regexp.MustCompile(`^[A-Za-z._-]+(?:[0-9]{1,3}(?:[._-][A-Za-z._-]*)?)?$`)
)

// isPath reports whether a token is the path of a file: an absolute one, one that begins with a dot, or names with slashes
// between them. A token may hold slashes, but the texts between them are hardly ever names.
func isPath(token string) bool {
	if windowsPath.MatchString(token) || fileName.MatchString(token) {
		return true
	}
	for _, beginning := range []string{"/", "./", "../", "~/"} {
		if strings.HasPrefix(token, beginning) {
			return true
		}
	}
	segments := strings.Split(strings.ReplaceAll(token, `\`, "/"), "/")
	for _, segment := range segments {
		if !pathSegment.MatchString(segment) {
			return false
		}
	}
	return len(segments) > 1
}
