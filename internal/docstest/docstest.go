// Package docstest reads the documentation for tests: README.md, the pages in docs/, their tables, and the code in them.
package docstest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Page is a page of the documentation.
type Page struct {
	File string // its path from the module's top directory, with slashes
	Text string
}

// Top returns the module's top directory.
func Top(tb testing.TB) string {
	tb.Helper()
	for dir := "."; ; dir = filepath.Join("..", dir) {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		switch {
		case err == nil:
			return dir
		case !errors.Is(err, fs.ErrNotExist) || strings.Count(dir, "..") > 9:
			tb.Fatalf("looking for go.mod: %v", err)
		}
	}
}

// Read returns a page, such as "docs/errors.md".
func Read(tb testing.TB, file string) Page {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(Top(tb), filepath.FromSlash(file)))
	if err != nil {
		tb.Fatal(err)
	}
	return Page{file, string(text)}
}

// Glob returns the pages that a pattern matches, in the order of their names.
func Glob(tb testing.TB, pattern string) (pages []Page) {
	tb.Helper()
	top := Top(tb)
	files, err := filepath.Glob(filepath.Join(top, filepath.FromSlash(pattern)))
	if err != nil || len(files) == 0 {
		tb.Fatalf("there are no %s: %v", pattern, err)
	}
	for _, file := range files {
		relative, err := filepath.Rel(top, file)
		if err != nil {
			tb.Fatal(err)
		}
		pages = append(pages, Read(tb, filepath.ToSlash(relative)))
	}
	return pages
}

// Module returns the path of this module, and its version of Caddy without the "v", as go.mod has them.
func Module(tb testing.TB) (path, caddy string) {
	tb.Helper()
	match := regexp.MustCompile(`(?s)\nmodule (\S+)\n.*\n\tgithub\.com/caddyserver/caddy/v2 v(\S+)\n`).FindStringSubmatch("\n" + Read(tb, "go.mod").Text)
	if match == nil {
		tb.Fatal("go.mod does not name this module and Caddy")
	}
	return match[1], match[2]
}

// Pages returns README.md and the pages in docs/, in the order of their names.
func Pages(tb testing.TB) []Page {
	tb.Helper()
	return append([]Page{Read(tb, "README.md")}, Glob(tb, "docs/*.md")...)
}

// Block is a fenced block of a page.
type Block struct {
	File     string
	Line     int    // of its first line of text, from 1
	Heading  string // the text of the heading before it
	Language string // empty: it has none
	Text     string // without the indentation of a block in a list
}

var fence = regexp.MustCompile("^( *)(```+)([^`]*)$")

// split splits the page into its fenced blocks and the rest. In the rest, the lines of blocks are empty.
func (p Page) split() (blocks []Block, rest string) {
	lines := strings.SplitAfter(p.Text, "\n")
	var open []string // the indentation and the fence of the block
	var block Block
	var heading string
	var prose strings.Builder
	for i, line := range lines {
		match := fence.FindStringSubmatch(strings.TrimRight(line, "\n"))
		switch {
		case open == nil && match != nil:
			open = match[1:3]
			block = Block{File: p.File, Line: i + 2, Heading: heading, Language: strings.TrimSpace(match[3])}
		case open != nil && match != nil && match[2] == open[1] && match[3] == "":
			blocks = append(blocks, block)
			open = nil
		case open != nil:
			block.Text += strings.TrimPrefix(line, open[0])
		default:
			if text, is := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); is && line[0] == '#' {
				heading = strings.TrimSpace(text)
			}
			prose.WriteString(line)
			continue
		}
		prose.WriteString("\n")
	}
	return blocks, prose.String()
}

// Blocks returns the fenced blocks of the page.
func (p Page) Blocks() []Block {
	blocks, _ := p.split()
	return blocks
}

// In returns the text of the page's fenced blocks in a language.
func (p Page) In(language string) (texts []string) {
	for _, block := range p.Blocks() {
		if block.Language == language {
			texts = append(texts, block.Text)
		}
	}
	return texts
}

// Prose returns the page's text with empty lines in place of the fenced blocks.
func (p Page) Prose() string {
	_, prose := p.split()
	return prose
}

