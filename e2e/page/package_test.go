package page

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/docstest"
	"github.com/illumichat/caddy-illumichat/internal/require"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// packageDir is the directory of the npm package for pages.
const packageDir = "client"

// The package's own tests pass, which Node's test runner runs. Some of them start a Caddy.
func TestPackageInNode(t *testing.T) {
	requirePackages(t, packageDir)
	files, err := filepath.Glob(packageDir + "/test/*.test.mjs")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no tests, %v", err)
	}
	caddy := filepath.Join(t.TempDir(), "caddy")
	run(t, "", "go", "build", "-o", caddy, "./cmd/caddy")
	tests := exec.CommandContext(t.Context(), newNode(t), append([]string{"--test", "--test-reporter=tap", "--test-concurrency=6", "--test-timeout=300000"}, files...)...)
	tests.Env = append(os.Environ(), "ILLUMICHAT_CADDY="+caddy)
	output, err := tests.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, failures(string(output)))
	}
	for _, line := range []string{`\n# pass [1-9]`, `\n# skipped 0\n`, `\n# todo 0\n`} {
		if !regexp.MustCompile(line).Match(output) {
			t.Errorf("the output has no line %q:\n%s", line, output[max(0, len(output)-2000):])
		}
	}
}

var passed = regexp.MustCompile(`(?m)^# Subtest: .*\nok \d+ .*\n(?:  .*\n)*`)

// failures returns what a TAP report says about tests that do not pass.
func failures(report string) string { return passed.ReplaceAllString(report, "") }

// run runs a command in a directory, and returns what it prints. The test ends if the command fails.
func run(tb testing.TB, dir, program string, args ...string) string {
	tb.Helper()
	command := exec.CommandContext(tb.Context(), program, args...)
	command.Dir = dir
	output, err := command.Output()
	if err != nil {
		var stderr []byte
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			stderr = exit.Stderr
		}
		tb.Fatalf("%s %s: %v\n%s%s", program, strings.Join(args, " "), err, output, stderr)
	}
	return string(output)
}

// tool returns the path of a program of the package's npm packages.
func tool(tb testing.TB, name string) string {
	tb.Helper()
	file, err := filepath.Abs(packageDir + "/node_modules/.bin/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return file
}

// pack makes the package as npm publishes it, from a copy of its directory, and returns the path of its file.
func pack(t *testing.T) string {
	t.Helper()
	requirePackages(t, packageDir)
	require.Program(t, "npm")
	top := t.TempDir()
	dir := filepath.Join(top, packageDir)
	err := fs.WalkDir(os.DirFS(packageDir), ".", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case file == "node_modules" || file == "types": // npm makes the declarations
			return fs.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(dir, file), 0o755)
		case file == "LICENSE" || path.Ext(file) == ".tgz": // made by an npm pack outside of this test
			return nil
		}
		content, err := os.ReadFile(filepath.Join(packageDir, file))
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, file), content, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	license, err := os.ReadFile("LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	sitetest.WriteFile(t, filepath.Join(top, "LICENSE"), string(license))
	link(t, packageDir+"/node_modules", filepath.Join(dir, "node_modules"))

	var packed []struct{ Filename string }
	printed := run(t, dir, "npm", "pack", "--json", "--foreground-scripts=false")
	if err := json.Unmarshal([]byte(printed), &packed); err != nil || len(packed) != 1 {
		t.Fatalf("npm pack prints %s", printed)
	}
	return filepath.Join(dir, packed[0].Filename)
}

