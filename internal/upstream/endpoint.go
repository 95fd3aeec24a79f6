package upstream

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// DefaultEndpoint is the chat API's URL.
const DefaultEndpoint = "https://beta.illumichat.com/api/chat"

// Endpoint is where the chat API is.
type Endpoint struct {
	URL    *url.URL
	Public string // as anybody may see it
}

// ResolveEndpoint returns the endpoint that is configured, or the default where that comes out empty.
func ResolveEndpoint(configured string) (*Endpoint, error) {
	u, err := resolveURL(configured)
	if err != nil {
		return nil, err
	}
	return &Endpoint{URL: u, Public: publicURL(u, configured)}, nil
}

// publicURL is an endpoint as anybody may see it. A query could hold a key, and so could what a placeholder stands
// for, but not in the host's name.
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
	// Within a URL, an empty placeholder is a mistake.
	if value, err = values.Expand(configured); err != nil {
		return nil, err
	}
	return ParseEndpoint(value)
}

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