// Blocks returns the fenced blocks of README.md and docs/ in a language.
func Blocks(tb testing.TB, language string) (blocks []Block) {
	tb.Helper()
	for _, page := range Pages(tb) {
		for _, block := range page.Blocks() {
			if block.Language == language {
				blocks = append(blocks, block)
			}
		}
	}
	return blocks
}

var span = regexp.MustCompile("`([^`\n]+)`")

// Code returns the code of a text that has no fenced blocks: all that is in backquotes, in its order.
func Code(prose string) (code []string) {
	for _, match := range span.FindAllStringSubmatch(prose, -1) {
		code = append(code, match[1])
	}
	return code
}

// WithoutCode returns a text that has no fenced blocks with empty backquotes in place of the code.
func WithoutCode(prose string) string { return span.ReplaceAllString(prose, "``") }

// Code returns the code of the page: its fenced blocks, and all that is in backquotes.
func (p Page) Code() (code []string) {
	blocks, prose := p.split()
	for _, block := range blocks {
		code = append(code, block.Text)
	}
	return append(code, Code(prose)...)
}

// Names reports whether one of the pages has a word in its code, and not only as a part of a longer word. The parts of words
// are letters, digits and `_`, `-` and `:`.
func Names(pages []Page, word string) bool {
	pattern := regexp.MustCompile(`(?:^|[^\w:-])` + regexp.QuoteMeta(word) + `(?:$|:?[^\w:-]|:$)`)
	return slices.ContainsFunc(pages, func(p Page) bool {
		return slices.ContainsFunc(p.Code(), pattern.MatchString)
	})
}

// Table is a table of a page.
type Table struct {
	File   string
	Header []string // its cells
	Rows   []Row
}

// Row is a row of a table.
type Row struct {
	Line  int // from 1
	Cells []string
}

// cells returns the cells of a table's line, and false if the line is none.
func cells(line string) ([]string, bool) {
	line = strings.TrimSpace(line)
	if len(line) < 2 || !strings.HasPrefix(line, "|") || !strings.HasSuffix(line, "|") {
		return nil, false
	}
	line = strings.ReplaceAll(line[1:len(line)-1], `\|`, "\x00")
	split := strings.Split(line, "|")
	for i, cell := range split {
		split[i] = strings.TrimSpace(strings.ReplaceAll(cell, "\x00", "|"))
	}
	return split, true
}

var ruler = regexp.MustCompile(`^:?-+:?$`)

// Tables returns the tables of the page.
func (p Page) Tables() (tables []Table) {
	var previous []string // the cells of the line before
	inTable := false
	for i, line := range strings.Split(p.Prose(), "\n") {
		row, ok := cells(line)
		switch {
		case !ok:
			inTable = false
		case inTable:
			table := &tables[len(tables)-1]
			table.Rows = append(table.Rows, Row{i + 1, row})
		case previous != nil && ruler.MatchString(row[0]):
			tables = append(tables, Table{File: p.File, Header: previous})
			inTable = true
		}
		if previous = nil; ok {
			previous = row
		}
	}
	return tables
}

// Column returns the index of the first column whose header is name, without regard to case; -1 if there is none.
func (t Table) Column(name string) int {
	return slices.IndexFunc(t.Header, func(cell string) bool { return strings.EqualFold(cell, name) })
}

// Cell returns a cell of the row, and an empty one if the row is too short or the column is -1.
func (r Row) Cell(column int) string {
	if column < 0 || column >= len(r.Cells) {
		return ""
	}
	return r.Cells[column]
}

// Families returns the names that the page's tables list for a family, such as "caddy_illumichat_*". The header of the first
// column has the family's code, with "…", "*" or a word in angle brackets for the rest of the name. The first cell of each row
// has the rest of one or more names.
func (p Page) Families(family string) (names []string) {
	before, after, _ := strings.Cut(family, "*")
	header := regexp.MustCompile(`^` + regexp.QuoteMeta(before) + `(?:…|\*|<\w+>)` + regexp.QuoteMeta(after) + `$`)
	for _, table := range p.Tables() {
		if !slices.ContainsFunc(Code(table.Header[0]), header.MatchString) {
			continue
		}
		for _, row := range table.Rows {
			for _, name := range Code(row.Cells[0]) {
				if !strings.HasPrefix(name, before) {
					name = before + name + after
				}
				names = append(names, name)
			}
		}
	}
	return names
}

