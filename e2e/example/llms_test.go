package example

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// llms.txt has the form of llmstxt.org: a title, a summary as a quote, other text without headings, and sections with lists of
// links. Its links lead to files of this repository. It lists each page of the documentation and each folder of examples.
func TestLLMsTxtListsTheDocumentation(t *testing.T) {
	data, err := os.ReadFile("llms.txt")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if !regexp.MustCompile(`\A# caddy-illumichat\n\n(?:> .+\n)+\n`).MatchString(text) {
		t.Error("llms.txt does not begin with a title and a summary")
	}

	const main = "https://github.com/illumichat/caddy-illumichat/blob/main/"
	item := regexp.MustCompile(`^- \[[^\]]+\]\(` + regexp.QuoteMeta(main) + `([^)#]+)\): .+$`)
	_, sections, _ := strings.Cut(text, "\n## ")
	var listed []string
	for _, line := range strings.Split("## "+sections, "\n") {
		if line == "" || strings.HasPrefix(line, "## ") {
			continue
		}
		match := item.FindStringSubmatch(line)
		if match == nil {
			t.Errorf("this is no link with a description: %s", line)
			continue
		}
		listed = append(listed, match[1])
		if info, err := os.Stat(match[1]); err != nil || info.IsDir() {
			t.Errorf("%s is no file: %v", match[1], err)
		}
	}

	lists := strings.Join(listed, "\n") + "\n"
	for _, pattern := range []string{"*.md", "docs/*.md", "*/README.md"} {
		pages, err := filepath.Glob(pattern)
		if err != nil || len(pages) == 0 {
			t.Fatalf("there are no %s: %v", pattern, err)
		}
		for _, page := range pages {
			if page != "CODE_OF_CONDUCT.md" && !strings.Contains("\n"+lists, "\n"+page+"\n") {
				t.Errorf("llms.txt does not list %s", page)
			}
		}
	}
	examples, err := os.ReadDir("example")
	if err != nil {
		t.Fatal(err)
	}
	for _, example := range examples {
		if example.IsDir() && example.Name() != "screenshots" && !strings.Contains(lists, "example/"+example.Name()+"/") {
			t.Errorf("llms.txt lists nothing of example/%s", example.Name())
		}
	}
}
