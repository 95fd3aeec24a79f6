package site

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// An answer that loses or repeats events when it is continued is found. The chat itself never does that.
func TestContinuedAnswer(t *testing.T) {
	stopped := func(n int) string {
		return fmt.Sprintf("data: {\"type\":\"finish\",\"finishReason\":\"stop\",\"code\":\"stopped:visitor\"}\nid: ID:%d\n\n", n)
	}
	for name, tc := range map[string]struct {
		continued string // ID stands for the id
		level     doctor.Level
		words     string
	}{
		"well":                {numbered(2, 3, 4) + stopped(5), doctor.OK, "stops when asked to"},
		"ended by itself":     {numbered(2, 3) + strings.Replace(stopped(4), "stopped:visitor", "", 1), doctor.OK, "before it could be stopped"},
		"a repeat":            {numbered(1, 2, 3) + stopped(4), doctor.Wrong, "does not begin with the event that follows"},
		"a gap":               {numbered(3, 4) + stopped(5), doctor.Wrong, "does not begin with the event that follows"},
		"a later repeat":      {numbered(2, 3, 3) + stopped(4), doctor.Wrong, "a gap or a repeat at event 4"},
		"a later gap":         {numbered(2, 3, 5) + stopped(6), doctor.Wrong, "a gap or a repeat at event 4"},
		"no number":           {"data: Hi\n\n", doctor.Wrong, "does not begin with the event that follows"},
		"nothing":             {"", doctor.Wrong, "no further event"},
		"no finish":           {numbered(2, 3), doctor.Wrong, "without a finish"},
		"only a finish":       {stopped(2), doctor.Skipped, "too short"},
		"another's last word": {numbered(2) + strings.Replace(stopped(3), "ID", "XX", 1), doctor.Wrong, "a gap or a repeat at event 3"},
	} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			id := r.Header.Get(streamHeader)
			w.Header().Set(streamHeader, id)
			w.Header().Set("Content-Type", "text/event-stream")
			switch r.Method {
			case http.MethodPost:
				_, _ = io.WriteString(w, strings.ReplaceAll(numbered(1), "ID", id))
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			case http.MethodGet:
				id, _, _ = strings.Cut(r.Header.Get("Last-Event-ID"), ":")
				_, _ = io.WriteString(w, strings.ReplaceAll(tc.continued, "ID", id))
			default:
				w.WriteHeader(http.StatusNoContent)
			}
		})
		f := c.cutAndContinue(t.Context())
		if f.Level != tc.level || !strings.Contains(f.Found, tc.words) {
			t.Errorf("%s: got %+v", name, f)
		}
	}
}

// numbered returns events with these numbers.
func numbered(numbers ...int) string {
	var events strings.Builder
	for _, n := range numbers {
		fmt.Fprintf(&events, "data: event\nid: ID:%d\n\n", n)
	}
	return events.String()
}
