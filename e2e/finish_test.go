package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/buffer"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// writing returns a handler that writes the parts of a stream, with a pause before each but the first.
func writing(pause time.Duration, parts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", eventStream)
		for i, part := range parts {
			if i > 0 {
				select {
				case <-time.After(pause):
				case <-r.Context().Done():
					return
				}
			}
			_, _ = w.Write([]byte(part))
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// A finish is recognized by its whole JSON, however large it is, in whatever order its fields come. Then it is the only
// one. What merely quotes a finish is none.
func TestFinishIsRecognizedByItsWholeJSON(t *testing.T) {
	usage := strings.Repeat("x", 100<<10)
	large := func(format string) string { return fmt.Sprintf("data: "+format+"\n\n", usage) }
	const ours = "closed:upstream"
	for _, test := range []struct {
		name   string
		event  string
		reason string
		code   string // of our own finish; "": the event is the finish
	}{
		{"its type comes last", large(`{"usage":%q,"finishReason":"length","type":"finish"}`), "length", ""},
		{"its type comes first", large(`{"type":"finish","finishReason":"length","usage":%q}`), "length", ""},
		{"its type comes between", large(`{"usage":%q,"type":"finish","more":[1,{"type":"x"}],"finishReason":"stop"}`), "stop", ""},
		{"its type is escaped", large(`{"usage":%q,"\u0074ype":"\u0066inish"}`), "", ""},
		{"its JSON has several lines", large("{\"usage\":%q,\ndata: \"type\":\ndata: \"finish\"}"), "", ""},
		{"another type counts", large(`{"type":"finish","usage":%q,"type":"usage"}`), "error", ours},
		{"a nested type does not count", large(`{"usage":%q,"inner":{"type":"finish"}}`), "error", ours},
		{"a quoted one does not count", large(`{"usage":%q,"text":"{\"type\":\"finish\"}"}`), "error", ours},
		{"it is not whole", large(`{"usage":%q,"type":"finish"`), "error", ours},
		{"it is no JSON", large(`{"usage":%q,,"type":"finish"}`), "error", ours},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := sitetest.Delta + test.event
			if len(test.event) < buffer.Max {
				t.Fatal("the event is not large")
			}
			upstream := sitetest.NewUpstream(t, writing(0, answer))
			for _, resume := range []string{"", "resume"} {
				s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, resume))
				got := sitetest.AnyID.ReplaceAllString(sitetest.ReadAll(t, s.Ask(sitetest.Hello)), "")
				if !strings.HasPrefix(got, answer) {
					t.Fatalf("the event is not passed on as it is: %s", sitetest.FirstDifference(got, answer))
				}
				events := sitetest.DecodeEvents(t, got[len(answer):])
				switch {
				case test.code == "" && len(events) != 0:
					t.Errorf("%q: a second finish follows: %+v", resume, events)
				case test.code != "" && (len(events) != 1 || events[0].Code != test.code || events[0].FinishReason != test.reason):
					t.Errorf("%q: got %+v, want a finish of our own", resume, events)
				}
			}
		})
	}
}
