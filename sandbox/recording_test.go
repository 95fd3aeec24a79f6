package sandbox_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

// A recording is a ResponseWriter that keeps the answer as it was written.
type recording struct {
	header http.Header
	status int
	writes []string    // what each flush brought
	times  []time.Time // when the head and each of the writes was flushed
	buffer strings.Builder
}

func (r *recording) Header() http.Header { return r.header }

func (r *recording) WriteHeader(status int) { r.status = status }

func (r *recording) Write(b []byte) (int, error) { return r.buffer.Write(b) }

func (r *recording) Flush() {
	r.times = append(r.times, time.Now())
	if r.buffer.Len() > 0 {
		r.writes = append(r.writes, r.buffer.String())
		r.buffer.Reset()
	}
}

// body is the whole answer.
func (r *recording) body() string { return strings.Join(r.writes, "") + r.buffer.String() }

// A fields is the JSON object of an event or of another answer.
type fields map[string]any

// events decodes the answer, the whole of which must be events of one data line
// each.
func (r *recording) events(t *testing.T) []fields {
	t.Helper()
	if got := r.header.Get("Content-Type"); r.status != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("got %d %s: %s", r.status, got, r.body())
	}
	return decodeEvents(t, r.body())
}

func decodeEvents(t *testing.T, stream string) []fields {
	t.Helper()
	var events []fields
	for _, block := range strings.SplitAfter(stream, "\n\n") {
		if block == "" {
			continue
		}
		data, begun := strings.CutPrefix(block, "data: ")
		data, ended := strings.CutSuffix(data, "\n\n")
		var event fields
		if err := json.Unmarshal([]byte(data), &event); err != nil || !begun || !ended {
			t.Fatalf("%q is no event: %v", block, err)
		}
		events = append(events, event)
	}
	return events
}

// prose joins the text of the events.
func prose(events []fields) string {
	var b strings.Builder
	for _, e := range events {
		if text, ok := e["textDelta"].(string); ok {
			b.WriteString(text)
		}
	}
	return b.String()
}

// chatRequest is a request with a question that is in order.
func chatRequest(t *testing.T, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/chat", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+sandbox.Token)
	r.Header.Set("Content-Type", "application/json")
	return r
}

// saying is the body of a request with one message.
func saying(message string) string {
	body, _ := json.Marshal(fields{
		"assistantId": sandbox.Assistant,
		"messages":    []fields{{"role": "user", "content": message}},
	})
	return string(body)
}

// answer records the answer of the API to a request.
func answer(api *sandbox.API, r *http.Request) *recording {
	w := &recording{header: make(http.Header)}
	api.ServeHTTP(w, r)
	return w
}

// ask records the answer of a new sandbox to a message.
func ask(t *testing.T, message string) *recording {
	t.Helper()
	return answer(sandbox.New(sandbox.Options{}), chatRequest(t, saying(message)))
}
