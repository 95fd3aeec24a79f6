package site

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// finish is the finish of a whole answer.
const finish = `data: {"type":"finish","finishReason":"stop"}` + "\n\n"

// serve runs a site that does not follow the chat's rules, and returns a checker for it.
func serve(t *testing.T, handler http.HandlerFunc) (*checker, *collected) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	found := new(collected)
	c := newChecker(mustParse(t, server.URL), Options{}, found)
	t.Cleanup(c.client.close)
	c.protocol = http1Protocol
	return c, found
}

// The check finds that something on the way changes an answer's bytes. The chat never sends such an answer.
func TestDelivery(t *testing.T) {
	step := strings.Replace(finish, "stop", "tool-calls", 1)
	for name, tc := range map[string]struct {
		stream            string
		ofBytes, ofFinish doctor.Level
	}{
		"a whole answer":        {"data: Hi\n\n" + finish, doctor.OK, doctor.OK},
		"comments":              {":\n\ndata: Hi\n\n:\n\n" + finish, doctor.OK, doctor.OK},
		"CRLF":                  {strings.ReplaceAll("data: Hi\n\n"+finish, "\n", "\r\n"), doctor.OK, doctor.OK},
		"a step and a finish":   {step + "data: Hi\n\n" + finish, doctor.OK, doctor.OK},
		"a step at the end":     {"data: Hi\n\n" + step, doctor.OK, doctor.OK},
		"an event after it":     {finish + "data: Hi\n\n", doctor.OK, doctor.OK},
		"no finish":             {"data: Hi\n\n", doctor.OK, doctor.Wrong},
		"nothing":               {"", doctor.OK, doctor.Wrong},
		"two finishes":          {finish + finish, doctor.OK, doctor.Wrong},
		"cut within an event":   {"data: Hi\n\n" + finish[:20], doctor.Wrong, doctor.Wrong},
		"cut before its end":    {"data: Hi\n\n" + finish[:len(finish)-1], doctor.Wrong, doctor.Wrong},
		"bytes that are not":    {"data: \xff\n\n" + finish, doctor.Warning, doctor.OK},
		"an error":              {strings.Replace(finish, "stop", "error", 1), doctor.OK, doctor.Wrong},
		"a finish that is text": {"data: {\"type\":\"text-delta\",\"textDelta\":\"finish\"}\n\n", doctor.OK, doctor.Wrong},
	} {
		c, found := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, tc.stream)
		})
		s, _, err := c.open(t.Context(), c.chat())
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		transcript := s.readAll()
		c.checkBytes(transcript)
		c.checkFinish(transcript)
		if got := *found; got[0].Level != tc.ofBytes || got[1].Level != tc.ofFinish {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

// A proxy that compresses, relabels or lets caches keep an answer is found.
func TestChangedHeaders(t *testing.T) {
	for name, tc := range map[string]struct {
		field, value string
		levels       string // of compression and headers
	}{
		"nothing":             {"Cache-Control", "no-cache, no-transform", "ok ok"},
		"another order":       {"Cache-Control", "No-Transform,no-cache", "ok ok"},
		"a cache":             {"Cache-Control", "max-age=60", "ok warning"},
		"transformations":     {"Cache-Control", "no-cache", "ok warning"},
		"an unknown encoding": {"Content-Encoding", "br", "wrong warning"},
	} {
		c, found := serve(t, nil)
		header := make(http.Header)
		header.Set(tc.field, tc.value)
		transcript := &transcript{stream: &stream{header: header}}
		c.checkCompression(transcript)
		c.checkHeaders(transcript)
		if got := string((*found)[0].Level + " " + (*found)[1].Level); got != tc.levels {
			t.Errorf("%s: got %s", name, got)
		}
	}
}
