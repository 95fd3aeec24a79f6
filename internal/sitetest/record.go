package sitetest

import (
	"fmt"
	"regexp"
	"strings"
)

// RecordFields are the fields of a request's line in the access log, which are placeholders as well.
var RecordFields = []string{
	"outcome", "assistant", "alias", "chat", "tries", "upstream_status", "first_event_ms", "events", "bytes",
	"finish_reason", "cause", "code",
}

// volatile are the values that depend on the time and on the sandbox's words.
var volatile = regexp.MustCompile(`(bytes|first_event_ms):[1-9][0-9]*`)

// Summary writes a record as name:value, in the order of RecordFields. It leaves volatile values out.
func Summary(record map[string]any) string {
	var words []string
	for _, name := range RecordFields {
		if value, ok := record[name]; ok {
			words = append(words, fmt.Sprintf("%s:%v", name, value))
		}
	}
	return volatile.ReplaceAllString(strings.Join(words, " "), "$1:_")
}
