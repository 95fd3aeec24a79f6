package sse

import (
	"bytes"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sse/ssetest"
)

// scanned is what a scanner finds in a stream that arrives in pieces.
type scanned struct {
	events []string // the data of each event
	begins []int    // where each event begins
	bytes  string   // of all blocks, concatenated
	torn   string   // the bytes after the last block
}

func scan(pieces ...string) scanned {
	var s Scanner
	var got scanned
	var block, blocks []byte
	first := true
	for _, piece := range pieces {
		for p := []byte(piece); len(p) > 0; {
			n, ended := s.Next(p, HasCR(p))
			block = append(block, p[:n]...)
			p = p[n:]
			if ended == Torn {
				break
			}
			if ended == Event {
				got.events = append(got.events, string(AppendData(nil, block, first)))
				got.begins = append(got.begins, len(blocks))
			}
			blocks = append(blocks, block...)
			block = block[:0]
			first = false
		}
	}
	got.bytes, got.torn = string(blocks), string(block)
	return got
}

// scanBoth calls scan, and checks that Blocks finds as many events and as many bytes of whole blocks, and where the last
// event begins.
func scanBoth(t *testing.T, pieces ...string) scanned {
	t.Helper()
	want := scan(pieces...)
	var s Scanner
	at, bytes, events := 0, 0, 0
	for _, piece := range pieces {
		whole, more, last := s.Blocks([]byte(piece), HasCR([]byte(piece)))
		if whole > 0 {
			bytes = at + whole
		}
		events += more
		begin := -1
		if more > 0 {
			begin = max(want.begins[min(events, len(want.begins))-1]-at, -1)
		}
		if last != begin {
			t.Errorf("%.1000q: the last event of %.1000q begins at %d, want %d", pieces, piece, last, begin)
		}
		at += len(piece)
	}
	if bytes != len(want.bytes) || events != len(want.events) {
		t.Errorf("%.1000q: there are %d events in %d bytes, want %d in %d", pieces, events, bytes, len(want.events), len(want.bytes))
	}
	return want
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
		want := ssetest.Data(stream)
		compare := func(pieces ...string) {
			t.Helper()
			got := scanBoth(t, pieces...)
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
		var s Scanner
		for p := []byte(stream); len(p) > 0; {
			n, _ := s.Next(p, HasCR(p))
			p = p[n:]
		}
		if got := s.MissingEnd(); got != want {
			t.Errorf("%q: got %q, want %q", stream, got, want)
		}
	}
}

// What is no event stream is told from the beginning of one, of which the last line may not be whole.
func TestIsStream(t *testing.T) {
	for stream, want := range map[string]bool{
		"data: x":                  true,
		"data":                     false, // the line may go on
		"data\n":                   true,
		"\uFEFFevent: x":           true,
		"x\r\nid\r\n":              true,
		"retry:":                   true,
		": comment":                true,
		":":                        true,
		"0:\"Hello\"\n0:\"you\"\n": false,
		"{\"error\":\"x\"}":        false,
		"<!DOCTYPE html>\n\n":      false,
		"Data: x\n data: x\n":      false,
		"database: x\n":            false,
		"\n\n\n":                   false,
		"":                         false,
	} {
		if got := IsStream([]byte(stream)); got != want {
			t.Errorf("%q: got %t", stream, got)
		}
	}
}

// Blocks scans a stream in two places at once if much of it arrives at a time.
func TestScannerOfAFlood(t *testing.T) {
	const plain = "data: {\"type\":\"text-delta\",\"textDelta\":\"word\"}\n\n"
	flood := strings.Repeat(plain, 100)
	for _, odd := range append(streams, plain, strings.Repeat("x", 3000), "data: "+strings.Repeat("x", 3000), strings.Repeat("\n", 3000)) {
		for _, stream := range []string{
			odd + flood,
			flood[:len(flood)/4] + odd + flood,
			flood[:len(flood)/2] + odd + flood,
			flood + odd + flood[:len(flood)/4],
			flood + odd,
			flood + strings.TrimSuffix(odd, "\n") + flood,
			strings.Repeat(odd+plain, 100),
		} {
			for _, pieces := range [][]string{{stream}, {stream[:10], stream[10:]}, {stream[:len(stream)/3], stream[len(stream)/3:]}} {
				got := len(scanBoth(t, pieces...).events)
				if want := len(ssetest.Data(stream)); got != want {
					t.Errorf("%.100q in %d pieces: got %d events, want %d", odd, len(pieces), got, want)
				}
			}
		}
	}
}

// FuzzScanner compares the scanner with ssetest.Data on any stream, cut at any two places.
func FuzzScanner(f *testing.F) {
	for _, stream := range streams {
		f.Add([]byte(stream), uint(1), uint(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, a, b uint) {
		i := int(a % uint(len(stream)+1))
		j := i + int(b%uint(len(stream)-i+1))
		got := scanBoth(t, string(stream[:i]), string(stream[i:j]), string(stream[j:]))
		if want := ssetest.Data(string(stream)); strings.Join(got.events, "\x00\x00") != strings.Join(want, "\x00\x00") || len(got.events) != len(want) {
			t.Errorf("got events %q, want %q", got.events, want)
		}
		if got.bytes+got.torn != string(stream) {
			t.Errorf("got bytes %q, want %q", got.bytes+got.torn, stream)
		}
		if len(stream) > 0 {
			scanBoth(t, strings.Repeat(string(stream), 2*twoRuns/len(stream)))
		}
	})
}

// BenchmarkScanner scans a read's worth of events at a time, as in a flood.
func BenchmarkScanner(b *testing.B) {
	p := bytes.Repeat([]byte(`data: {"type":"text-delta","textDelta":"`+strings.Repeat("x", 56)+"\"}\n\n"), 40)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	var s Scanner
	for b.Loop() {
		s.Blocks(p, HasCR(p))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/40, "ns/event")
}
