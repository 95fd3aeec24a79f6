package example

import (
	"regexp"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/docstest"
)

// The README is a front page: details are in docs/.
func TestReadmeIsShort(t *testing.T) {
	const most = 10_000
	if n := len(docstest.Read(t, "README.md").Text); n > most {
		t.Errorf("README.md has %d bytes, want at most %d", n, most)
	}
}

// docs/README.md is the index, so it links each other page.
func TestIndexLinksEachPage(t *testing.T) {
	index := docstest.Read(t, "docs/README.md")
	for _, page := range docstest.Glob(t, "docs/*.md") {
		name := strings.TrimPrefix(page.File, "docs/")
		if name != "README.md" && !strings.Contains(index.Text, "]("+name+")") && !strings.Contains(index.Text, "]("+name+"#") {
			t.Errorf("docs/README.md does not link %s", name)
		}
	}
}

// Blocks that users need are there. That they work is tested in TestBlocks.
func TestDocsHaveBlocks(t *testing.T) {
	for _, language := range []string{"caddyfile", "json", "js", "jsx", "html", "dockerfile", "ini", "sh", "console"} {
		if len(docstest.Blocks(t, language)) == 0 {
			t.Errorf("no page has a block in the language %s", language)
		}
	}
	for _, handler := range []string{"illumichat", "illumichat_page"} {
		found := false
		for _, block := range docstest.Blocks(t, "json") {
			found = found || strings.Contains(block.Text, `"handler": "`+handler+`"`)
		}
		if !found {
			t.Errorf("no page has the JSON of %s", handler)
		}
	}
}

// odd matches words that readers stumble over, with what to write instead. Code may have them.
var odd = map[*regexp.Regexp]string{
	regexp.MustCompile(`(?i)\b(?:(?:a|each|every|one|first|last|further|another) try|(?:all|two|three|further|several) tries)\b`): "attempt",
	regexp.MustCompile(`(?i)\b(?:is|are|be|been|was|were) told\b`):                                                                "gets, logs, reports",
	regexp.MustCompile(`(?i)\bdear\b`):                    "expensive",
	regexp.MustCompile(`(?i)\bwho(?:m|so)?ever\b`):        "the visitor, a client that",
	regexp.MustCompile(`(?i)\blets? in\b`):                "allow",
	regexp.MustCompile(`(?i)\bbeside\b`):                  "next to",
	regexp.MustCompile(`(?i)\bthe head\b`):                "the response headers",
	regexp.MustCompile(`(?i)\b(?:that|those) of which\b`): "a clause with a subject",
}

// The documentation uses the words of the field.
func TestDocsUsePlainWords(t *testing.T) {
	pages := docstest.Pages(t)
	for _, file := range []string{"SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"} {
		pages = append(pages, docstest.Read(t, file))
	}
	for _, page := range pages {
		for i, line := range strings.Split(docstest.WithoutCode(page.Prose()), "\n") {
			for pattern, instead := range odd {
				if found := pattern.FindString(line); found != "" {
					t.Errorf("%s:%d: %q is not plain English here; write, for example: %s", page.File, i+1, found, instead)
				}
			}
		}
	}
}
