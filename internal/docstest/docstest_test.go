package docstest

import (
	"reflect"
	"strings"
	"testing"
)

var page = Page{"docs/page.md", strings.ReplaceAll(`# Title

Text with 'code' and 'a:b', 'max_streams_per_client'.

- A list:

  '''caddyfile
  handle {
  	respond 'x'
  }
  '''

| Option | default |
|---|:---|
| 'on', 'off' | a \| b |
| two |

'''
| no | table |
|---|---|
'''

| 'family_…' | |
|---|---|
| 'one', 'two' | 'no' |
`, "'", "`")}

func TestBlocks(t *testing.T) {
	want := []Block{
		{"docs/page.md", 8, "Title", "caddyfile", "handle {\n\trespond `x`\n}\n"},
		{"docs/page.md", 19, "Title", "", "| no | table |\n|---|---|\n"},
	}
	if got := page.Blocks(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if prose := page.Prose(); strings.Contains(prose, "respond") || strings.Count(prose, "\n") != strings.Count(page.Text, "\n") {
		t.Errorf("got %q", prose)
	}
}

func TestTables(t *testing.T) {
	tables := page.Tables()
	if len(tables) != 2 {
		t.Fatalf("got %+v", tables)
	}
	if got := tables[0].Rows; len(got) != 2 || got[0].Line != 15 || got[0].Cell(tables[0].Column("Default")) != "a | b" || got[1].Cell(1) != "" || got[0].Cell(-1) != "" {
		t.Errorf("got %+v", got)
	}
	if got := page.Families("family_*"); !reflect.DeepEqual(got, []string{"family_one", "family_two"}) {
		t.Errorf("got %q", got)
	}
}

func TestNames(t *testing.T) {
	for word, want := range map[string]bool{
		"code": true, "a:b": true, "on": true, "handle": true, "max_streams_per_client": true,
		"cod": false, "a": false, "b": false, "max_streams": false, "per": false, "Text": false, "Title": false,
	} {
		if got := Names([]Page{page}, word); got != want {
			t.Errorf("%s: got %t", word, got)
		}
	}
	for text, want := range map[string]bool{"`--json`": true, "`--json-lines`": false, "`x --json=1`": true, "`--no--json`": false} {
		if got := Names([]Page{{Text: text}}, "--json"); got != want {
			t.Errorf("%s: got %t", text, got)
		}
	}
	if !Names([]Page{{Text: "```yaml\ntoken: x\n```\n"}}, "token") {
		t.Error("a key of YAML is no word")
	}
}
