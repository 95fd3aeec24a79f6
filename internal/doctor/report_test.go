package doctor

import (
	"strings"
	"testing"
)

var findings = []Finding{
	{Level: OK, Check: "reachable", Where: "example.com /chat", Found: "a POST reaches the chat"},
	{Level: Warning, Check: "limit", Where: "example.com /chat", Found: "there is no limit", Why: "Strangers can spend the quota.", Do: "Write, for example:\nlimit 20 1h"},
	{Level: Wrong, Check: "reachable", Where: "example.org /chat", Found: "file_server answers first"},
}

func printed(asJSON, terminal bool) (text string, healthy bool) {
	var out strings.Builder
	p := NewPrinter(&out, asJSON, terminal)
	for _, f := range findings {
		p.Progress("something")
		p.Add(f)
	}
	healthy = p.Close()
	return out.String(), healthy
}

func TestText(t *testing.T) {
	const want = `example.com /chat
  ok       reachable: a POST reaches the chat
  warning  limit: there is no limit
           why: Strangers can spend the quota.
           do:  Write, for example:
                limit 20 1h

example.org /chat
  wrong    reachable: file_server answers first

1 wrong, 1 warning
`
	got, healthy := printed(false, false)
	if got != want || healthy {
		t.Errorf("got (healthy: %t)\n%s\nwant\n%s", healthy, got, want)
	}
	onTerminal, _ := printed(false, true)
	if !strings.Contains(onTerminal, "… something"+clearLine) {
		t.Errorf("a terminal shows no progress: %q", onTerminal)
	}
	if got := strings.NewReplacer("… something", "", clearLine, "").Replace(onTerminal); got != want {
		t.Errorf("on a terminal, got\n%s\nwant\n%s", got, want)
	}
}

func TestJSON(t *testing.T) {
	const want = `{"level":"ok","check":"reachable","where":"example.com /chat","found":"a POST reaches the chat"}
{"level":"warning","check":"limit","where":"example.com /chat","found":"there is no limit","why":"Strangers can spend the quota.","do":"Write, for example:\nlimit 20 1h"}
{"level":"wrong","check":"reachable","where":"example.org /chat","found":"file_server answers first"}
{"wrong":1,"warnings":1}
`
	if got, _ := printed(true, true); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
