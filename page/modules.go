package page

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/text/language"

	"github.com/illumichat/caddy-illumichat/client"
)

// elementModule is the module that the page loads.
const elementModule = "element.js"

// modules are the client's modules by their names, and the folder that they are served from.
type modules struct {
	content map[string][]byte
	folder  string // has a hash of all modules, because a module and what it imports belong together

	// ofElement are the names of the modules that the element imports.
	ofElement []string
}

// embedded returns the client's modules. All handlers share them.
var embedded = sync.OnceValue(func() *modules {
	m := &modules{content: make(map[string][]byte)}
	err := fs.WalkDir(client.Modules, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || path.Ext(name) != ".js" {
			return err
		}
		m.content[name], err = client.Modules.ReadFile(name)
		return err
	})
	if err != nil {
		panic(err) // they are in the binary
	}
	var all bytes.Buffer
	for _, name := range m.names() {
		fmt.Fprintf(&all, "%s %d\n%s", name, len(m.content[name]), m.content[name])
	}
	m.folder = assets + hashOf(all.Bytes()) + "/"
	m.ofElement = m.imports(elementModule)
	return m
})

// names returns the names of all modules, sorted.
func (m *modules) names() []string { return slices.Sorted(maps.Keys(m.content)) }

// entries returns the names of the modules that pages import.
func (m *modules) entries() []string {
	return slices.DeleteFunc(m.names(), func(name string) bool { return strings.Contains(name, "/") })
}

// addTo adds the modules to the files of a page. Next to the page are the entries under URLs that stay. Each is a module that
// exports what the real one does, so that all pages of a site share one copy of each module.
func (m *modules) addTo(f files) {
	for name, content := range m.content {
		f.add(m.folder+name, unchanging, content)
	}
	for _, name := range m.entries() {
		f.add(name, revalidate, fmt.Appendf(nil, "export * from './%s%s';\n", m.folder, name))
	}
}

// wordsOf returns the name of the module with the element's words in a language, which the element imports when it knows the
// language; or nothing, if the module is a part of the element, or does not exist.
func (m *modules) wordsOf(lang language.Tag) []string {
	base, _ := lang.Base()
	name := "element/lang/" + base.String() + ".js"
	if m.content[name] == nil || slices.Contains(m.ofElement, name) {
		return nil
	}
	return []string{name}
}

// staticImport matches an import or an export of another module. It begins a line: within a comment, it is one of types.
var staticImport = regexp.MustCompile(`(?m)^(?:import|export)\s(?:[^;'"]*?\sfrom\s+)?['"](\.[^'"]+)['"]`)

// imports returns the names of all other modules that a module imports, directly or not, sorted.
func (m *modules) imports(name string) []string {
	found := make(map[string]bool)
	var follow func(string)
	follow = func(from string) {
		for _, match := range staticImport.FindAllSubmatch(m.content[from], -1) {
			imported := path.Join(path.Dir(from), string(match[1]))
			if !found[imported] {
				found[imported] = true
				follow(imported)
			}
		}
	}
	follow(name)
	delete(found, name)
	return slices.Sorted(maps.Keys(found))
}
