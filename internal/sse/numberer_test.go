package sse

import (
	"fmt"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sse/ssetest"
)

// Each event gets its number after its last line, with that line's end, and nothing else changes.
func TestNumberer(t *testing.T) {
	for stream, want := range map[string]string{
		"data: a\n\n":                                   "data: a\nid: s:1\n\n",
		"data: a\r\n\r\n":                               "data: a\r\nid: s:1\r\n\r\n",
		"data: a\r\r":                                   "data: a\rid: s:1\r\r",
		"data: a\n\ndata: b\n\n":                        "data: a\nid: s:1\n\ndata: b\nid: s:2\n\n",
		"data: a\r\n\ndata: b\n\r\n":                    "data: a\r\nid: s:1\r\n\ndata: b\nid: s:2\n\r\n",
		": comment\n\n\ndata: a\n\n":                    ": comment\n\n\ndata: a\nid: s:1\n\n",
		"id: theirs\ndata: a\n\n":                       "id: theirs\ndata: a\nid: s:1\n\n", // ours comes last, so it counts
		"event: x\n\ndata: a\ndata: b\nretry: 1\n\n":    "event: x\n\ndata: a\ndata: b\nretry: 1\nid: s:1\n\n",
		"data: a\n\nid: theirs\n\ndata: b\n\n":          "data: a\nid: s:1\n\nid: theirs\nid: s:1\n\ndata: b\nid: s:2\n\n",
		"id\n\n:id\nidle: 1\n\nevent: x\r\nid:\r\n\r\n": "id\nid: s:0\n\n:id\nidle: 1\n\nevent: x\r\nid:\r\nid: s:0\r\n\r\n",
		"data: torn":                                    "data: torn",
		"\uFEFFdata: a\n\n":                             "\uFEFFdata: a\nid: s:1\n\n",
		strings.Repeat("data: a\n\n", 10) + "data: b\n": numbered(10) + "data: b\n",
	} {
		for _, size := range []int{1, 2, 3, 7, len(stream)} {
			n := NewNumberer("s")
			var got strings.Builder
			events := 0
			for rest := stream; rest != ""; {
				piece := rest[:min(size, len(rest))]
				rest = rest[len(piece):]
				numbered := n.Number([]byte(piece))
				for _, end := range numbered.Ends {
					events++
					if text := got.String() + string(numbered.Data[:end]); len(ssetest.Data(text)) != events {
						t.Errorf("%q in pieces of %d: event %d does not end with %q", stream, size, events, text)
					}
				}
				got.Write(numbered.Data)
				numbered.Release()
			}
			if got.String() != want {
				t.Errorf("%q in pieces of %d: got %q, want %q", stream, size, got.String(), want)
			}
			if inEvent := len(ssetest.Data(stream+"\n\n")) > events; n.Within() != inEvent {
				t.Errorf("%q in pieces of %d: it is within an event: %v", stream, size, n.Within())
			}
		}
	}
}

// numbered is a stream of n events with their numbers.
func numbered(n int) string {
	var all strings.Builder
	for i := range n {
		fmt.Fprintf(&all, "data: a\nid: s:%d\n\n", i+1)
	}
	return all.String()
}

// A torn event ends wherever it was torn, and what follows is an event of its own.
func TestCloseTorn(t *testing.T) {
	const event = "data: ours\n\n"
	for _, torn := range []string{"data: a", "data: a\n", "data: a\r\n", "data: a\r", "dat", "data: a\ndata: b"} {
		data := ssetest.Data(torn + string(CloseTorn([]byte(event))))
		if len(data) == 0 || data[len(data)-1] != "ours" {
			t.Errorf("%q: got the events %q", torn, data)
		}
	}
}
