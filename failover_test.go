package illumichat

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The scenarios that tests of gateways for language models agree on, as far as there is one provider, and what a correct
// system does: it repeats what may be repeated, waits as long as it is told and no longer than a visitor would, and
// passes nothing off as an answer that is none. Time is virtual.
func TestFailoverScenarios(t *testing.T) {
	const second = time.Second
	const longest = 2 * time.Minute // max_duration
	cut := step{data: delta, err: errReset}
	badRequest := fakeAnswer{status: http.StatusBadRequest, steps: []step{{data: "<h1>Bad Request</h1>"}}}
	for _, test := range []struct {
		name    string
		answers []fakeAnswer // and then a good one
		tries   int
		status  int
		want    string // of the stream before a finish of ours, or the code of the error
		code    string // of the finish of ours
		took    span
	}{
		{"429 with Retry-After", []fakeAnswer{refusing(429, "Retry-After", "2")}, 2, 200, delta + finish, "", exactly(2 * second)},
		{"429 without Retry-After", []fakeAnswer{refusing(429)}, 2, 200, delta + finish, "", about(second)},
		{"500 once", []fakeAnswer{refusing(500)}, 2, 200, delta + finish, "", about(second)},
		{"503 for good", []fakeAnswer{refusing(503), refusing(503), refusing(503)}, 3, 503, "their_code:chat", "", about(3 * second)},
		{"reset before headers", []fakeAnswer{{err: errReset}}, 2, 200, delta + finish, "", about(second)},
		{"total silence", []fakeAnswer{{wait: time.Hour}, {wait: time.Hour}, {wait: time.Hour}}, 3, 504, "timeout:upstream", "", span{90 * second, longest}},
		// The head comes after 5 s, a heartbeat after 20 s.
		{"a first token after more than 20 s", []fakeAnswer{accepted(step{wait: 21 * second, data: delta + finish})}, 1, 200, ":\n\n" + delta + finish, "", exactly(21 * second)},
		{"cut", []fakeAnswer{accepted(step{data: delta}, cut)}, 1, 200, delta + delta, "closed:upstream", exactly(0)},
		{"stall", []fakeAnswer{accepted(step{data: delta}, step{wait: time.Hour})}, 1, 200, delta + ":\n\n", "stalled:upstream", exactly(30 * second)},
		{"no end marker", []fakeAnswer{accepted(step{data: delta})}, 1, 200, delta, "closed:upstream", exactly(0)},
		{"400", []fakeAnswer{refusing(400)}, 1, 400, "their_code:chat", "", exactly(0)},
		{"400 in no shape", []fakeAnswer{badRequest}, 1, 400, "bad_request:upstream", "", exactly(0)},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := fakeChat{answers: append(test.answers, accepted())}
				c.run(t)
				if took := time.Since(c.visitor.start); !test.took.holds(took) {
					t.Errorf("it took %v, want %v", took, test.took)
				}
				if len(c.tries) != test.tries {
					t.Errorf("there were %d tries, want %d", len(c.tries), test.tries)
				}
				if test.status == http.StatusOK {
					c.checkStream(t, test.want, test.code)
				} else {
					c.checkError(t, test.status, test.want)
				}
			})
		})
	}
	t.Run("malformed chunk", func(t *testing.T) { // a matter of bytes
		u := newWireUpstream(t, func(w *wire) {
			_ = w.head()
			_ = w.send(delta)
			w.spoil()
		})
		s := serve(t, chatToURL(u.url, ""))
		got := readAll(t, s.ask(hello))
		if last := onlyFinish(t, got); last.FinishReason != "error" || last.Code != "closed:upstream" || !strings.HasPrefix(got, delta) {
			t.Errorf("got %q", got)
		}
	})
}
