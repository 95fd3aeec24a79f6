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

const (
	stepFinish = `data: {"type":"finish","finishReason":"tool-calls"}` + "\n\n"
	toolResult = `data: {"type":"tool-result","toolName":"search","result":"42"}` + "\n\n"
	done       = "data: [DONE]\n\n" // with which some APIs end each stream
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

// A finish that says tool-calls ends a step of the answer. What follows belongs to the answer, however late it comes.
func TestFinishOfAStep(t *testing.T) {
	const late = 2500 * time.Millisecond // more than what follows a finish may take
	underscore := strings.Replace(stepFinish, "tool-calls", "tool_calls", 1)
	answers := map[string]http.HandlerFunc{
		"more follows":         writing(late, sitetest.Delta+stepFinish, toolResult+sitetest.Delta+sitetest.Finish),
		"more follows at once": writing(0, sitetest.Delta+underscore+toolResult+sitetest.Finish),
		"two steps":            writing(late, sitetest.Delta+stepFinish, toolResult+underscore, toolResult+sitetest.Finish),
		"nothing follows":      writing(0, sitetest.Delta+stepFinish),
		"only [DONE] follows":  writing(50*time.Millisecond, sitetest.Delta+stepFinish, done),
		"comments follow":      writing(0, sitetest.Delta+stepFinish, ": hi\n\n"),
		"a torn event follows": writing(0, sitetest.Delta+stepFinish+`data: {"type":"te`),
		"it breaks off":        sitetest.Breaking(writing(0, sitetest.Delta+stepFinish)),
		"more breaks off":      writing(0, sitetest.Delta+stepFinish+toolResult),
	}
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(answers))
	s := sitetest.Serve(t, "log\n"+sitetest.ChatToURL(upstream.URL, ""))
	for i, test := range []struct {
		name, want string // what the visitor gets before a finish of our own
		ours       bool
		record     string
	}{
		{"more follows", sitetest.Delta + stepFinish + toolResult + sitetest.Delta + sitetest.Finish, false, "outcome:answered finish_reason:stop"},
		{"more follows at once", sitetest.Delta + underscore + toolResult + sitetest.Finish, false, "outcome:answered finish_reason:stop"},
		{"two steps", sitetest.Delta + stepFinish + toolResult + underscore + toolResult + sitetest.Finish, false, "outcome:answered finish_reason:stop"},
		{"nothing follows", sitetest.Delta + stepFinish, false, "outcome:answered finish_reason:tool-calls"},
		{"only [DONE] follows", sitetest.Delta + stepFinish + done, false, "outcome:answered finish_reason:tool-calls"},
		{"comments follow", sitetest.Delta + stepFinish + ": hi\n\n", false, "outcome:answered finish_reason:tool-calls"},
		{"a torn event follows", sitetest.Delta + stepFinish, true, "outcome:broken finish_reason:error"},
		{"it breaks off", sitetest.Delta + stepFinish, true, "outcome:broken finish_reason:error"},
		{"more breaks off", sitetest.Delta + stepFinish + toolResult, true, "outcome:broken finish_reason:error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := sitetest.ReadAll(t, s.Ask(sitetest.Saying(test.name)))
			rest, ok := strings.CutPrefix(got, test.want)
			if !ok {
				t.Fatalf("got %s", sitetest.FirstDifference(got, test.want))
			}
			if test.ours != (rest != "") || test.ours && sitetest.OnlyFinish(t, rest).Code != "closed:upstream" {
				t.Errorf("it ends with %q", rest)
			}
			record := sitetest.Summary(nextRecord(t, s, i+1).Illumichat)
			for word := range strings.FieldsSeq(test.record) {
				if !strings.Contains(record, word) {
					t.Errorf("the access log has %s, want %s", record, word)
				}
			}
		})
	}
}

