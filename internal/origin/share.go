package origin

import (
	"maps"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

const allowOrigin = "Access-Control-Allow-Origin"

// IsPreflight reports whether r is a CORS preflight (Fetch Standard, § 3.3.2).
func IsPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// Share sets the response headers that let pages of allowed origins read the answer to r. It returns the origin whose
// pages may read the answer, or "" if it allows none.
//
// If other origins are allowed, Share removes the CORS fields that other directives have set. The operator may set some
// for every page of the site. A browser refuses an answer with two values of one field.
func (p *Policy) Share(header http.Header, r *http.Request) (shared string) {
	if p.sharing == nil {
		return ""
	}
	fields := make(justHeader)
	p.sharing.HandlerFunc(fields, r)
	maps.DeleteFunc(header, func(name string, _ []string) bool { return strings.HasPrefix(name, "Access-Control-") })
	for name, values := range fields {
		switch name {
		case "Vary":
			addMissing(header, name, values)
		case allowOrigin:
			shared = values[0] // cors has checked the first value of Origin, and copied all of them
			header.Set(name, shared)
		default:
			// Copy the values: all requests share those that cors sets, and other directives may edit those of a response.
			header[name] = append([]string(nil), values...)
		}
	}
	return shared
}

// IsShared reports whether browsers let a page of origin read an answer with this header. Share has returned origin.
func IsShared(header http.Header, origin string) bool {
	got := header[allowOrigin]
	return len(got) == 1 && (got[0] == origin || got[0] == "*") // * is enough, because the page may not send credentials
}

// addMissing adds the members of lists that the field does not have yet.
func addMissing(header http.Header, name string, lists []string) {
	for _, list := range lists {
		for member := range strings.SplitSeq(list, ",") {
			if member = strings.TrimSpace(member); !httpguts.HeaderValuesContainsToken(header[name], member) {
				header.Add(name, member)
			}
		}
	}
}

// justHeader is a ResponseWriter that collects headers and drops status and body.
type justHeader http.Header

func (h justHeader) Header() http.Header       { return http.Header(h) }
func (justHeader) WriteHeader(int)             {}
func (justHeader) Write(p []byte) (int, error) { return len(p), nil }
