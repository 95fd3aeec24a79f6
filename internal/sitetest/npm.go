package sitetest

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/require"
)

// RequirePackages lets a test run only if npm has installed the packages of each directory.
func RequirePackages(tb testing.TB, directories ...string) {
	tb.Helper()
	for _, directory := range directories {
		_, err := os.Stat(directory + "/node_modules/.package-lock.json") // npm writes it last
		require.That(tb, "npm", fmt.Sprintf("the npm packages of %s (npm ci --ignore-scripts --prefix %[1]s)", directory), err)
	}
}

// BuildExample builds the page of an example as its header says, with further options of esbuild. It returns the directory of
// the page, which exists until the test ends.
func BuildExample(tb testing.TB, name string, options ...string) (directory string) {
	tb.Helper()
	RequirePackages(tb, "example/"+name)
	directory = tb.TempDir()
	arguments := append([]string{"run", "build", "--prefix", "example/" + name, "--", "--outdir=" + directory}, options...)
	build := exec.CommandContext(tb.Context(), require.Program(tb, "npm"), arguments...)
	if output, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("building the page of example/%s: %v: %s", name, err, output)
	}
	return directory
}
