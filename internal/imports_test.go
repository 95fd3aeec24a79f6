// Package internal holds only this test. It checks the boundaries between the packages of the module.
package internal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/illumichat/caddy-illumichat"

// walls lists the packages of this module that each package may import. A package that is not listed fails the test, so
// that a new package is a decision and not an accident. The root is ".".
var walls = map[string][]string{
	".": {
		"internal/apierror", "internal/buffer", "internal/cause", "internal/chat", "internal/doctor", "internal/doctor/config",
		"internal/doctor/site", "internal/limit", "internal/origin",
		"internal/recording", "internal/shutdown", "internal/sse", "internal/stdlog", "internal/telemetry", "internal/upstream",
		"internal/values", "internal/visitor", "internal/watchdog", "page", "store",
	},

	"internal/sse":       {},
	"internal/buffer":    {},
	"internal/apierror":  {},
	"internal/cause":     {},
	"internal/stdlog":    {"internal/values"},
	"internal/chat":      {"internal/apierror", "internal/cause", "internal/sse", "internal/values"},
	"internal/origin":    {"internal/apierror", "internal/values"},
	"internal/watchdog":  {"internal/apierror", "internal/cause"},
	"internal/visitor":   {"internal/apierror", "internal/cause", "internal/sse"},
	"internal/telemetry": {"internal/apierror"},
	"internal/limit":     {"internal/apierror", "internal/values", "store"},
	"internal/upstream":  {"internal/apierror", "internal/buffer", "internal/cause", "internal/stdlog", "internal/values"},
	"internal/recording": {"internal/apierror", "internal/sse", "internal/watchdog", "store"},
	"internal/shutdown":  {"internal/apierror"},
	"internal/values":    {},

	"internal/doctor":        {},
	"internal/doctor/config": {"internal/doctor", "internal/values"},
	"internal/doctor/site":   {"internal/cause", "internal/doctor", "internal/origin", "internal/sse", "internal/values"},

	"client": {},
	"page":   {"client", "internal/origin", "internal/values"},

	"store":            {"internal/values"},
	"store/redisstore": {"internal/cause", "internal/values", "store"},

	"cmd/caddy": {".", "sandbox", "store/redisstore"},
	"sandbox":   {},
	"bench":     {"internal/localhost"},

	"internal/docstest":      {},
	"internal/localhost":     {},
	"internal/require":       {},
	"internal/redistest":     {"internal/localhost", "internal/require"},
	"internal/sitetest":      {"internal/localhost", "internal/require", "internal/sse/ssetest", "sandbox", "sandbox/sandboxtest"},
	"internal/chat/chattest": {},
	"internal/sse/ssetest":   {},
	"sandbox/sandboxtest":    {"sandbox"},
	"store/storetest":        {"store"},
}

// testPackages are for tests only. Other packages do not import them, nor the package testing.
var testPackages = []string{
	"internal/docstest", "internal/localhost", "internal/require", "internal/redistest", "internal/sitetest", "internal/chat/chattest", "internal/sse/ssetest",
	"sandbox/sandboxtest", "store/storetest",
}

// standardOnly are the packages that import nothing but the standard library.
var standardOnly = []string{"client", "internal/buffer", "internal/cause", "internal/sse"}

// withoutCaddy are the packages that do not import Caddy.
var withoutCaddy = []string{"internal/apierror", "internal/chat", "internal/origin", "internal/recording", "internal/watchdog"}

// tokenHome is the only package that writes the Authorization header. Tests and test packages write it to the sandbox.
const tokenHome = "internal/upstream"

// simulators stand in for the upstream, so they read the Authorization header and send it back.
var simulators = []string{"sandbox", "bench"}

// exports are the names that the root package exports.
var exports = []string{"Handler", "Limit", "Resume", "Retry"}

// file is a Go file of the module.
type file struct {
	dir, name string
	syntax    *ast.File
}

func (f file) String() string { return path.Join(f.dir, f.name) }

func (f file) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// files returns the Go files of the module that are not tests.
func files(t *testing.T) []file {
	t.Helper()
	return slices.DeleteFunc(allFiles(t), file.isTest)
}

