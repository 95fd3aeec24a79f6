package apierror

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The README's section about errors names every code and no other.
func TestReadmeListsCodes(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, ok := strings.Cut(string(text), "\n## Errors\n")
	part, _, end := strings.Cut(part, "\n## ")
	if !ok || !end {
		t.Fatal("README.md has no section of errors")
	}
	var listed, want []string
	for _, match := range regexp.MustCompile("`([a-z_]+:[a-z]+)`").FindAllStringSubmatch(part, -1) {
		listed = append(listed, match[1])
	}
	for _, code := range Codes() {
		want = append(want, code.String())
	}
	slices.Sort(listed)
	slices.Sort(want)
	if listed = slices.Compact(listed); !slices.Equal(listed, want) {
		t.Errorf("the README lists the codes\n%q, want\n%q", listed, want)
	}
}
