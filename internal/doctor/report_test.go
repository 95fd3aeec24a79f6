package doctor

import (
	"errors"
	"strings"
	"testing"
)

var findings = []Finding{
	{Level: OK, Check: "reachable", Where: "example.com /chat", Found: "a POST reaches the chat"},
	{Level: Warning, Check: "limit", Where: "example.com /chat", Found: "there is no limit", Why: "Strangers can spend the quota.", Do: "Write, for example:\nlimit 20 1h"},
	{Level: Wrong, Check: "reachable", Where: "example.org /chat", Found: "file_server answers first"},
}

func printed(t *testing.T, asJSON, terminal bool) (text string, healthy bool) {
	t.Helper()
	var out strings.Builder
	p := NewPrinter(&out, asJSON, terminal)
	for _, f := range findings {
		p.Progress("something")
		p.Add(f)
	}
	healthy, err := p.Close()
	if err != nil {
		t.Error(err)
	}
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
	got, healthy := printed(t, false, false)
	if got != want || healthy {
		t.Errorf("got (healthy: %t)\n%s\nwant\n%s", healthy, got, want)
	}
	onTerminal, _ := printed(t, false, true)
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
	if got, _ := printed(t, true, true); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// fullDisk has room for some writes.
type fullDisk struct{ room int }

var errFull = errors.New("no space left on device")

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.room--; d.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// Findings that could not be written are an error, even if later writes succeed.
func TestWriteError(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		disk := &fullDisk{room: 1}
		p := NewPrinter(disk, asJSON, false)
		p.Add(findings[0])
		p.Add(findings[1])
		disk.room = 10
		if _, err := p.Close(); !errors.Is(err, errFull) {
			t.Errorf("JSON: %t: got %v", asJSON, err)
		}
	}
}