// allFiles parses all Go files of the module. The folder tools is a module of its own.
func allFiles(t *testing.T) []file {
	t.Helper()
	var all []file
	err := filepath.WalkDir("..", func(name string, entry fs.DirEntry, err error) error {
		switch base := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir():
			if base != ".." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules" || name == filepath.Join("..", "tools")) {
				return filepath.SkipDir
			}
			return nil
		case !strings.HasSuffix(base, ".go"):
			return nil
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel("..", filepath.Dir(name))
		all = append(all, file{filepath.ToSlash(dir), entry.Name(), syntax})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// imports returns the import paths of a file.
func (f file) imports() []string {
	var paths []string
	for _, spec := range f.syntax.Imports {
		unquoted, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser has accepted it
		}
		paths = append(paths, unquoted)
	}
	return paths
}

// ours returns the directory of an import path of this module.
func ours(importPath string) (dir string, ok bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// The root registers the module with Caddy. Only a build of Caddy imports it, and the suites do as such a build does.
func TestRootIsImportedForItsRegistration(t *testing.T) {
	for _, f := range allFiles(t) {
		for _, spec := range f.syntax.Imports {
			if spec.Path.Value != strconv.Quote(module) {
				continue
			}
			suite := f.isTest() && (f.dir == "e2e" || strings.HasPrefix(f.dir, "e2e/"))
			if f.dir != "cmd/caddy" && !suite {
				t.Errorf("%s imports the root", f)
			}
			if spec.Name == nil || spec.Name.Name != "_" {
				t.Errorf("%s uses the root for more than its registration", f)
			}
		}
	}
}

// isStandard reports whether an import path is one of the standard library: only others begin with a host name.
func isStandard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

func TestImports(t *testing.T) {
	found := make(map[string]bool)
	for _, f := range files(t) {
		allowed, listed := walls[f.dir]
		if !found[f.dir] && !listed {
			t.Errorf("package %s is not in the list of walls", f.dir)
		}
		found[f.dir] = true
		for _, imported := range f.imports() {
			dir, own := ours(imported)
			switch {
			case own && listed && !slices.Contains(allowed, dir):
				t.Errorf("%s imports %s, but package %s may import only %q", f, dir, f.dir, allowed)
			case !isStandard(imported) && slices.Contains(standardOnly, f.dir):
				t.Errorf("%s imports %s, but package %s may import only the standard library", f, imported, f.dir)
			case strings.HasPrefix(imported, "github.com/caddyserver/") && slices.Contains(withoutCaddy, f.dir):
				t.Errorf("%s imports %s, but package %s may not import Caddy", f, imported, f.dir)
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(walls)) {
		if !found[dir] {
			t.Errorf("package %s is in the list of walls, but does not exist", dir)
		}
	}
}

func TestTestPackagesAreForTests(t *testing.T) {
	for _, f := range files(t) {
		if slices.Contains(testPackages, f.dir) {
			continue
		}
		for _, imported := range f.imports() {
			if imported == "testing" || strings.HasPrefix(imported, "testing/") {
				t.Errorf("%s imports %s and is no test", f, imported)
			}
			dir, own := ours(imported)
			if own && slices.Contains(testPackages, dir) && !(f.dir == "bench" && dir == "internal/localhost") {
				t.Errorf("%s imports %s, which is for tests", f, dir)
			}
		}
	}
}

// sitetest drives a real Caddy. Packages below the root are tested without one, so their tests do not import it.
func TestStationsAreTestedAlone(t *testing.T) {
	for _, f := range allFiles(t) {
		if !f.isTest() || !strings.HasPrefix(f.dir, "internal/") {
			continue
		}
		for _, imported := range f.imports() {
			if dir, own := ours(imported); own && dir == "internal/sitetest" {
				t.Errorf("%s imports %s", f, dir)
			}
		}
	}
}

// Only one package can put the token into a request.
func TestTokenHasOneHome(t *testing.T) {
	seen := false
	for _, f := range files(t) {
		if slices.Contains(simulators, f.dir) || slices.Contains(testPackages, f.dir) {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			value, _ := strconv.Unquote(literal.Value)
			if value != "Authorization" && !strings.HasPrefix(value, "Bearer") {
				return true
			}
			if seen = true; f.dir != tokenHome {
				t.Errorf("%s has the literal %s, which belongs in package %s", f, literal.Value, tokenHome)
			}
			return true
		})
	}
	if !seen {
		t.Error("no package writes the Authorization header")
	}
}

func TestRootExports(t *testing.T) {
	var got []string
	for _, f := range files(t) {
		if f.dir != "." {
			continue
		}
		for _, decl := range f.syntax.Decls {
			got = append(got, exportedNames(decl)...)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, exports) {
		t.Errorf("the root package exports %q, want %q", got, exports)
	}
}

// exportedNames returns the exported names that a declaration adds to its package. Methods add none.
func exportedNames(decl ast.Decl) []string {
	var names []string
	add := func(name *ast.Ident) {
		if name.IsExported() {
			names = append(names, name.Name)
		}
	}
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			add(d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				add(s.Name)
			case *ast.ValueSpec:
				for _, name := range s.Names {
					add(name)
				}
			}
		}
	}
	return names
}

// The page on the architecture names every package but the root, and no other.
func TestArchitectureNamesPackages(t *testing.T) {
	text, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	named := make(map[string]bool)
	for _, match := range regexp.MustCompile("`((?:internal|store|sandbox|cmd)/[a-z/]+|[a-z]+)`").FindAllStringSubmatch(string(text), -1) {
		named[match[1]] = true
	}
	for dir := range walls {
		if dir != "." && !named[dir] {
			t.Errorf("docs/architecture.md does not name %s", dir)
		}
		delete(named, dir)
	}
	for name := range named {
		if strings.Contains(name, "/") {
			t.Errorf("docs/architecture.md names %s, which is no package", name)
		}
	}
}
