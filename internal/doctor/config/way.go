package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
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
		e.add(doctor.Note, "logging", "`log_credentials` is on, so the access log has visitors' cookies and passwords", "", "")
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

// corsPrefix begins the names of the header fields that let pages of other origins read a response.
const corsPrefix = "access-control-"

// checkHeader reports that a `header` writes the fields that the chat writes for pages of other origins.
func (e *examination) checkHeader(h *handler) {
	var config struct {
		Response struct {
			Add, Set http.Header
			Delete   []string
			Replace  map[string]json.RawMessage
			Deferred bool
		}
	}
	if !h.config(&config) {
		return
	}
	response := config.Response
	names := slices.Concat(slices.Collect(maps.Keys(response.Add)), slices.Collect(maps.Keys(response.Set)), response.Delete,
		slices.Collect(maps.Keys(response.Replace)))
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(strings.ToLower(name), corsPrefix) })
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	for i := range names {
		names[i] = "`" + values.Printable(names[i]) + "`"
	}
	last := response.Deferred || len(response.Delete) > 0 || len(response.Replace) > 0
	found := fmt.Sprintf("a `header` directive writes %s on the chat's answers, too", list(slices.Compact(names)))
	switch {
	case len(e.options.AllowOrigins) == 0:
		e.add(doctor.Warning, "cors", found, "It lets no other page use the chat, which refuses pages of other origins.",
			"Keep the directive from the chat's path by a matcher. If pages of another origin may chat, name it:\nallow_origins https://www.example.com")
	case last && !allowsAll(response.Set):
		e.add(doctor.Wrong, "cors", found+", and runs after the chat",
			"Browsers refuse answers whose fields do not fit the page's origin.", "Keep the directive from the chat's path by a matcher. The chat writes these fields itself.")
	}
}

// allowsAll reports whether the fields are a single * for all origins, which does no harm.
func allowsAll(fields http.Header) bool {
	return len(fields) > 0 && slices.Equal(fields["Access-Control-Allow-Origin"], []string{"*"})
}
