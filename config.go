package illumichat

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// Checks of config values that the Caddyfile, which knows their line, and JSON share.
var (
	errNoAssistants    = errors.New("assistants: at least one assistant is needed, or an alias of one")
	errAnyAmongOthers  = errors.New("assistants: * allows any assistant, so none can be named beside it")
	errPassFieldIsOurs = errors.New("assistantId, messages and chatId are always forwarded")
)

// resolveEndpoint returns the URL that is configured, or the default where that comes out empty.
func resolveEndpoint(configured string) (*url.URL, error) {
	value, err := values.Replace(configured, func(string, string) error { return nil })
	switch {
	case err != nil:
		return nil, err
	case value == "":
		return parseEndpoint(defaultEndpoint)
	}
	// Within a URL, an empty placeholder is a mistake.
	if value, err = values.Expand(configured); err != nil {
		return nil, err
	}
	return parseEndpoint(value)
}

func parseEndpoint(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		// The error that url.Parse wraps does not print the URL, which may hold credentials.
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return nil, err
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q is not an http or https URL", values.Printable(s))
	case u.User != nil:
		return nil, errors.New("the URL holds credentials; the token is the only one that is sent")
	case u.Hostname() == "":
		return nil, fmt.Errorf("%q names no host", s)
	case !validPort(u):
		return nil, fmt.Errorf("%q has a port that does not exist", s)
	case u.Fragment != "":
		return nil, fmt.Errorf("%q has a fragment, which is never sent", s)
	}
	return u, nil
}

// validPort reports whether u has a usable port, or leaves it to its scheme.
func validPort(u *url.URL) bool {
	if u.Port() == "" {
		return true
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && port > 0
}

// checkAssistant checks an id after its placeholders are replaced. A * there would be an id, and not the
// leave to talk to any assistant that whoever set it may have meant.
func checkAssistant(id string) error {
	switch {
	case id == "":
		return errors.New("an assistant's id is empty")
	case id == anyAssistant:
		return errors.New("* is no assistant's id; alone, and not by a placeholder, it allows any")
	case !utf8.ValidString(id):
		return fmt.Errorf("%q is no assistant's id: it is not valid UTF-8", id)
	case strings.ContainsFunc(id, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return fmt.Errorf("%q is no assistant's id: it holds a space or a control character", id)
	}
	return nil
}

// checkAlias refuses a name that means two assistants.
func checkAlias(name, id string, listed []string) error {
	if name == "" {
		return errors.New("the name is empty")
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("the name %q is not valid UTF-8", name)
	}
	if slices.Contains(listed, name) {
		return fmt.Errorf("'%s' is the id of a listed assistant", name)
	}
	return checkAssistant(id)
}

func checkRole(role string) error {
	if role == "" {
		return errors.New("a role is empty")
	}
	return nil
}

// checkPassField refuses fields that have a meaning of their own, in any case of their letters: an
// upstream that is lenient about case would read them as those.
func checkPassField(name string) error {
	if name == "" {
		return errors.New("a field's name is empty")
	}
	if slices.ContainsFunc(chatFields, func(field string) bool { return strings.EqualFold(field, name) }) {
		return fmt.Errorf("%q: %w", name, errPassFieldIsOurs)
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
