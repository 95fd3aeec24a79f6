package upstream

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// DefaultEndpoint is the chat API's URL, which is used if no other is configured.
const DefaultEndpoint = "https://beta.illumichat.com/api/chat"

// Endpoint is the URL of the chat API.
type Endpoint struct {
	URL    *url.URL
	Public string // the URL without the parts that could hold a secret
}

// ResolveEndpoint replaces the placeholders of the configured URL and returns the endpoint. It returns the default
// endpoint if the result is empty. It returns an error if only a part of the URL is an empty placeholder, or if
// ParseEndpoint returns one.
func ResolveEndpoint(configured string) (*Endpoint, error) {
	u, err := resolveURL(configured)
	if err != nil {
		return nil, err
	}
	return &Endpoint{URL: u, Public: publicURL(u, configured)}, nil
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

func resolveURL(configured string) (*url.URL, error) {
	value, err := values.Replace(configured, func(string, string) error { return nil })
	switch {
	case err != nil:
		return nil, err
	case value == "":
		return ParseEndpoint(DefaultEndpoint)
	}
	// If only a part of the URL is an empty placeholder, that is a mistake.
	if value, err = values.Expand(configured); err != nil {
		return nil, err
	}
	return ParseEndpoint(value)
}

// ParseEndpoint parses the URL of a chat API. It returns an error unless the URL has the scheme http or https, a host,
// and no invalid port. It also returns an error if the URL holds credentials or a fragment.
func ParseEndpoint(s string) (*url.URL, error) {
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
	case !values.ValidPort(u):
		return nil, fmt.Errorf("%q has a port that does not exist", s)
	case u.Fragment != "":
		return nil, fmt.Errorf("%q has a fragment, which is never sent", s)
	}
	return u, nil
}
