package illumichat

import (
	"bytes"
	"cmp"
	"strings"
	"testing"
)

// oneLineEnd rewrites a stream so that a LF alone ends lines.
var oneLineEnd = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// streamEvent is an event as the HTML standard has it dispatched.
type streamEvent struct {
	Type string `json:"type"`
	ID   string `json:"id"` // the last event ID, which stays until a stream sets another
	Data string `json:"data"`
}

// slowEvents reads the data of a stream's events. What the scanner finds is compared with it.
func slowEvents(stream string) []string {
	var data []string
	for _, e := range readEvents(stream) {
		data = append(data, e.Data)
	}
	return data
}

// readEvents reads a stream in the plainest way there is: the whole stream at once, line by line.
func readEvents(stream string) []streamEvent {
	stream = strings.TrimPrefix(stream, "\uFEFF")
	lines := strings.Split(oneLineEnd.Replace(stream), "\n")
	lines = lines[:len(lines)-1] // what no line end follows is no line yet

	var events []streamEvent
	var data []string
	var kind, id string
	for _, line := range lines {
		if line == "" {
			if data != nil {
				events = append(events, streamEvent{cmp.Or(kind, "message"), id, strings.Join(data, "\n")})
			}
			data, kind = nil, ""
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "data":
			data = append(data, value)
		case "event":
			kind = value
		case "id":
			if !strings.Contains(value, "\x00") {
				id = value
			}
		}
	}
	return events
}

// scanned is what a scanner makes of a stream that comes in pieces.
type scanned struct {
	events []string // the data of each event
	bytes  string   // of all blocks, one after the other
	torn   string   // the rest
}

func scan(pieces ...string) scanned {
	var s scanner
	var got scanned
	var block []byte
	first := true
	for _, piece := range pieces {
		for p := []byte(piece); len(p) > 0; {
			n, ended := s.next(p, hasCR(p))
			block = append(block, p[:n]...)
			p = p[n:]
			if ended == torn {
				break
			}
			if ended == event {
				got.events = append(got.events, string(appendData(nil, block, first)))
			}
			got.bytes += string(block)
			block = block[:0]
			first = false
		}
	}
	got.torn = string(block)
	return got
}

var streams = []string{
	"data: a\n\n",
	"data: a\r\n\r\n",
	"data: a\r\r",
	"data: a\n\ndata: b\n\n",
	"data: a\r\n\r\ndata: b\r\n\r\n",
	"data: a\r\rdata: b\r\r",
	"data: a\n\r\ndata: b\r\n\ndata: c\r\n\r",
	"data: one\ndata: two\n\n",
	"data\n\n",
	"data\ndata\n\n",
	"data:\n\n",
	"data:  two spaces\n\n",
	"datas: no\n\n",
	"dat: no\n\n",
	" data: no\n\n",
	": comment\n\n",
	"event: finish\nid: 7\nretry: 10\ndata: x\n\n",
	"\n\n\ndata: after blank lines\n\n",
	"\uFEFFdata: byte order mark\n\n",
	"\uFEFF\ndata: x\n\n",
	"\uFEFF\uFEFFdata: no\n\n",
	"data: x\n\n\uFEFFdata: no\n\n",
	"data: grüße, 世界 🙂\n\n",
	"data: nul \x00 and \xff are bytes like others\n\n",
	"data: torn\n",
	"data: torn",
	"\r",
	"",
}

func TestScannerHoweverTheStreamIsCut(t *testing.T) {
	for _, stream := range streams {
		want := slowEvents(stream)
		compare := func(pieces ...string) {
			t.Helper()
			got := scan(pieces...)
			if strings.Join(got.events, "|") != strings.Join(want, "|") || len(got.events) != len(want) {
				t.Errorf("%q: got events %q, want %q", pieces, got.events, want)
			}
			if got.bytes+got.torn != stream {
				t.Errorf("%q: got bytes %q", pieces, got.bytes+got.torn)
			}
		}
		compare(stream)
		compare(strings.Split(stream, "")...)
		for i := range stream {
			compare(stream[:i], stream[i:])
			for j := i; j < len(stream); j++ {
				compare(stream[:i], stream[i:j], stream[j:])
			}
		}
	}
}

func TestScannerMissingEnd(t *testing.T) {
	for stream, want := range map[string]byte{
		"":                     0,
		"data: x":              0,
		"data: x\n":            '\n',
		"data: x\r\n":          '\n',
		"data: x\r":            '\r',
		"data: x\nid: 1\n":     '\n',
		"data: x\nid: 1":       0,
		"id: 1\n":              0,
		": comment\n":          0,
		"data: x\n\n":          0,
		"data: x\n\ndata: y":   0,
		"data: x\r\n\r\nid:\n": 0,
	} {
		var s scanner
		for p := []byte(stream); len(p) > 0; {
			n, _ := s.next(p, hasCR(p))
			p = p[n:]
		}
		if got := s.missingEnd(); got != want {
			t.Errorf("%q: got %q, want %q", stream, got, want)
		}
	}
}

// FuzzScanner compares the scanner with slowEvents on any stream, cut at any two places.
func FuzzScanner(f *testing.F) {
	for _, stream := range streams {
		f.Add([]byte(stream), uint(1), uint(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, a, b uint) {
		i := int(a % uint(len(stream)+1))
		j := i + int(b%uint(len(stream)-i+1))
		got := scan(string(stream[:i]), string(stream[i:j]), string(stream[j:]))
		if want := slowEvents(string(stream)); strings.Join(got.events, "\x00\x00") != strings.Join(want, "\x00\x00") || len(got.events) != len(want) {
			t.Errorf("got events %q, want %q", got.events, want)
		}
		if got.bytes+got.torn != string(stream) {
			t.Errorf("got bytes %q, want %q", got.bytes+got.torn, stream)
		}
	})
}

// BenchmarkScanner has a read's worth of events at a time, as in a flood.
func BenchmarkScanner(b *testing.B) {
	p := bytes.Repeat([]byte(`data: {"type":"text-delta","textDelta":"`+strings.Repeat("x", 56)+"\"}\n\n"), 40)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	var s scanner
	for b.Loop() {
		cr := hasCR(p)
		for rest := p; len(rest) > 0; {
			n, _ := s.next(rest, cr)
			rest = rest[n:]
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/40, "ns/event")
}
