package sandbox

import (
	"encoding/json"
	"fmt"
)

// An event is one event of an answer, with the fields of its type.
type event struct {
	Type         string         `json:"type"`
	TextDelta    string         `json:"textDelta,omitempty"`
	ToolName     string         `json:"toolName,omitempty"`
	Args         map[string]any `json:"args,omitempty"`
	Result       any            `json:"result,omitempty"`
	FinishReason string         `json:"finishReason,omitempty"`
	ChatID       string         `json:"chatId,omitempty"`
}

func textDelta(format string, args ...any) event {
	return event{Type: "text-delta", TextDelta: fmt.Sprintf(format, args...)}
}

// numbered is the n-th of a row of events, so that a reader can tell when one
// is missing, twice there or out of order.
func numbered(n int) event {
	return textDelta("event %d\n", n)
}

// line is the event as its one data line.
func (e event) line() string {
	data, _ := json.Marshal(e) // an event is made of nothing but strings and plain values
	return "data: " + string(data)
}
