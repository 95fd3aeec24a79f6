package ssetest

import (
	"cmp"
	"strings"
)

// OneLineEnd rewrites a stream so that LF is its only line ending.
var OneLineEnd = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// Event is an event as a browser dispatches it by the HTML Standard.
type Event struct {
	Type string `json:"type"`
	ID   string `json:"id"` // the last event ID, which stays until an id field sets another
	Data string `json:"data"`
}

// Data returns the data of each event of a stream. Tests compare the scanner's events with it.
func Data(stream string) []string {
	var data []string
	for _, e := range Events(stream) {
		data = append(data, e.Data)
	}
	return data
}

// Events returns the events of a stream. It parses the whole stream at once, line by line.
func Events(stream string) []Event {
	stream = strings.TrimPrefix(stream, "\uFEFF")
	lines := strings.Split(OneLineEnd.Replace(stream), "\n")
	lines = lines[:len(lines)-1] // text without a line ending is not a line yet

	var events []Event
	var data []string
	var kind, id string
	for _, line := range lines {
		if line == "" {
			if data != nil {
				events = append(events, Event{cmp.Or(kind, "message"), id, strings.Join(data, "\n")})
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
