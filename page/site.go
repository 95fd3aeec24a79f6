package page

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
)

// pageName is the name of the page among the files.
const pageName = "index.html"

//go:embed site
var own embed.FS

// layout is the page. It has no script or style of its own, because its policy forbids both.
var layout = template.Must(template.ParseFS(own, "site/index.html"))

// site is what a handler serves.
type site struct {
	files   files
	entries map[string]bool // the files that other pages ask for by name
	policy  string          // the page's Content-Security-Policy; "" for none
}

// content holds the texts and the URLs of the page. URLs are relative to the page.
type content struct {
	Lang, Dir, Title, NoScript         string
	Chat, Assistant, Heading, Greeting string
	Suggestions                        string   // one in each line
	Styles                             []string // the URLs of style sheets
	Icon, Script                       string
	Preloads                           []string // the modules that the script imports
}

// newSite makes the page and the files next to it.
func (h *Handler) newSite() (*site, error) {
	s := &site{files: make(files), entries: make(map[string]bool)}
	modules := embedded()
	modules.addTo(s.files)
	for _, name := range modules.entries() {
		s.entries[name] = true
	}
	page, err := h.newContent(s.files, modules)
	if err != nil {
		return nil, err
	}
	if h.CSP != off {
		if s.policy, err = h.newPolicy(); err != nil {
			return nil, err
		}
	}
	var html bytes.Buffer
	if err := layout.Execute(&html, page); err != nil {
		return nil, fmt.Errorf("making the page: %w", err)
	}
	// A browser keeps the policy of a page whose ETag is the same, so the ETag covers the policy.
	s.files.add(pageName, revalidate, html.Bytes(), s.policy)
	return s, nil
}

// newContent returns the content of the page. It adds the style sheets and the icon to the files.
func (h *Handler) newContent(f files, modules *modules) (*content, error) {
	lang, err := parseLang(h.Lang)
	if err != nil {
		return nil, err
	}
	words := wordsOf(lang)
	c := &content{
		Lang: lang.String(), Dir: direction(lang), Title: words.title, NoScript: words.noScript,
		Chat: h.Chat, Assistant: h.Assistant, Heading: h.Title, Greeting: h.Greeting,
		Suggestions: strings.Join(h.Suggestions, "\n"),
		Icon:        f.addHashed("icon.svg", ownFile("icon.svg")),
		Styles:      []string{f.addHashed("page.css", ownFile("page.css"))},
		Script:      modules.folder + elementModule,
	}
	if h.Title != "" {
		c.Title = h.Title
	}
	if h.Theme != "" {
		theme, err := readTheme(h.Theme)
		if err != nil {
			return nil, err
		}
		c.Styles = append(c.Styles, f.addHashed("theme.css", theme))
	}
	for _, name := range slices.Concat(modules.ofElement, modules.wordsOf(lang)) {
		c.Preloads = append(c.Preloads, modules.folder+name)
	}
	return c, nil
}

// ownFile returns a file of this package.
func ownFile(name string) []byte {
	content, err := own.ReadFile("site/" + name)
	if err != nil {
		panic(err) // it is in the binary
	}
	return content
}

// setPageHeader sets the header fields that only the page has. A policy that the operator has set for the whole site stays, and
// browsers enforce both.
func (s *site) setPageHeader(header http.Header) {
	if s.policy != "" {
		header.Add("Content-Security-Policy", s.policy)
	}
	if header.Get("Referrer-Policy") == "" {
		header.Set("Referrer-Policy", "same-origin")
	}
}

// newPolicy returns a Content-Security-Policy that allows what the page needs and nothing else.
func (h *Handler) newPolicy() (string, error) {
	chat, err := originOf(h.Chat)
	if err != nil {
		return "", err
	}
	if chat == "" {
		chat = "'self'"
	}
	policy := "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
	if h.Theme != "" { // which may bring a font of the site
		policy += "font-src 'self'; "
	}
	return policy + "connect-src " + chat + "; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; " +
		"require-trusted-types-for 'script'; trusted-types 'none'", nil
}
