package site

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/origin"
	"github.com/illumichat/caddy-illumichat/internal/values"
)

// Options say how a site is checked.
type Options struct {
	Assistant string // "": the page names none
	Question  string
	Origin    string // of a page that should be allowed; "": none
	NoChat    bool   // send no chat, so that the check costs nothing
	Insecure  bool   // accept any certificate
	Admin     string // the address of Caddy's admin API; "": do not ask it
}

// normalize writes Origin and Admin as they are used. It returns an error for a value that cannot be used, or that may be a
// token, because a token is never sent.
func (o *Options) normalize() error {
	for _, option := range []struct{ name, value string }{
		{"assistant", o.Assistant}, {"question", o.Question}, {"origin", o.Origin}, {"admin", o.Admin},
	} {
		if err := values.CheckNoToken(option.value); err != nil {
			return fmt.Errorf("--%s: %w", option.name, err)
		}
	}
	if o.Question == "" && !o.NoChat {
		return errors.New("--question is empty; write a question, or --no-chat to send no chat")
	}
	if o.Origin != "" {
		parsed, err := origin.Parse(o.Origin)
		if err != nil {
			return fmt.Errorf("--origin: %w", err)
		}
		o.Origin = parsed
	}
	if o.Admin != "" {
		o.Admin = strings.TrimSuffix(strings.TrimPrefix(o.Admin, "http://"), "/")
		address, err := caddy.ParseNetworkAddress(o.Admin)
		if err != nil || address.PortRangeSize() > 1 || !address.IsUnixNetwork() && address.StartPort == 0 {
			return fmt.Errorf("--admin: '%s' is no address; write a host and a port, such as localhost:2019", values.Printable(o.Admin))
		}
	}
	return nil
}

// target is the URL of a chat.
type target struct {
	url    url.URL
	origin string // of the site's own pages
}

const exampleURL = "https://example.com/api/chat-proxy"

// parseTarget returns the target that a URL names. It returns an error if a page could not send a chat there.
func parseTarget(s string) (target, error) {
	if err := values.CheckNoToken(s); err != nil {
		return target{}, fmt.Errorf("the site's URL: %w", err)
	}
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "", !values.ValidPort(u):
		return target{}, fmt.Errorf("'%s' is no http or https URL; write the one that the page sends its chats to, such as %s", values.Printable(s), exampleURL)
	case u.User != nil:
		return target{}, fmt.Errorf("the site's URL has a user or a password, which no page can send; leave them out, as in %s", exampleURL)
	}
	own, err := origin.Parse(u.Scheme + "://" + u.Host)
	if err != nil {
		return target{}, fmt.Errorf("the site's URL: %w", err)
	}
	t := target{url: *u, origin: own}
	_, t.url.Host, _ = strings.Cut(own, "://") // in ASCII, as certificates and servers name it
	t.url.Fragment, t.url.RawFragment = "", ""
	if t.url.Path == "" {
		t.url.Path = "/"
	}
	return t, nil
}

// String returns the URL without its query, which may hold a secret.
func (t target) String() string {
	return t.url.Scheme + "://" + t.url.Host + t.url.EscapedPath()
}

func (t target) isSecure() bool { return t.url.Scheme == "https" }

// isLocal reports whether the host is a name or an address of this machine.
func (t target) isLocal() bool { return values.IsLoopback(t.url.Hostname()) }

// isLocalhost reports whether a name is localhost or below it. Browsers take these names for this machine without DNS
// (RFC 6761, § 6.3).
func isLocalhost(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// withQuery returns the URL with further parameters.
func (t target) withQuery(more string) string {
	u := t.url
	switch {
	case more == "":
	case u.RawQuery == "":
		u.RawQuery = more
	default:
		u.RawQuery += "&" + more
	}
	return u.String()
}
