package page

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The modules are complete: all that they import is served.
func TestModulesAreComplete(t *testing.T) {
	m := embedded()
	for _, name := range []string{"illumichat.js", "ai-sdk.js"} {
		if !slices.Contains(m.entries(), name) {
			t.Errorf("there is no %s among the modules %q", name, m.entries())
		}
	}
	for _, name := range m.names() {
		for _, imported := range m.imports(name) {
			if m.content[imported] == nil {
				t.Errorf("%s imports %s, which is not embedded", name, imported)
			}
		}
		if strings.Contains(name, "test") {
			t.Errorf("the test %s is embedded", name)
		}
	}
}

// importLike matches whatever may import a module while it loads. Comments are told by their asterisk.
var importLike = regexp.MustCompile(`(?m)^[^*\n]*\bfrom\s*['"]([^'"]+)['"]`)

// No import is written in a way that the search for imports does not see, and none needs a package.
func TestImportsAreFound(t *testing.T) {
	m := embedded()
	found := 0
	for _, name := range m.names() {
		imports := m.imports(name)
		for _, match := range importLike.FindAllSubmatch(m.content[name], -1) {
			found++
			if imported := path.Join(path.Dir(name), string(match[1])); !slices.Contains(imports, imported) {
				t.Errorf("%s imports %s, which is not found", name, match[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("the modules have %d imports", found)
	}
}

// A re-export would lose a default export.
func TestEntriesHaveNoDefaultExport(t *testing.T) {
	m := embedded()
	for _, name := range m.entries() {
		if regexp.MustCompile(`(?m)^export default|\bas default\b`).Match(m.content[name]) {
			t.Errorf("%s has a default export", name)
		}
	}
}

func TestImports(t *testing.T) {
	m := &modules{content: map[string][]byte{
		"a.js":     []byte("/** @typedef {import('./types.js').T} T */\nimport { x } from './b/b.js';\nimport './effect.js';\nexport {\n\ty,\n} from \"./c.js\";\nconst later = import('./later.js');\nimport z from 'package';\n"),
		"b/b.js":   []byte("import { w } from '../c.js';\nexport const from = './no.js';\n"),
		"c.js":     []byte("import './a.js';\n"), // a circle
		"other.js": nil,
	}}
	if got, want := m.imports("a.js"), []string{"b/b.js", "c.js", "effect.js"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The page loads early what the element imports: all that it needs, and of the languages only its own.
func TestPreloads(t *testing.T) {
	m := embedded()
	for _, lang := range []string{"en", "de", "ar-EG", "zh"} {
		h := &Handler{Lang: lang}
		h.setDefaults()
		s, err := h.newSite()
		if err != nil {
			t.Fatal(err)
		}
		page := string(s.files[pageName].content)
		for _, name := range m.names() {
			base, _, _ := strings.Cut(lang, "-")
			needed := slices.Contains(m.ofElement, name) || name == "element/lang/"+base+".js"
			link := `<link rel="modulepreload" href="` + m.folder + name + `">`
			if got := strings.Count(page, link); got > 1 || (got == 1) != needed {
				t.Errorf("%s: the page has %d links to %s", lang, got, name)
			}
		}
		for _, name := range []string{"illumichat.js", "element/panel.js", "element/lang/en.js"} {
			if !strings.Contains(page, m.folder+name+`">`) {
				t.Errorf("%s: the page has no link to %s", lang, name)
			}
		}
	}
}