// Defaults returns what the page's tables say about an option: the code in the column "default" of each row that begins with the
// option. Several pieces of code in a cell are joined by a space.
func (p Page) Defaults(option string) (defaults []string) {
	for _, table := range p.Tables() {
		column := table.Column("default")
		if column < 0 {
			continue
		}
		for _, row := range table.Rows {
			if slices.Contains(Code(row.Cells[0]), option) {
				defaults = append(defaults, strings.Join(Code(row.Cell(column)), " "))
			}
		}
	}
	return defaults
}

// WantDefault checks that the page's tables have an option, always with the same default. An empty value means that the option
// has none that is code.
func (p Page) WantDefault(tb testing.TB, option, value string) {
	tb.Helper()
	defaults := p.Defaults(option)
	if len(defaults) == 0 || slices.ContainsFunc(defaults, func(found string) bool { return found != value }) {
		tb.Errorf("%s: the tables with a column `default` have the defaults %q of `%s`, want `%s`", p.File, defaults, option, value)
	}
}

// WantOption checks that the page explains an option of the Caddyfile: a fenced block has a line that begins with it, and the
// prose or a table has it in backquotes.
func (p Page) WantOption(tb testing.TB, option string) {
	tb.Helper()
	blocks, prose := p.split()
	line := regexp.MustCompile(`(?m)^\t+` + regexp.QuoteMeta(option) + `(?: |$)`)
	if !slices.ContainsFunc(blocks, func(b Block) bool { return line.MatchString(b.Text) }) {
		tb.Errorf("%s: no fenced block has a line with the option %s", p.File, option)
	}
	if !Names([]Page{{p.File, prose}}, option) {
		tb.Errorf("%s: only blocks have the option `%s`, which the text does not explain", p.File, option)
	}
}

// WantNames checks that one of the pages has each word in its code.
func WantNames(tb testing.TB, pages []Page, kind string, words ...string) {
	tb.Helper()
	where := "docs/*.md"
	if len(pages) == 1 {
		where = pages[0].File
	}
	for _, word := range words {
		if !Names(pages, word) {
			tb.Errorf("%s: the code has no %s `%s`", where, kind, word)
		}
	}
}

// JSONKeys returns the names that the fields of a struct have in JSON, and those of the structs in it that are of the same
// package.
func JSONKeys(value any) (keys []string) {
	t := reflect.TypeOf(value)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			keys = append(keys, name)
		}
		inner := field.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice || inner.Kind() == reflect.Map {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && inner.PkgPath() == t.PkgPath() && (name != "" || field.Anonymous) {
			keys = append(keys, JSONKeys(reflect.Zero(inner).Interface())...)
		}
	}
	return keys
}

// ErrorRow is a code and a status that the table of errors has in one row.
type ErrorRow struct {
	Code   string
	Status int
}

var (
	codeForm    = regexp.MustCompile(`^[a-z_]+:[a-z]+$`)
	errorStatus = regexp.MustCompile(`\b[45]\d\d\b`)
)

// ErrorRows returns the errors of docs/errors.md: the rows of the tables with the columns "code" and "status". A row with several
// statuses is several errors. A row without a status, such as that of a finish, is none.
func ErrorRows(tb testing.TB) (rows []ErrorRow) {
	tb.Helper()
	for _, table := range Read(tb, "docs/errors.md").Tables() {
		code, status := table.Column("code"), table.Column("status")
		if code < 0 || status < 0 {
			continue
		}
		for _, row := range table.Rows {
			for _, name := range Code(row.Cell(code)) {
				if !codeForm.MatchString(name) {
					tb.Errorf("docs/errors.md:%d: `%s` is no code", row.Line, name)
				}
				for _, text := range errorStatus.FindAllString(row.Cell(status), -1) {
					number, _ := strconv.Atoi(text)
					rows = append(rows, ErrorRow{name, number})
				}
			}
		}
	}
	if len(rows) < 13 {
		tb.Fatalf("the tables of docs/errors.md with the columns `code` and `status` have %d errors", len(rows))
	}
	return rows
}
