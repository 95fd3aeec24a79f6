package origin

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/rs/cors"
	"golang.org/x/net/idna"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// preflightMaxAge is how long a browser may cache the answer to a preflight. Chrome caps it at this value.
const preflightMaxAge = 2 * time.Hour

var (
	errWildcard   = errors.New("wildcards are not supported; list each origin that may use the chat")
	errAnyOrigin  = errors.New("* would let any page of the web spend the token's quota; list the origins that may")
	errNullOrigin = errors.New("null is the origin of any page in a sandbox, and of files; it says nothing about whose page it is")
)

// Policy decides which pages may use the chat and read its answers. These are pages of the site itself, and pages of
// other origins that the operator allows.
type Policy struct {
	// protection checks the browser's Sec-Fetch-Site or, if that is missing, compares Origin with Host. A request with
	// neither field, such as one from curl or a server, passes.
	protection *http.CrossOriginProtection

	sharing *cors.Cors // nil if no other origin is allowed
}

// New returns the policy of a site that allows pages of the given origins, in addition to its own. It returns an error
// if one of them is not a page's origin.
func New(allowed []string) (*Policy, error) {
	p := &Policy{protection: http.NewCrossOriginProtection()}
	if len(allowed) == 0 {
		return p, nil // cors takes an empty list as all origins
	}
	var normal []string
	for _, configured := range allowed {
		origin, err := Parse(configured)
		if err != nil {
			return nil, err
		}
		if err := p.protection.AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
		normal = append(normal, origin)
	}
	p.sharing = cors.New(cors.Options{
		// Browsers serialize an origin in one way only. cors itself would ignore its letter case.
		AllowOriginFunc: func(origin string) bool { return slices.Contains(normal, origin) },
		// Methods that the chat does not support are listed too, so a page can read the error that refuses them.
		AllowedMethods: []string{
			http.MethodPost, http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete,
		},
		AllowedHeaders: []string{"*"}, // no header of the visitor goes upstream
		ExposedHeaders: []string{"*"},
		MaxAge:         int(preflightMaxAge.Seconds()),
	})
	return p, nil
}

// Parse returns the origin s as browsers serialize it (RFC 6454, § 6.2). It returns an error if s is "null", holds a
// "*", or is not a page's origin.
func Parse(s string) (string, error) {
	switch {
	case s == "*":
		return "", errAnyOrigin
	case strings.Contains(s, "*"):
		return "", fmt.Errorf("'%s': %w", values.Printable(s), errWildcard)
	}
	if s == "null" {
		return "", errNullOrigin
	}
	if values.HasPlaceholder(s) {
		return "", fmt.Errorf("'%s' is not an origin, and placeholders do not work here; write the origin, or {$NAME} in a Caddyfile, which Caddy replaces as it "+
			"reads the file", values.Printable(s))
	}
	if strings.Contains(s, ",") {
		return "", fmt.Errorf("'%s' is not an origin: it holds a comma; separate origins by spaces", values.Printable(s))
	}
	origin, err := parse(s)
	if errors.Is(err, errNoOrigin) {
		err = fmt.Errorf("%w%s", err, suggest(s))
	}
	return origin, err
}

var errNoOrigin = errors.New("not an origin; one is a scheme, a host and maybe a port, and nothing else")

// parse is Parse for a text without a wildcard.
func parse(s string) (string, error) {
	_, authority, _ := strings.Cut(s, "://")
	u, err := url.Parse(strings.ToLower(s))
	if err != nil || u.Scheme == "" || u.Hostname() == "" || !values.ValidPort(u) || strings.ContainsAny(authority, `/?#@\%${}`) {
		return "", fmt.Errorf("'%s' is %w", values.Printable(s), errNoOrigin)
	}
	switch u.Scheme {
	case "ftp", "file", "ws", "wss": // other schemes may be an app's
		return "", fmt.Errorf("'%s' is not a page's origin; one begins with https:// or http://", values.Printable(s))
	}
	host := u.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() {
		host = "[" + ip.String() + "]"
	} else if !isASCII(host) {
		if host, err = idna.Lookup.ToASCII(host); err != nil {
			return "", fmt.Errorf("'%s' is not an origin: its host is not a domain name", values.Printable(s))
		}
	}
	if port := strings.TrimLeft(u.Port(), "0"); port != "" && port != defaultPorts[u.Scheme] {
		host += ":" + port
	}
	return u.Scheme + "://" + host, nil
}

// suggest returns the end of an error about a text that is no origin: the origin that may be meant, or an example.
func suggest(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "https", s
	}
	host, _, _ := strings.Cut(rest, "/")
	meant := scheme + "://" + host
	if _, err := parse(meant); meant == s || err != nil || values.Printable(meant) != meant || !strings.Contains(host, ".") {
		return ", such as https://www.example.com"
	}
	return "; did you mean " + meant + "?"
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII })
}
