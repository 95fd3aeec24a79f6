package page

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// This file decides which file a request asks for.

// target is what a request asks for.
type target int

const (
	elsewhere target = iota // not the page's; the next handler may have it
	folder                  // the page, without the slash at the end of its path
	ownedFile               // the page, or a file of it
)

// assets is the folder of the files whose URLs hold a hash of their content.
const assets = "assets/"

// hashed matches the name of a file below assets, of any version.
var hashed = regexp.MustCompile(`^assets/[0-9a-f]{16}/`)

// locate returns what a request asks for, and the name if it is a file. path is the request's path as other handlers have left
// it. original is the visitor's, escaped: a browser takes an escaped slash for a part of a name.
func (h *Handler) locate(path, original string) (name string, asked target) {
	rest, ok := h.below(path)
	if !ok {
		return "", elsewhere
	}
	name = strings.TrimPrefix(rest, "/")
	isFolder := name == "" || h.Path == "" && !strings.ContainsAny(name, "./")
	switch {
	case isFolder && original != "" && !strings.HasSuffix(original, "/"):
		return "", folder
	case isFolder:
		return pageName, ownedFile
	case hashed.MatchString(name) || h.site.entries[name]:
		return name, ownedFile
	}
	return "", elsewhere
}

// below returns what follows the page's path in path: nothing, or a slash and maybe a name. It returns false if path is not the
// page's path or below it. Like Caddy's path matcher, it ignores the letter case.
func (h *Handler) below(path string) (rest string, ok bool) {
	if h.Path == "" {
		return "/" + lastName(path), true
	}
	base := strings.TrimSuffix(h.Path, "/")
	if len(path) < len(base) || !strings.EqualFold(path[:len(base)], base) {
		return "", false
	}
	rest = path[len(base):]
	return rest, rest == "" || rest[0] == '/'
}

// lastName returns the last segment of path, or all that follows the folder of the page if that is a file below assets.
func lastName(path string) string {
	if i := strings.LastIndex(path, "/"+assets); i >= 0 && hashed.MatchString(path[i+1:]) {
		return path[i+1:]
	}
	return path[strings.LastIndexByte(path, '/')+1:]
}

// originalURL returns the URL of a request before other handlers have rewritten it.
func originalURL(r *http.Request) *url.URL {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original.URL
	}
	return r.URL
}

// redirect sends the visitor from the page's path to the same path with a slash. The location is relative, because a proxy in
// front may have stripped a prefix. It begins with "./", so it never leads to another host.
func redirect(w http.ResponseWriter, original *url.URL) {
	path := original.EscapedPath()
	location := "./" + path[strings.LastIndexByte(path, '/')+1:] + "/"
	if original.RawQuery != "" {
		location += "?" + original.RawQuery
	}
	w.Header().Set("Location", location)
	w.Header().Set("Cache-Control", "no-cache") // the page may move
	w.WriteHeader(http.StatusPermanentRedirect)
}
