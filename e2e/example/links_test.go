package example

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/illumichat/caddy-illumichat/internal/docstest"
)

// documents returns all pages in Markdown of the repository, and llms.txt if there is one.
func documents(t *testing.T) (pages []docstest.Page) {
	t.Helper()
	for _, file := range repositoryFiles(t) {
		if path.Ext(file) == ".md" || file == "llms.txt" {
			pages = append(pages, docstest.Read(t, file))
		}
	}
	for _, file := range []string{"README.md", "docs/errors.md", "client/README.md", "bench/README.md", "example/README.md", "SECURITY.md"} {
		if !slices.ContainsFunc(pages, func(p docstest.Page) bool { return p.File == file }) {
			t.Errorf("%s is not among the documents", file)
		}
	}
	return pages
}

var linkForms = []*regexp.Regexp{
	regexp.MustCompile(`\]\(<?([^)\s>]+)>?(?: "[^"]*")?\)`),
	regexp.MustCompile(`\b(?:src|srcset|href)="([^"]+)"`),
	regexp.MustCompile(`(?m)^ {0,3}\[[^\]]+\]: +<?([^\s>]+)>?`), // a definition that other links refer to
	regexp.MustCompile(`<(\w+://[^>\s]+)>`),
}

// links returns the targets of a page's links and pictures.
func links(page docstest.Page) (targets []string) {
	text := docstest.WithoutCode(page.Prose())
	for _, form := range linkForms {
		for _, match := range form.FindAllStringSubmatch(text, -1) {
			targets = append(targets, match[1])
		}
	}
	return targets
}

var (
	headline      = regexp.MustCompile(`(?m)^#{1,6} +(.*?)(?: +#+)? *$`)
	linkInHeading = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
	ownAnchor     = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
)

// anchors returns the anchors of a page, as GitHub makes them.
func anchors(page docstest.Page) (found []string) {
	prose := page.Prose()
	count := make(map[string]int)
	for _, match := range headline.FindAllStringSubmatch(prose, -1) {
		text := strings.NewReplacer("`", "", "*", "").Replace(linkInHeading.ReplaceAllString(match[1], "$1"))
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, text)
		repeated := count[anchor]
		count[anchor]++
		if repeated > 0 {
			anchor = fmt.Sprintf("%s-%d", anchor, repeated)
		}
		found = append(found, anchor)
	}
	for _, match := range ownAnchor.FindAllStringSubmatch(prose, -1) {
		found = append(found, match[1])
	}
	return found
}

// ours is the address of the repository's files.
var ours = regexp.MustCompile(`^https://(?:github\.com/illumichat/caddy-illumichat/(?:tree|blob)/main/|raw\.githubusercontent\.com/illumichat/caddy-illumichat/main/)`)

// Each link to a file of the repository leads to one, and to an anchor in it if the link has one. Other links are well-formed,
// and to HTTPS.
func TestLinksLeadSomewhere(t *testing.T) {
	total := 0
	for _, page := range documents(t) {
		for _, link := range links(page) {
			total++
			if err := checkLink(page, link); err != nil {
				t.Errorf("%s: the link %s: %v", page.File, link, err)
			}
		}
	}
	if total < 100 {
		t.Errorf("there are only %d links", total)
	}
}

func checkLink(page docstest.Page, link string) error {
	target, anchor, hasAnchor := strings.Cut(link, "#")
	switch {
	case ours.MatchString(target):
		target = ours.ReplaceAllString(target, "")
	case strings.Contains(link, ":"):
		return checkExternal(link)
	case strings.HasPrefix(link, "/"):
		return fmt.Errorf("it is absolute")
	case target == "":
		target = page.File
	default:
		target = path.Join(path.Dir(page.File), target)
	}
	info, err := os.Stat(target)
	if err != nil || !hasAnchor {
		return err
	}
	if info.IsDir() {
		target = path.Join(target, "README.md")
	}
	text, err := os.ReadFile(target)
	if err != nil {
		return err
	}
	if !slices.Contains(anchors(docstest.Page{File: target, Text: string(text)}), anchor) {
		return fmt.Errorf("%s has no such heading or anchor", target)
	}
	return nil
}

func checkExternal(link string) error {
	u, err := url.Parse(link)
	switch {
	case err != nil:
		return err
	case u.Scheme == "mailto" && strings.Contains(u.Opaque, "@"):
		return nil
	case u.Scheme == "http" && u.Hostname() == "localhost":
		return nil
	case u.Scheme != "https":
		return fmt.Errorf("it is not to HTTPS")
	case !strings.Contains(strings.Trim(u.Hostname(), "."), ".") || u.User != nil:
		return fmt.Errorf("it is to the host %q", u.Host)
	}
	return nil
}

func TestAnchors(t *testing.T) {
	page := docstest.Page{Text: "# The `store redis` block\n```sh\n# no heading\n```\n## Limits: who, when?\n## [A link](x.md) & *more*\n## Limits: who, when?\n## Größe — 2 MB\n<a id=\"own\"></a>\n"}
	want := []string{"the-store-redis-block", "limits-who-when", "a-link--more", "limits-who-when-1", "größe--2-mb", "own"}
	if got := anchors(page); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLinks(t *testing.T) {
	page := docstest.Page{File: "docs/errors.md", Text: "[a](x.md#y) ![b](b.png \"title\") `[no](no.md)` <https://example.com/> <img src=\"c.png\">\n\n[ref]: ../d.md\n\n```html\n<a href=\"no\">\n```\n"}
	want := []string{"x.md#y", "b.png", "c.png", "../d.md", "https://example.com/"}
	if got := links(page); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for link, ok := range map[string]bool{
		"errors.md": true, "#errors": true, "../README.md": true, "../example": true, "https://github.com/illumichat/caddy-illumichat/tree/main/example/react": true,
		"https://example.com/a?b#c": true, "http://localhost:8080": true, "mailto:a@example.com": true,
		"none.md": false, "#none": false, "../README.md#none": false, "/docs/errors.md": false, "http://example.com": false, "https://example": false,
		"https://github.com/illumichat/caddy-illumichat/blob/main/none.md": false, "ftp://example.com": false, "https://a b.example.com": false, "mailto:a": false,
	} {
		if err := checkLink(page, link); (err == nil) != ok {
			t.Errorf("%s: %v", link, err)
		}
	}
}
