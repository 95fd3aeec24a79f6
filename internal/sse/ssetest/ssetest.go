package ssetest

import (
	"cmp"
	"strings"
)

// OneLineEnd rewrites a stream so that a LF alone ends lines.
var OneLineEnd = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// Event is an event as the HTML standard has it dispatched.
type Event struct {
	Type string `json:"type"`
	ID   string `json:"id"` // the last event ID, which stays until a stream sets another
	Data string `json:"data"`
}

// Data reads the data of a stream's events. What the scanner finds is compared with it.
func Data(stream string) []string {
	var data []string
	for _, e := range Events(stream) {
		data = append(data, e.Data)
	}
	return data
}

// Events reads a stream in the plainest way there is: the whole stream at once, line by line.
func Events(stream string) []Event {
	stream = strings.TrimPrefix(stream, "\uFEFF")
	lines := strings.Split(OneLineEnd.Replace(stream), "\n")
	lines = lines[:len(lines)-1] // what no line end follows is no line yet

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