// If the last thing that the upstream says before it breaks the answer off is an error event, our finish repeats it.
func TestFinishRepeatsTheUpstreamsError(t *testing.T) {
	const (
		stated = `data: {"error":"quota exceeded","code":"rate_limit:chat"}` + "\n\n"
		typed  = `data: {"type":"error","errorText":"Quota exceeded"}` + "\n\n"
	)
	answers := map[string]http.HandlerFunc{
		"an error event":            writing(0, sitetest.Delta+typed),
		"an error event, then EOF":  writing(50*time.Millisecond, sitetest.Delta, typed, ""),
		"an error of the API":       writing(0, sitetest.Delta+sitetest.Delta+stated),
		"and [DONE]":                writing(0, sitetest.Delta+typed+done),
		"and [DONE], later":         writing(50*time.Millisecond, sitetest.Delta+typed, done),
		"and a large comment":       writing(0, sitetest.Delta+typed+":"+strings.Repeat(" ", 3000)+"\n\n"),
		"with a large stack":        writing(0, sitetest.Delta+strings.Replace(typed, "}", `,"stack":"`+strings.Repeat("x", 30_000)+`"}`, 1)),
		"and comments":              writing(50*time.Millisecond, sitetest.Delta+typed, ": hi\n\n"),
		"a reset":                   sitetest.Breaking(writing(0, sitetest.Delta+stated)),
		"silence":                   sitetest.Stalling(writing(0, sitetest.Delta+stated)),
		"without its blank line":    writing(0, sitetest.Delta+strings.TrimSuffix(typed, "\n")),
		"but more follows":          writing(0, sitetest.Delta+typed+sitetest.Delta),
		"but more follows, late":    writing(50*time.Millisecond, sitetest.Delta+typed, sitetest.Delta),
		"but the finish follows":    writing(0, typed+sitetest.Finish),
		"it is the only event":      writing(0, typed),
		"it is only a word of text": writing(0, strings.Replace(sitetest.Delta, "Hello", `{\"type\":\"error\"}`, 1)),
	}
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(answers))
	for _, resume := range []string{"", "resume"} {
		s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "idle_timeout 300ms\n"+resume))
		for _, test := range []struct{ name, text, code string }{
			{"an error event", "Quota exceeded", "closed:upstream"},
			{"an error event, then EOF", "Quota exceeded", "closed:upstream"},
			{"an error of the API", "quota exceeded", "rate_limit:chat"},
			{"and [DONE]", "Quota exceeded", "closed:upstream"},
			{"and [DONE], later", "Quota exceeded", "closed:upstream"},
			{"and a large comment", "Quota exceeded", "closed:upstream"},
			{"with a large stack", "Quota exceeded", "closed:upstream"},
			{"and comments", "Quota exceeded", "closed:upstream"},
			{"a reset", "quota exceeded", "rate_limit:chat"},
			{"silence", "quota exceeded", "rate_limit:chat"},
			{"without its blank line", "Quota exceeded", "closed:upstream"},
			{"but more follows", "the answer broke off", "closed:upstream"},
			{"but more follows, late", "the answer broke off", "closed:upstream"},
			{"but the finish follows", "", ""},
			{"it is the only event", "Quota exceeded", "closed:upstream"},
			{"it is only a word of text", "the answer broke off", "closed:upstream"},
		} {
			got := sitetest.OnlyFinish(t, sitetest.ReadAll(t, s.Ask(sitetest.Saying(test.name))))
			if got.Error != test.text || got.Code != test.code {
				t.Errorf("%s: got %+v, want %q and %s", test.name, got, test.text, test.code)
			}
		}
		if log := s.Log(); strings.Contains(strings.ToLower(log), "quota exceeded") {
			t.Error("the log holds what the upstream said")
		}
	}
}

// What follows a finish is passed on for two seconds. The access log tells what was dropped, and that the rest was cut.
func TestWhatFollowsAFinishIsCounted(t *testing.T) {
	const bye = `data: {"type":"usage","tokens":7}` + "\n\n"
	large := `data: {"x":"` + strings.Repeat("x", 100<<10) + `","type":"finish"}` + "\n\n"
	largeUsage := `data: {"type":"usage","x":"` + strings.Repeat("x", 100<<10) + `"}` + "\n\n"
	answers := map[string]http.HandlerFunc{
		"more":            writing(100*time.Millisecond, sitetest.Finish, bye),
		"more finishes":   writing(0, sitetest.Finish+bye+sitetest.Finish+stepFinish+bye),
		"a large finish":  writing(0, sitetest.Finish+large+bye),
		"a large event":   writing(0, sitetest.Finish+largeUsage+bye),
		"a torn event":    writing(0, sitetest.Finish+bye+"data: {"),
		"more, too late":  writing(2500*time.Millisecond, sitetest.Finish+bye, bye),
		"nothing, no end": sitetest.Stalling(writing(0, sitetest.Finish)),
	}
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(answers))
	s := sitetest.Serve(t, "log\n"+sitetest.ChatToURL(upstream.URL, ""))
	for i, test := range []struct{ name, want, record string }{
		{"more", sitetest.Finish + bye, ""},
		{"more finishes", sitetest.Finish + bye + bye, "dropped:2"},
		{"a large finish", sitetest.Finish + bye, "dropped:1"},
		{"a large event", sitetest.Finish + largeUsage + bye, ""},
		{"a torn event", sitetest.Finish + bye, "dropped:1"},
		{"more, too late", sitetest.Finish + bye, "after_finish:cut"},
		{"nothing, no end", sitetest.Finish, "after_finish:cut"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := sitetest.ReadAll(t, s.Ask(sitetest.Saying(test.name))); got != test.want {
				t.Errorf("got %s", sitetest.FirstDifference(got, test.want))
			}
			record := sitetest.Summary(nextRecord(t, s, i+1).Illumichat)
			if !strings.Contains(record, "outcome:answered") || !strings.HasSuffix(record, strings.TrimSpace("finish_reason:stop "+test.record)) {
				t.Errorf("the access log has %s, want %q", record, test.record)
			}
		})
	}
}
