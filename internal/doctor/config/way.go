package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/values"
)

// checkWay reports what handlers on a request's way to the chat do to the request or the answer.
func (e *examination) checkWay() {
	var handlers []*handler
	for _, a := range e.arrivals {
		for _, s := range a.reached() {
			for _, h := range s.passed {
				if !slices.Contains(handlers, h) {
					handlers = append(handlers, h)
				}
			}
		}
	}
	for _, h := range handlers {
		switch h.module {
		case "log_append":
			e.checkLog(h)
		case "headers":
			e.checkHeader(h)
		}
	}
	if logs := e.server.Logs; logs != nil && logs.ShouldLogCredentials {
		e.checkup.notes.add(e.server.place(), doctor.Finding{
			Level: doctor.Note, Check: "logging", Found: "`log_credentials` is on, so the access log has visitors' cookies and passwords",
		})
	}
}

// checkLog reports that a `log_append` logs what visitors write or get.
func (e *examination) checkLog(h *handler) {
	var config struct {
		Value string `json:"value"`
	}
	if !h.config(&config) {
		return
	}
	const do = "Remove this `log_append`, or keep it from the chat's path by a matcher."
	switch value := strings.Trim(config.Value, "{}"); {
	case strings.HasPrefix(value, "http.request.body"):
		e.add(doctor.Warning, "logging", "`log_append` logs the body of each request", "The access log has what visitors write.", do)
	case strings.HasPrefix(value, "http.response.body"):
		e.add(doctor.Warning, "logging", "`log_append` logs the body of each response",
			"The access log has what the assistant writes, and an answer is held back to its end.", do)
	}
}

// checkHeader reports that a `header` writes the fields that the chat writes for pages of other origins.
func (e *examination) checkHeader(h *handler) {
	fields, last := h.corsFields()
	if len(fields) == 0 {
		return
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		names = append(names, "`"+values.Printable(name)+"`")
	}
	found := fmt.Sprintf("a `header` directive writes %s on the chat's answers, too", list(names))
	const keepAway = "Keep the directive from the chat's path by a matcher."
	origin, writesOrigin := fields[allowOrigin]
	switch {
	case len(e.options.AllowOrigins) == 0:
		e.add(doctor.Warning, "cors", found, "It lets no other page use the chat, which refuses pages of other origins.",
			keepAway+" If pages of another origin may chat, name it:\nallow_origins https://www.example.com")
	case !last: // the chat replaces them
	case writesOrigin && !slices.Equal(origin, []string{"*"}): // * does no harm
		e.add(doctor.Wrong, "cors", found+", and runs after the chat", "Browsers keep an answer from a page that it does not name.",
			keepAway+" The chat writes these fields itself.")
	case !writesOrigin:
		e.add(doctor.Warning, "cors", found+", and runs after the chat", "The chat's own values are lost.",
			keepAway+" The chat writes these fields itself.")
	}
}

// allowOrigin is the field that names the origin whose pages may read a response.
const allowOrigin = "Access-Control-Allow-Origin"

// corsFields returns those fields of responses, with their values, that a `headers` writes and that are about pages of other
// origins. A field that it deletes or edits has no value. last reports whether it writes them after the chat.
func (h *handler) corsFields() (fields map[string][]string, last bool) {
	var config struct {
		Response struct {
			Add      map[string][]string        `json:"add"`
			Set      map[string][]string        `json:"set"`
			Delete   []string                   `json:"delete"`
			Replace  map[string]json.RawMessage `json:"replace"`
			Require  json.RawMessage            `json:"require"`
			Deferred bool                       `json:"deferred"`
		} `json:"response"`
	}
	if !h.config(&config) {
		return nil, false
	}
	fields = make(map[string][]string)
	note := func(name string, values []string) {
		if canonical := textproto.CanonicalMIMEHeaderKey(name); strings.HasPrefix(canonical, "Access-Control-") {
			fields[canonical] = append(fields[canonical], values...)
		}
	}
	response := config.Response
	for name, values := range response.Add {
		note(name, values)
	}
	for name, values := range response.Set {
		note(name, values)
	}
	for _, name := range response.Delete {
		note(name, nil)
	}
	for name := range response.Replace {
		note(name, nil)
	}
	return fields, response.Deferred || response.Require != nil
}