// link makes a symbolic link to a path below the top of the repository.
func link(tb testing.TB, from, to string) {
	tb.Helper()
	target, err := filepath.Abs(from)
	if err == nil {
		err = os.Symlink(target, to)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// filesOf returns the names of the files in a package, without the directory that all of them are in.
func filesOf(tb testing.TB, tarball string) (names []string) {
	tb.Helper()
	content, err := os.ReadFile(tarball)
	if err != nil {
		tb.Fatal(err)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		tb.Fatal(err)
	}
	for files := tar.NewReader(unzipped); ; {
		file, err := files.Next()
		if err == io.EOF {
			slices.Sort(names)
			return names
		}
		if err != nil {
			tb.Fatal(err)
		}
		names = append(names, strings.TrimPrefix(file.Name, "package/"))
	}
}

// The package that npm publishes has its modules with their declarations, a README and the license, and nothing else. It
// has no fault that publint or Are The Types Wrong know of.
func TestPackageOnNPM(t *testing.T) {
	tarball := pack(t)
	t.Run("files", func(t *testing.T) {
		want := []string{"LICENSE", "README.md", "package.json", "types/element/globals.d.ts"}
		for _, pattern := range []string{"*.js", "ai-sdk/*.js", "element/*.js", "element/lang/*.js", "lib/*.js", "markdown/*.js"} {
			found, err := filepath.Glob(packageDir + "/" + pattern)
			if err != nil || len(found) == 0 {
				t.Fatalf("there is no %s, %v", pattern, err)
			}
			for _, file := range found {
				module := strings.TrimPrefix(file, packageDir+"/")
				want = append(want, module, "types/"+strings.TrimSuffix(module, ".js")+".d.ts")
			}
		}
		slices.Sort(want)
		if got := filesOf(t, tarball); !slices.Equal(got, want) {
			t.Errorf("the package has the files\n%q, want\n%q", got, want)
		}
	})
	t.Run("publint", func(t *testing.T) {
		t.Parallel()
		printed := run(t, "", newNode(t), tool(t, "publint"), tarball, "--strict")
		if !strings.Contains(printed, "All good!") {
			t.Error(printed)
		}
	})
	t.Run("types are found", func(t *testing.T) {
		t.Parallel()
		// The package has only ES modules, so require must not find it.
		var found struct {
			Analysis struct {
				Entrypoints map[string]struct {
					Resolutions map[string]struct{ Resolution *struct{ IsTypeScript bool } }
				}
			}
			Problems map[string]any
		}
		printed := run(t, "", newNode(t), tool(t, "attw"), tarball, "--profile", "esm-only", "--format", "json")
		if err := json.Unmarshal([]byte(printed), &found); err != nil {
			t.Fatalf("%v: %s", err, printed)
		}
		for _, entry := range []string{".", "./ai-sdk", "./element", "./markdown"} {
			for _, kind := range []string{"node16-esm", "bundler"} {
				if types := found.Analysis.Entrypoints[entry].Resolutions[kind].Resolution; types == nil || !types.IsTypeScript {
					t.Errorf("%s finds no types of %s", kind, entry)
				}
			}
		}
	})
}

// Strict projects in TypeScript that do not read JavaScript compile with the package's types, and with the code in its README
// and in the blocks of the documentation in "jsx".
// The AI SDK is needed only by those who use its transport.
func TestPackageTypes(t *testing.T) {
	tarball := pack(t)
	readme := make(map[string]string)
	for language, extension := range map[string]string{"js": "ts", "jsx": "tsx"} {
		for i, code := range packageReadme(t, language) {
			readme[fmt.Sprintf("readme%d.%s", i, extension)] = code
		}
	}
	for i, block := range docstest.Blocks(t, "jsx") {
		code := block.Text
		if !strings.Contains(code, "import ") { // an excerpt, whose names are used elsewhere
			code = "import { useChat } from '@ai-sdk/react';\nimport { IllumichatTransport } from 'caddy-illumichat/ai-sdk';\n" +
				regexp.MustCompile(`(?m)^const `).ReplaceAllString(code, "export const ")
		}
		readme[fmt.Sprintf("docs%d.tsx", i)] = code
	}
	for name, project := range map[string]struct {
		module string // and how modules are found
		sdk    string // the package of the AI SDK; empty: it is not installed
		readme bool   // whose code is for the newest SDK
	}{
		"bundler, AI SDK 7":  {module: "esnext bundler", sdk: "ai", readme: true},
		"nodenext, AI SDK 6": {module: "nodenext nodenext", sdk: "ai6"},
		"bundler, no SDK":    {module: "esnext bundler"},
		"nodenext, no SDK":   {module: "nodenext nodenext"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			files := []string{"tsconfig.json", "package.json", "chat.ts", "element.ts"}
			if project.sdk != "" {
				files = append(files, "transport.ts")
			}
			for _, file := range files {
				content, err := os.ReadFile("e2e/page/testdata/typescript/" + file)
				if err != nil {
					t.Fatal(err)
				}
				sitetest.WriteFile(t, filepath.Join(dir, file), string(content))
			}
			run(t, dir, "npm", "install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", tarball)
			if installed, err := filepath.Glob(dir + "/node_modules/[^.]*"); err != nil || len(installed) != 1 {
				t.Errorf("npm has installed %q, %v, with the package", installed, err)
			}
			module, resolution, _ := strings.Cut(project.module, " ")
			options := []string{"--module", module, "--moduleResolution", resolution}
			if project.sdk == "" {
				// The SDK's own types do not compile with this.
				options = append(options, "--exactOptionalPropertyTypes")
			} else {
				link(t, packageDir+"/node_modules/"+project.sdk, dir+"/node_modules/ai")
				link(t, packageDir+"/node_modules/@types", dir+"/node_modules/@types")
				options = append(options, "--types", "node,json-schema")
			}
			if project.readme {
				for _, name := range []string{"@ai-sdk", "react"} {
					link(t, packageDir+"/node_modules/"+name, dir+"/node_modules/"+name)
				}
				for name, code := range readme {
					sitetest.WriteFile(t, filepath.Join(dir, name), code)
				}
			}
			run(t, dir, newNode(t), append([]string{tool(t, "tsc")}, options...)...)
		})
	}
}

// The files that a page loads are small.
func TestPackageIsSmall(t *testing.T) {
	requirePackages(t, packageDir)
	entries := []string{packageDir + "/illumichat.js", packageDir + "/ai-sdk.js"}
	bundle := func(args ...string) (out string) {
		out = t.TempDir()
		run(t, "", tool(t, "esbuild"), append(args, "--bundle", "--minify", "--format=esm", "--outdir="+out)...)
		return out
	}
	for name, file := range map[string]struct {
		path  string
		limit int
	}{
		"core": {bundle(entries[0]) + "/illumichat.js", 6 << 10},
		// Its part that it does not share with the core.
		"transport":         {bundle(append(entries, "--splitting")...) + "/ai-sdk.js", 3 << 10},
		"Markdown renderer": {bundle(packageDir+"/markdown.js") + "/markdown.js", 12 << 10},
	} {
		content, err := os.ReadFile(file.path)
		if err != nil {
			t.Fatal(err)
		}
		var zipped bytes.Buffer
		writer, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = writer.Write(content)
		_ = writer.Close()
		t.Logf("the %s has %d bytes, %d with gzip", name, len(content), zipped.Len())
		if zipped.Len() > file.limit {
			t.Errorf("the %s has %d bytes with gzip, and may have %d", name, zipped.Len(), file.limit)
		}
	}
}
