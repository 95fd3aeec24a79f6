package sitetest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sse/ssetest"
)

// Delta and Finish are the events of the tests' streams: a piece of text, and the finish.
const (
	Delta  = `data: {"type":"text-delta","textDelta":"Hello"}` + "\n\n"
	Finish = `data: {"type":"finish","finishReason":"stop"}` + "\n\n"
)

// Unended is an event that lacks only its blank line.
const Unended = `data: {"type":"text-delta","textDelta":"Bye"}` + "\n"

// FirstDifference describes how got differs from want: their lengths, and the first byte at which they differ.
func FirstDifference(got, want string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("%d bytes, want %d; they differ from byte %d on: %.100q, want %.100q",
				len(got), len(want), i, got[i:], want[i:])
		}
	}
	return fmt.Sprintf("%d bytes, want %d", len(got), len(want))
}

// Theirs is the body of an error in the chat API's format.
const Theirs = `{"error":"Their words.","code":"their_code:chat"}`

// Event is an event as a page sees it.
type Event struct {
	Type         string `json:"type"`
	TextDelta    string `json:"textDelta"`
	FinishReason string `json:"finishReason"`
	Error        string `json:"error"`
	Code         string `json:"code"`
}

// DecodeEvents returns the events of a whole stream. If the data of an event is not JSON, its Type says so.
func DecodeEvents(tb testing.TB, stream string) []Event {
	tb.Helper()
	var events []Event
	for _, data := range ssetest.Data(stream) {
		var e Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			e.Type = "not JSON: " + data
		}
		events = append(events, e)
	}
	return events
}

// OnlyFinish returns the finish of a stream. It must be the last event, and the stream must not have another finish.
func OnlyFinish(tb testing.TB, stream string) Event {
	tb.Helper()
	events := DecodeEvents(tb, stream)
	finishes := 0
	for _, e := range events {
		if e.Type == "finish" {
			finishes++
		}
	}
	if finishes != 1 {
		tb.Fatalf("the stream has %d finishes, want 1: %.1000q", finishes, stream)
	}
	last := events[len(events)-1]
	if last.Type != "finish" {
		tb.Fatalf("the last event is %q, want the finish: %.1000q", last.Type, stream)
	}
	return last
}

// NextEvent reads a stream up to and including the next blank line, and returns what it read.
func NextEvent(tb testing.TB, stream *bufio.Reader) string {
	tb.Helper()
	var event []byte
	for {
		line, err := stream.ReadBytes('\n')
		event = append(event, line...)
		if err != nil {
			tb.Fatalf("reading the next event: %v after %q", err, event)
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return string(event)
		}
	}
}

// Streams are whole streams by name. Together they have everything that a stream may contain.
var Streams = map[string]string{
	"LF":        Delta + Delta + Finish,
	"CRLF":      strings.ReplaceAll(Delta+Delta+Finish, "\n", "\r\n"),
	"CR":        strings.ReplaceAll(Delta+Delta+Finish, "\n", "\r"),
	"mixed":     "data: a\r\n\ndata: b\n\r\ndata: c\r\r\n" + Finish,
	"UTF-8":     "data: grüße, 世界 🙂\n\n" + Finish,
	"BOM":       "\uFEFF" + Finish,
	"comments":  ": hi\n\n" + Delta + ":\n\n: x\n" + Finish,
	"fields":    "event: message\nid: 1\nretry: 5\n" + Delta + Finish,
	"types":     "event: mood\nid: 7\n" + Delta + Delta + "event: mood\nid: 8\n" + Finish,
	"lines":     "data: {\"type\":\ndata: \"text-delta\"}\n\n" + Finish,
	"not JSON":  "data: [DONE\n\n" + "data\n\n" + Finish,
	"blank":     "\n\n\n" + Delta + "\n\n" + Finish,
	"quotes":    `data: {"type":"text-delta","textDelta":"{\"type\":\"finish\"}"}` + "\n\n" + Finish,
	"goes on":   Finish + Delta + ": bye\n\n",
	"large":     "data: " + strings.Repeat("x", 10_000) + "\n\n" + Finish,
	"64 KiB":    "data: " + strings.Repeat("x", 64<<10-8) + "\n\n" + Finish,
	"too large": Delta + "data: " + strings.Repeat("grüße ", 40_000) + "\n\n" + Delta + Finish,
	"large finish": Delta + `data: {"type":"finish","finishReason":"stop","usage":"` +
		strings.Repeat("x", 128<<10) + `"}` + "\n\n",
}
