package sitetest

import (
	"fmt"
	"net/http"
	"regexp"
	"testing"
)

// AnyID is the line that each event of a stream has which can be resumed.
var AnyID = regexp.MustCompile(`id: [A-Za-z0-9_-]{22}:\d+(\r\n|\r|\n)`)

// GoOn asks for what follows the event of a number.
func (s *Site) GoOn(t *testing.T, id string, after int) *http.Response {
	t.Helper()
	return s.Get(t, map[string]string{"Last-Event-ID": fmt.Sprintf("%s:%d", id, after)}, "")
}

func (s *Site) Get(t *testing.T, header map[string]string, query string) *http.Response {
	t.Helper()
	return s.Request(t, http.MethodGet, header, query)
}

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
