package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// DefaultEndpoint is the chat API's URL, which is used if no other is configured.
const DefaultEndpoint = "https://beta.illumichat.com/api/chat"

// Endpoint is the URL of the chat API.
type Endpoint struct {
	URL    *url.URL
	Public string // the URL without the parts that could hold a secret

	// Fallback says that a placeholder is configured and empty, so that this is the default endpoint.
	Fallback bool
}

// ResolveEndpoint replaces the placeholders of the configured URL and returns the endpoint. It returns the default
// endpoint if the result is empty. It returns an error if only a part of the URL is an empty placeholder, or if
// ParseEndpoint returns one.
func ResolveEndpoint(configured string) (*Endpoint, error) {
	u, fallback, err := resolveURL(configured)
	if err != nil {
		return nil, err
	}
	return &Endpoint{URL: u, Public: publicURL(u, configured), Fallback: fallback}, nil
}

// publicURL returns the part of an endpoint that anybody may see. A query could hold a key, and so could the value of a
// placeholder, though not in the host name. So the query is left out, and the path as well if there is a placeholder.
func publicURL(u *url.URL, configured string) string {
	public := url.URL{Scheme: u.Scheme, Host: u.Host}
	if !values.HasPlaceholder(configured) {
		public.Path, public.RawPath = u.Path, u.RawPath
	}
	return public.String()
}

// resolveURL returns the URL of an endpoint. fallback says that it is the default one, because a placeholder is empty.
func resolveURL(configured string) (u *url.URL, fallback bool, err error) {
	if err := values.CheckBraces(configured); err != nil {
		return nil, false, err
	}
	if !values.HasPlaceholder(configured) {
		u, err := ParseEndpoint(cmp.Or(configured, DefaultEndpoint))
		return u, false, err
	}
	value, err := values.Replace(configured, func(string, string) error { return nil })
	switch {
	case err != nil:
		return nil, false, err
	case value == "":
		u, err := ParseEndpoint(DefaultEndpoint)
		return u, true, err
	}
	// If only a part of the URL is an empty placeholder, that is a mistake.
	if value, err = values.Expand(configured); err != nil {
		return nil, false, err
	}
	if u, err = parseURL(value); err != nil {
		return nil, false, fmt.Errorf("the value of %s: %w", values.Placeholders(configured), err)
	}
	return u, false, nil
}

// CheckEndpoint checks the URL of a chat API as it is configured. Of a URL with placeholders, it checks how they are
// written: the rest can be checked only when they are replaced.
func CheckEndpoint(configured string) error {
	if err := values.CheckBraces(configured); err != nil {
		return err
	}
	if values.HasPlaceholder(configured) {
		return values.CheckSources(configured)
	}
	_, err := ParseEndpoint(configured)
	return err
}

// ParseEndpoint parses the URL of a chat API. It returns an error unless the URL has the scheme http or https, a host,
// and no invalid port. It also returns an error if the URL holds credentials, a fragment or a text that has the form of
// an API token. The error shows no more than the scheme and the host.
func ParseEndpoint(s string) (*url.URL, error) {
	u, err := parseURL(s)
	if err == nil {
		return u, nil
	}
	if shown := schemeAndHost(s); shown != "" {
		err = fmt.Errorf("%s: %w", shown, err)
	}
	return nil, err
}

// schemeAndHost returns these two parts of a URL, or "" if there is doubt which parts they are.
func schemeAndHost(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || strings.Contains(s, "@") {
		return ""
	}
	return values.Printable(u.Scheme + "://" + u.Host)
}

var (
	errNoURL       = errors.New("not an http or https URL; one is written like " + DefaultEndpoint)
	errCredentials = errors.New("the URL has an @, so it may hold credentials; the token is the only one that is sent; " +
		"leave them out, or write %40 for an @ of the path or the query")
)

// parseURL is ParseEndpoint, but its errors show nothing of the URL, which may be the value of a placeholder.
func parseURL(s string) (*url.URL, error) {
	// A password that holds a slash or a # hides from url.Parse, which takes the user for the host.
	if strings.Contains(s, "@") {
		return nil, errCredentials
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, whyNoURL(err)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errNoURL
	case u.Hostname() == "":
		return nil, errors.New("the URL names no host; write it behind https://")
	case !values.ValidPort(u):
		return nil, errPort
	case u.Fragment != "":
		return nil, errors.New("the URL has a fragment, which is never sent; leave out the # and the text behind it")
	case values.HoldsToken(s) || values.HoldsToken(unescape(s)):
		return nil, values.ErrLikeToken
	}
	return u, nil
}

// unescape returns text with its percent escapes replaced, or text itself if one of them is invalid.
func unescape(text string) string {
	if unescaped, err := url.PathUnescape(text); err == nil {
		return unescaped
	}
	return text
}

var errPort = errors.New("the URL has a port that does not exist; write a number from 1 to 65535, or leave it out")

// whyNoURL returns the reason why url.Parse has failed. It does not wrap err, which quotes pieces of the URL.
func whyNoURL(err error) error {
	var escape url.EscapeError
	switch text := err.Error(); {
	case errors.As(err, &escape):
		return errors.New("the URL has a % that begins no escape; write %25 for a percent sign")
	case strings.Contains(text, "invalid port"):
		return errPort
	case strings.Contains(text, "control character"):
		return errors.New("the URL has a control character")
	case strings.Contains(text, "missing ']'"):
		return errors.New("the URL has a [ without its ]")
	}
	return errNoURL
}
