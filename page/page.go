// Package page provides http.handlers.illumichat_page, a Caddy handler that serves a chat page and the browser modules that
// the page is made of. It serves them from the binary. The page talks to the site's illumichat handler, which may be on
// another site.
//
// It does not serve a site's own files: requests for other paths go to the next handler.
package page

import (
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// defaultChat is the chat's path if none is configured. The examples use it, too.
const defaultChat = "/api/chat-proxy"

// off, as the value of csp, leaves the policy out.
const off = "off"

// Handler serves a page on which visitors chat with an assistant through the `illumichat` handler. Nothing else
// needs to be installed: the page and its scripts are in the binary.
//
// Other pages can import modules from the page's path: `illumichat.js`, a client for the chat, `element.js`, which defines
// the element `<illumichat-chat>`, `markdown.js` and `ai-sdk.js`.
//
// The page has a strict Content-Security-Policy. The URLs of its files are relative, so it works behind a proxy that strips a prefix.
// Behind such a proxy, set `chat` to the path that the browser requests, including the prefix.
type Handler struct {
	// The page's path, such as `/chat`. The page is then at `/chat/`, with its files below it, and `/chat` redirects there. Other
	// requests go to the next handler. Wildcards and placeholders are errors. Default: none. Then the page answers each path that
	// ends with a slash, its files are next to it, and a path without a dot in its last segment redirects to itself with a slash.
	// So without a path, the route must match only the page's paths.
	Path string `json:"path,omitempty"`

	// The URL of the `illumichat` handler as a browser requests it: a path, or a whole URL if it is on another origin. A handler on
	// another origin must list the page's origin in `allow_origins`. Default: `/api/chat-proxy`.
	Chat string `json:"chat,omitempty"`

	// The assistant to ask: an id or alias that the chat allows. Default: the chat's only assistant, or its default.
	Assistant string `json:"assistant,omitempty"`

	// The page's title and heading. A placeholder or a control character is an error, as in all texts. Default: words for "Chat"
	// and "Assistant" in the page's language.
	Title string `json:"title,omitempty"`

	// The text that the page shows before the first question. Default: a sentence in the page's language.
	Greeting string `json:"greeting,omitempty"`

	// Questions that the page suggests. A visitor asks one with a click. Default: none.
	Suggestions []string `json:"suggestions,omitempty"`

	// The language of the page, as a BCP 47 tag such as `de` or `pt-BR`. Default: `en`.
	Lang string `json:"lang,omitempty"`

	// The path of a CSS file that changes the page's look, with custom properties such as `--illumichat-accent`. The file is read
	// when the config loads. It must be UTF-8 and at most 1 MiB. A relative path is relative to Caddy's working directory. Default:
	// none.
	Theme string `json:"theme,omitempty"`

	// The page's Content-Security-Policy. The only value is `off`, which sends none. Default: a policy that allows only what the page
	// needs.
	CSP string `json:"csp,omitempty"`

	site   *site
	server *fileserver.FileServer
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.illumichat_page",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision checks the config, reads the theme and makes the page.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.setDefaults()
	if err := h.check(); err != nil {
		return err
	}
	var err error
	if h.site, err = h.newSite(); err != nil {
		return err
	}
	return h.provisionServer(ctx)
}

func (h *Handler) setDefaults() {
	if h.Chat == "" {
		h.Chat = defaultChat
	}
	if h.Lang == "" {
		h.Lang = defaultLang
	}
}

// provisionServer lets Caddy's file server serve the site's files. The file systems of a config end with it, so there is
// nothing to clean up; and requests may still be running when a handler is cleaned up.
func (h *Handler) provisionServer(ctx caddy.Context) error {
	name := fmt.Sprintf("illumichat_page %p", h) // unique within the config
	ctx.FileSystems().Register(name, h.site.files)
	h.server = &fileserver.FileServer{
		FileSystem:    name,
		Root:          ".",
		IndexNames:    []string{},
		CanonicalURIs: new(bool), // it would redirect by the file's name
	}
	return h.server.Provision(ctx)
}

// ServeHTTP serves the page or one of its files. It passes each other request on.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	original := originalURL(r)
	name, asked := h.locate(r.URL.Path, original.EscapedPath())
	switch {
	case asked == elsewhere:
		return passOn(w, r, next)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		return caddyhttp.Error(http.StatusMethodNotAllowed, nil)
	case asked == folder:
		redirect(w, original)
		return nil
	}
	return h.serve(w, r, name, next)
}

// passOn passes a request to the next handler. If there is none, Caddy would answer it with an empty 200.
func passOn(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if err := next.ServeHTTP(w, r); err != nil {
		return err
	}
	if unhandled, _ := caddyhttp.GetVar(r.Context(), "unhandled").(bool); unhandled {
		caddyhttp.SetVar(r.Context(), "unhandled", false) // for the access log
		return caddyhttp.Error(http.StatusNotFound, nil)
	}
	return nil
}

// serve serves a file. Caddy's file server handles conditional requests and ranges.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, name string, next caddyhttp.Handler) error {
	f, ok := h.site.files[name]
	if !ok { // of another version; not even the next handler has it
		return caddyhttp.Error(http.StatusNotFound, nil)
	}
	f.setHeader(w.Header())
	if name == pageName {
		h.site.setPageHeader(w.Header())
	}
	inner := *r
	url := *r.URL
	url.Path, url.RawPath = "/"+name, ""
	inner.URL = &url
	return h.server.ServeHTTP(w, &inner, next)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
