package sitetest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sse/ssetest"
)

// The events of the tests' streams.
const (
	Delta  = `data: {"type":"text-delta","textDelta":"Hello"}` + "\n\n"
	Finish = `data: {"type":"finish","finishReason":"stop"}` + "\n\n"
)

// Unended is an event that lacks but its blank line.
const Unended = `data: {"type":"text-delta","textDelta":"Bye"}` + "\n"

func FirstDifference(got, want string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("%d bytes, want %d; they differ from byte %d on: %.100q, want %.100q",
				len(got), len(want), i, got[i:], want[i:])
		}
	}
	return fmt.Sprintf("%d bytes, want %d", len(got), len(want))
}

// Theirs is an error in the API's format.
const Theirs = `{"error":"Their words.","code":"their_code:chat"}`

// Event is an event as a page sees it.
type Event struct {
	Type         string `json:"type"`
	TextDelta    string `json:"textDelta"`
	FinishReason string `json:"finishReason"`
	Error        string `json:"error"`
	Code         string `json:"code"`
}

// DecodeEvents reads the events of a whole stream.
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

// OnlyFinish returns the finish of a stream, which must be its last event and the only one.
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

// NextEvent reads a stream up to the next blank line.
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
