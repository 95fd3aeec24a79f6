package sitetest

import (
	"fmt"
	"regexp"
	"strings"
)

// RecordFields are the module's fields in the access log's line of a request. Each is also a placeholder.
var RecordFields = []string{
	"outcome", "assistant", "alias", "chat", "tries", "upstream_status", "first_event_ms", "events", "bytes",
	"finish_reason", "dropped", "after_finish", "cause", "code",
}

// volatile matches the values that depend on the time and on the sandbox's words.
var volatile = regexp.MustCompile(`(bytes|first_event_ms):[1-9][0-9]*`)

// Summary returns a record as name:value, in the order of RecordFields. It replaces volatile values by an underscore.
func Summary(record map[string]any) string {
	var words []string
	for _, name := range RecordFields {
		if value, ok := record[name]; ok {
			words = append(words, fmt.Sprintf("%s:%v", name, value))
		}
	}
	return volatile.ReplaceAllString(strings.Join(words, " "), "$1:_")
}
