package illumichat

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// These are the scenarios that tests of LLM gateways have in common, as far as they apply to one provider. A correct gateway
// repeats what may be repeated. It waits as long as the upstream asks, but no longer than a visitor would. It never passes off
// anything else as an answer. Time is virtual.
func TestFailoverScenarios(t *testing.T) {
	const second = time.Second
	cut := step{data: sitetest.Delta, err: errReset}
	badRequest := fakeAnswer{status: http.StatusBadRequest, steps: []step{{data: "<h1>Bad Request</h1>"}}}
	for _, test := range []struct {
		name    string
		answers []fakeAnswer // followed by a good one
		tries   int
		status  int
		want    string // the stream before the module's own finish, or the code of the error
		code    string // of the module's own finish
		took    span
	}{
		{"429 with Retry-After", []fakeAnswer{refusing(429, "Retry-After", "2")}, 2, 200, sitetest.Delta + sitetest.Finish, "", exactly(2 * second)},
		{"429 without Retry-After", []fakeAnswer{refusing(429)}, 2, 200, sitetest.Delta + sitetest.Finish, "", about(second)},
		{"500 once", []fakeAnswer{refusing(500)}, 2, 200, sitetest.Delta + sitetest.Finish, "", about(second)},
		{"503 for good", []fakeAnswer{refusing(503), refusing(503), refusing(503)}, 3, 503, "their_code:chat", "", about(3 * second)},
		{"reset before headers", []fakeAnswer{{err: errReset}}, 2, 200, sitetest.Delta + sitetest.Finish, "", about(second)},
		// The request was sent and may be paid for, so it is not sent again.
		{"total silence", []fakeAnswer{{wait: time.Hour}}, 1, 504, "timeout:upstream", "", exactly(60 * second)},
		// The visitor gets the response headers after 5 s and a heartbeat after 20 s.
		{"a first token after more than 20 s", []fakeAnswer{accepted(step{wait: 21 * second, data: sitetest.Delta + sitetest.Finish})}, 1, 200, ":\n\n" + sitetest.Delta + sitetest.Finish, "", exactly(21 * second)},
		{"cut", []fakeAnswer{accepted(step{data: sitetest.Delta}, cut)}, 1, 200, sitetest.Delta + sitetest.Delta, "closed:upstream", exactly(0)},
		{"stall", []fakeAnswer{accepted(step{data: sitetest.Delta}, step{wait: time.Hour})}, 1, 200, sitetest.Delta + ":\n\n:\n\n:\n\n", "stalled:upstream", exactly(60 * second)},
		{"no end marker", []fakeAnswer{accepted(step{data: sitetest.Delta})}, 1, 200, sitetest.Delta, "closed:upstream", exactly(0)},
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
}
