package sandbox_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

// The README's table of commands is the one in the code, in its order.
func TestReadmeListsCommands(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for line := range strings.Lines(string(readme)) {
		if strings.HasPrefix(line, "| `/") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	for _, c := range sandbox.Commands() {
		want = append(want, "| `"+c.Usage()+"` | "+c.Does+" |")
	}
	if !slices.Equal(got, want) {
		t.Errorf("README.md has the rows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
