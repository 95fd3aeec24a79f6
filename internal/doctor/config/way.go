package config

import (
	"slices"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
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
			e.checkRequestHeader(h)
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
	const do = "Remove this `log_append`, or exclude the chat's path from it with a matcher."
	switch value := strings.Trim(config.Value, "{}"); {
	case strings.HasPrefix(value, "http.request.body"):
		e.add(doctor.Warning, "logging", "`log_append` logs the body of each request", "The access log has what visitors write.", do)
	case strings.HasPrefix(value, "http.response.body"):
		e.add(doctor.Warning, "logging", "`log_append` logs the body of each response",
			"The access log has what the assistant writes, and an answer is held back to its end.", do)
	}
}
