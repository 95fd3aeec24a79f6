package chat

import (
	"strings"
	"testing"
)

// A finish is found in whatever pieces a stream comes, once it is whole.
func TestFinishFinder(t *testing.T) {
	const text, finish = "data: {\"type\":\"text-delta\",\"textDelta\":\"finish\"}\nid: x:1\n\n", "data: {\"type\":\"finish\",\"finishReason\":\"length\"}\nid: x:2\n\n"
	large := `data: {"type":"finish","finishReason":"stop","usage":"` + strings.Repeat("x", 1000)
	for name, tc := range map[string]struct {
		pieces []string // one without a blank line at its end is torn
		reason string
		found  bool
	}{
		"none":                    {[]string{text, text}, "", false},
		"one":                     {[]string{text, finish}, "length", true},
		"with what follows":       {[]string{text + finish + text, text}, "length", true},
		"CRLF":                    {[]string{strings.ReplaceAll(text, "\n", "\r\n"), strings.ReplaceAll(finish, "\n", "\r\n")}, "length", true},
		"CR":                      {[]string{strings.ReplaceAll(text, "\n", "\r"), strings.ReplaceAll(finish, "\n", "\r")}, "length", true},
		"escaped":                 {[]string{`data: {"type":"\u0066inish"}` + "\n\n"}, "", true},
		"a torn event":            {[]string{"data: " + strings.Repeat("x", 1000), "finish", "\n\n"}, "", false},
		"one after a torn event":  {[]string{"data: " + strings.Repeat("x", 1000), "x\n\n" + finish}, "length", true},
		"a large one":             {[]string{text + large, "xx", "\"}\n\n"}, "stop", true},
		"a large one, type last":  {[]string{text, `data: {"usage":"` + strings.Repeat("x", 1000), `xx","type":"fini`, "sh\"}\n\n"}, "", true},
		"one that ends a step":    {[]string{strings.Replace(finish, "length", "tool-calls", 1), text}, "", false},
		"one after a step":        {[]string{strings.Replace(finish, "length", "tool-calls", 1) + text, finish}, "length", true},
		"a large one without end": {[]string{text + large, "xx"}, "", false},
		"a quote that goes on":    {[]string{`data: {"type":"text-delta","textDelta":"finish `, "\"}\n\n", text}, "", false},
		"a comment":               {[]string{": {\"type\":\"finish\"}\n\n", text}, "", false},
	} {
		var f FinishFinder
		for _, piece := range tc.pieces {
			whole := strings.HasSuffix(piece, "\n\n") || strings.HasSuffix(piece, "\r\n\r\n") || strings.HasSuffix(piece, "\r\r")
			f.Note([]byte(piece), whole)
		}
		if f.Found() != tc.found || tc.found && f.Reason() != tc.reason {
			t.Errorf("%s: found %v with the reason %q, want %v with %q", name, f.Found(), f.Reason(), tc.found, tc.reason)
		}
		f.Release()
	}
}

// A stream without a finish costs no memory, however many events it has.
func TestFinishFinderAllocatesNothing(t *testing.T) {
	var f FinishFinder
	event := []byte("data: {\"type\":\"text-delta\",\"textDelta\":\"Hello\"}\nid: x:1\n\n")
	if n := testing.AllocsPerRun(100, func() { f.Note(event, true) }); n != 0 {
		t.Errorf("an event costs %v allocations", n)
	}
}
