package sitetest

import (
	"fmt"
	"net/http"
	"regexp"
	"testing"
)

// AnyID matches the id line that each event of a resumable stream has.
var AnyID = regexp.MustCompile(`id: [A-Za-z0-9_-]{22}:\d+(\r\n|\r|\n)`)

// GoOn resumes the stream with the given id after the event with the number after.
func (s *Site) GoOn(t *testing.T, id string, after int) *http.Response {
	t.Helper()
	return s.Get(t, map[string]string{"Last-Event-ID": fmt.Sprintf("%s:%d", id, after)}, "")
}

// Get sends a GET request to the site's chat path. A query begins with a question mark.
func (s *Site) Get(t *testing.T, header map[string]string, query string) *http.Response {
	t.Helper()
	return s.Request(t, http.MethodGet, header, query)
}

// Request sends a request without a body to the site's chat path. A query begins with a question mark.
func (s *Site) Request(t *testing.T, method string, header map[string]string, query string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.Plain+ChatPath+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	return s.Send(http.DefaultTransport, req)
}
