package site

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Machines rely on the names of the checks, so the package's documentation has all of them and no other.
func TestChecksAreDocumented(t *testing.T) {
	doc, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	checks, err := parser.ParseFile(token.NewFileSet(), "checks.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var documented, used []string
	for line := range strings.Lines(doc.Doc.Text()) {
		if item, ok := strings.CutPrefix(line, "\t"); ok {
			documented = append(documented, strings.Fields(item)[0])
		}
	}
	ast.Inspect(checks, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok {
			name, _ := strconv.Unquote(literal.Value)
			used = append(used, name)
		}
		return true
	})
	if !slices.Equal(used, documented) {
		t.Errorf("the checks are\n%q, but these are documented:\n%q", used, documented)
	}
}
