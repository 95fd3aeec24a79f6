package illumichat

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/buffer"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/internal/upstream"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

var errReset = errors.New("connection reset")

// accepted returns an answer that streams the steps, or without steps, the usual events.
func accepted(steps ...step) fakeAnswer {
	if steps == nil {
		steps = []step{{data: sitetest.Delta + sitetest.Finish}}
	}
	return fakeAnswer{steps: steps}
}

// refusing returns an answer with a status, an error in the API's format, and headers, which are names and values in turn.
func refusing(status int, header ...string) fakeAnswer {
	a := fakeAnswer{status: status, header: make(http.Header), steps: []step{{data: sitetest.Theirs}}}
	for i := 0; i < len(header); i += 2 {
		a.header.Set(header[i], header[i+1])
	}
	return a
}

// statedError returns an error in the API's format.
func statedError(code string) string { return `{"error":"their words","code":"` + code + `"}` }

// stating returns an answer of status 200 that is an error in the API's format.
func stating(code string) fakeAnswer {
	return fakeAnswer{header: http.Header{"Content-Type": {"application/json"}}, steps: []step{{data: statedError(code)}}}
}

// pauses returns the times from the start of each attempt to the start of the next.
func (c *fakeChat) pauses() []time.Duration {
	var pauses []time.Duration
	for i := 1; i < len(c.tries); i++ {
		pauses = append(pauses, c.tries[i].at-c.tries[i-1].at)
	}
	return pauses
}

// span is the shortest and the longest that a duration may be.
type span struct{ least, most time.Duration }

func exactly(d time.Duration) span { return span{d, d} }

// about returns the span of a pause of d with its jitter.
func about(d time.Duration) span { return span{d / 2, d * 3 / 2} }

func (s span) holds(d time.Duration) bool { return s.least <= d && d <= s.most }

// TestTries covers what is retried, when, and what the visitor gets in the end. Time is virtual.
func TestTries(t *testing.T) {
	const second = time.Second
	const whole = sitetest.Delta + sitetest.Finish
	huge := strconv.FormatUint(math.MaxUint64, 10)
	for _, test := range []struct {
		name          string
		subdirectives string
		answers       []fakeAnswer
		pauses        []span // between the attempts
		status        int    // 0: 200 with the stream want
		want          string
		code          string // of the error or of the module's own finish
		retryAfter    []int  // its least and greatest value, in seconds
		took          span   // by the whole exchange, if set
	}{
		// Failures that are retried.
		{name: "a 500 once", answers: []fakeAnswer{refusing(500), accepted()}, pauses: []span{about(second)}, want: whole},
		{name: "a 502 and a 504", answers: []fakeAnswer{refusing(502), refusing(504), accepted()}, pauses: []span{about(second), about(2 * second)}, want: whole},
		{name: "a 503 for good", answers: []fakeAnswer{refusing(503), refusing(503), refusing(503), accepted()},
			pauses: []span{about(second), about(2 * second)}, status: 503, code: "their_code:chat"},
		{name: "a 429 without Retry-After", answers: []fakeAnswer{refusing(429), accepted()}, pauses: []span{about(second)}, want: whole},
		{name: "a 429 for good", answers: []fakeAnswer{refusing(429), refusing(429), refusing(429), accepted()},
			pauses: []span{about(second), about(2 * second)}, status: 429, code: "their_code:chat", retryAfter: []int{2, 6}},
		{name: "no connection", answers: []fakeAnswer{{err: errReset}, accepted()}, pauses: []span{about(second)}, want: whole},
		{name: "never a connection", answers: []fakeAnswer{{err: errReset}, {err: errReset}, {err: errReset}, accepted()},
			pauses: []span{about(second), about(2 * second)}, status: 502, code: "bad_gateway:upstream"},
		{name: "a stream without events", answers: []fakeAnswer{accepted(step{data: ": hi\n\n"}), accepted()}, pauses: []span{about(second)}, want: whole},
		{name: "a stream that breaks before its first event", answers: []fakeAnswer{accepted(step{data: "data: x", err: errReset}), accepted()},
			pauses: []span{about(second)}, want: whole},
		{name: "JSON that breaks off", answers: []fakeAnswer{{header: http.Header{"Content-Type": {"application/json"}}, steps: []step{{data: "{", err: errReset}}}, accepted()},
			pauses: []span{about(second)}, want: whole},
		{name: "an error as JSON", answers: []fakeAnswer{stating("rate_limit:chat"), stating("internal:chat"), accepted()}, pauses: []span{about(second), about(2 * second)}, want: whole},
		{name: "an error as the first event", answers: []fakeAnswer{accepted(step{data: ": hi\n\n"}, step{data: "data: " + statedError("rate_limit:chat") + "\n\n"}), accepted()},
			pauses: []span{about(second)}, want: whole},
		{name: "an error as the first event, for good", subdirectives: "retry {\nattempts 2\n}",
			answers: []fakeAnswer{accepted(step{data: "data: " + statedError("rate_limit:chat") + "\n\n"}), accepted(step{data: "data: " + statedError("rate_limit:chat") + "\n\n"}), accepted()},
			pauses:  []span{about(second)}, status: 429, code: "rate_limit:chat", retryAfter: []int{1, 3}},
		{name: "an empty stream", answers: []fakeAnswer{accepted(step{}), accepted()}, pauses: []span{about(second)}, want: whole},
		{name: "a stream that breaks within its first field's name", answers: []fakeAnswer{accepted(step{data: "dat", err: errReset}), accepted()}, pauses: []span{about(second)}, want: whole},
		{name: "a CDN that cannot reach the upstream", answers: []fakeAnswer{refusing(522), refusing(520), accepted()}, pauses: []span{about(second), about(2 * second)}, want: whole},
		{name: "an overloaded upstream", answers: []fakeAnswer{refusing(529), accepted()}, pauses: []span{about(second)}, want: whole},

		// Failures that are not retried.
		{name: "silence", answers: []fakeAnswer{{wait: time.Hour}, accepted()}, status: 504, code: "timeout:upstream", took: exactly(60 * second)},
		{name: "silence after a head that is held back", subdirectives: "commit_after off", answers: []fakeAnswer{accepted(step{wait: time.Hour}), accepted()},
			status: 504, code: "timeout:upstream", took: exactly(60 * second)},
		{name: "silence after a comment", subdirectives: "commit_after off", answers: []fakeAnswer{accepted(step{wait: 50 * second, data: ":\n\n"}, step{wait: time.Hour}), accepted()},
			status: 504, code: "timeout:upstream", took: exactly(110 * second)},
		{name: "silence, where time is short", subdirectives: "max_duration 40s", answers: []fakeAnswer{{wait: time.Hour}, accepted()},
			status: 504, code: "timeout:upstream", took: exactly(40 * second)},
		{name: "a wrong request whose words do not come", answers: []fakeAnswer{{status: 400, steps: []step{{data: `{"error":"half`}, {wait: time.Hour}}}, accepted()},
			status: 400, code: "bad_request:upstream", took: exactly(5 * second)},
		{name: "a busy upstream whose words do not come, where time is short", subdirectives: "max_duration 3s",
			answers: []fakeAnswer{{status: 503, header: http.Header{"Retry-After": {"600"}}, steps: []step{{data: `{"error":"half`}, {wait: time.Hour}}}, accepted()},
			status:  503, code: "overloaded:upstream", retryAfter: []int{600, 600}, took: exactly(3 * second)},
		{name: "a token that is refused in words that break off", answers: []fakeAnswer{{status: 403, steps: []step{{data: statedError("forbidden:api"), err: errReset}}}, accepted()},
			status: 502, code: "unauthorized:upstream"},
		{name: "a wrong request whose words break off", answers: []fakeAnswer{{status: 400, steps: []step{{data: `{"error":"half`, err: errReset}}}, accepted()},
			status: 400, code: "bad_request:upstream", took: exactly(0)},
		{name: "an unknown assistant, as JSON", answers: []fakeAnswer{stating("not_found:chat"), accepted()}, status: 404, code: "not_found:chat"},
		{name: "a token that is refused, as JSON", answers: []fakeAnswer{stating("forbidden:api"), accepted()}, status: 502, code: "unauthorized:upstream"},
		{name: "a firewall", answers: []fakeAnswer{{status: 403, steps: []step{{data: "<html>"}}}, accepted()}, status: 502, code: "blocked:upstream"},
		{name: "another protocol", answers: []fakeAnswer{accepted(step{data: "0:\"Hello\"\n0:\" you\"\n"}), accepted()}, status: 502, code: "bad_gateway:upstream"},
		{name: "another protocol that goes on", answers: []fakeAnswer{accepted(step{data: strings.Repeat("0:\"Hello\"\n", 200)}, step{wait: time.Hour}), accepted()},
			status: 502, code: "bad_gateway:upstream", took: exactly(0)},
		{name: "another protocol, after the head", answers: []fakeAnswer{accepted(step{wait: 6 * second, data: strings.Repeat("0:\"Hello\"\n", 200)}, step{wait: time.Hour}), accepted()},
			code: "closed:upstream", took: exactly(6 * second)},
		{name: "a wrong request", answers: []fakeAnswer{refusing(400), accepted()}, status: 400, code: "their_code:chat"},
		{name: "an unknown assistant", answers: []fakeAnswer{refusing(404), accepted()}, status: 404, code: "their_code:chat"},
		{name: "a token that is refused", answers: []fakeAnswer{refusing(401), accepted()}, status: 502, code: "unauthorized:upstream"},
		{name: "a redirect", answers: []fakeAnswer{refusing(302), accepted()}, status: 502, code: "bad_gateway:upstream"},
		{name: "a status that is not among the usual ones", answers: []fakeAnswer{refusing(501), accepted()}, status: 501, code: "their_code:chat"},
		{name: "an answer that is none", answers: []fakeAnswer{{header: http.Header{"Content-Type": {"text/html"}}}, accepted()}, status: 502, code: "bad_gateway:upstream"},
		{name: "the token in the first event", answers: []fakeAnswer{accepted(step{data: "data: " + sandbox.Token + "\n\n"}), accepted()}, status: 502, code: "bad_gateway:upstream"},
		{name: "the token in JSON", answers: []fakeAnswer{{header: http.Header{"Content-Type": {"application/json"}}, steps: []step{{data: `"` + sandbox.Token + `"`}}}, accepted()},
			status: 502, code: "bad_gateway:upstream"},
		{name: "an answer that has begun", answers: []fakeAnswer{accepted(step{data: sitetest.Delta, err: errReset}), accepted()}, want: sitetest.Delta, code: "closed:upstream"},
		{name: "an answer whose head was sent", answers: []fakeAnswer{accepted(step{wait: 6 * second, err: errReset}), accepted()}, code: "closed:upstream", took: exactly(6 * second)},
		{name: "an answer whose head was sent, silent", answers: []fakeAnswer{accepted(step{wait: time.Hour}), accepted()}, want: ":\n\n:\n\n:\n\n", code: "timeout:upstream", took: exactly(60 * second)},
		{name: "silence after an event but for its blank line", answers: []fakeAnswer{accepted(step{data: sitetest.Unended}, step{wait: time.Hour}), accepted()},
			want: ":\n\n:\n\n:\n\n" + sitetest.Unended + "\n", code: "timeout:upstream", took: exactly(60 * second)},
		{name: "more comments than are held", answers: []fakeAnswer{accepted(step{data: strings.Repeat(":\n\n", buffer.Max/3+1), err: errReset}), accepted()},
			want: strings.Repeat(":\n\n", buffer.Max/3+1), code: "closed:upstream"},

		// The operator's options.
		{name: "one attempt", subdirectives: sitetest.Once, answers: []fakeAnswer{refusing(500), accepted()}, status: 500, code: "their_code:chat"},
		{name: "one attempt, and a 429", subdirectives: sitetest.Once, answers: []fakeAnswer{refusing(429), accepted()}, status: 429, code: "their_code:chat", retryAfter: []int{1, 2}},
		{name: "another status", subdirectives: "retry {\non 425 501\n}", answers: []fakeAnswer{refusing(425), refusing(501), accepted()},
			pauses: []span{about(second), about(2 * second)}, want: whole},
		{name: "instead of the usual ones", subdirectives: "retry {\non 501\n}", answers: []fakeAnswer{refusing(429), accepted()}, status: 429, code: "their_code:chat", retryAfter: []int{1, 2}},
		{name: "many attempts with short pauses", subdirectives: "retry {\nattempts 6\nbackoff 100ms 300ms\n}",
			answers: []fakeAnswer{refusing(500), refusing(500), refusing(500), refusing(500), refusing(500), accepted()},
			pauses: []span{about(100 * time.Millisecond), about(200 * time.Millisecond), {150 * time.Millisecond, 300 * time.Millisecond},
				{150 * time.Millisecond, 300 * time.Millisecond}, {150 * time.Millisecond, 300 * time.Millisecond}}, want: whole},
		{name: "a pause that does not fit", subdirectives: "max_duration 1s\nretry {\nbackoff 4s\n}", answers: []fakeAnswer{refusing(500), accepted()},
			status: 500, code: "their_code:chat", took: exactly(0)},

		// Retry-After.
		{name: "seconds", answers: []fakeAnswer{refusing(429, "Retry-After", "3"), accepted()}, pauses: []span{exactly(3 * second)}, want: whole},
		{name: "seconds of a 503", answers: []fakeAnswer{refusing(503, "Retry-After", "8"), accepted()}, pauses: []span{exactly(8 * second)}, want: whole},
		{name: "a date", answers: []fakeAnswer{refusing(429, "Retry-After", "Sat, 01 Jan 2000 00:00:05 GMT"), accepted()}, pauses: []span{exactly(5 * second)}, want: whole},
		{name: "the pause goes on growing", answers: []fakeAnswer{refusing(429, "Retry-After", "3"), refusing(500), accepted()}, pauses: []span{exactly(3 * second), about(2 * second)}, want: whole},
		{name: "and is not kept", answers: []fakeAnswer{refusing(429, "Retry-After", "3"), {err: errReset}, accepted()}, pauses: []span{exactly(3 * second), about(2 * second)}, want: whole},
		{name: "none to wait", answers: []fakeAnswer{refusing(429, "Retry-After", "0"), accepted()}, pauses: []span{about(second)}, want: whole},
		{name: "longer than the longest pause", answers: []fakeAnswer{refusing(429, "Retry-After", "9"), accepted()}, status: 429, code: "their_code:chat", retryAfter: []int{9, 9}, took: exactly(0)},
		{name: "longer, of a 503", answers: []fakeAnswer{refusing(503, "Retry-After", "9"), accepted()}, status: 503, code: "their_code:chat", retryAfter: []int{9, 9}, took: exactly(0)},
		{name: "longer than there is time", subdirectives: "max_duration 5s", answers: []fakeAnswer{refusing(429, "Retry-After", "6"), accepted()},
			status: 429, code: "their_code:chat", retryAfter: []int{6, 6}, took: exactly(0)},
		{name: "longer than a life", answers: []fakeAnswer{refusing(429, "Retry-After", huge), accepted()}, status: 429, code: "their_code:chat", retryAfter: []int{3600, 3600}, took: exactly(0)},
		{name: "a last one", answers: []fakeAnswer{refusing(500), refusing(500), refusing(429, "Retry-After", "3"), accepted()},
			pauses: []span{about(second), about(2 * second)}, status: 429, code: "their_code:chat", retryAfter: []int{3, 3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := fakeChat{subdirectives: test.subdirectives, answers: test.answers}
				c.run(t)
				took := time.Since(c.visitor.start)
				if pauses := c.pauses(); !slices.EqualFunc(pauses, test.pauses, func(d time.Duration, s span) bool { return s.holds(d) }) {
					t.Errorf("got the pauses %v, want %v", pauses, test.pauses)
				}
				if test.took != (span{}) && !test.took.holds(took) {
					t.Errorf("it took %v, want %v", took, test.took)
				}
				if test.status == 0 {
					c.checkStream(t, test.want, test.code)
				} else {
					c.checkError(t, test.status, test.code)
				}
				sitetest.CheckRetryAfter(t, c.visitor.header, test.retryAfter)
				for _, try := range c.tries {
					if try.body != c.tries[0].body || try.header.Get("Idempotency-Key") != c.tries[0].header.Get("Idempotency-Key") {
						t.Errorf("the tries differ: %+v, %+v", try, c.tries[0])
					}
				}
			})
		})
	}
}

// checkStream checks that the visitor got the stream want. If there is a code, the module's own finish with it must follow.
func (c *fakeChat) checkStream(t *testing.T, want, code string) {
	t.Helper()
	got := c.visitor.got()
	if c.visitor.status != http.StatusOK {
		t.Fatalf("got status %d: %s", c.visitor.status, got)
	}
	if code != "" {
		if last := sitetest.OnlyFinish(t, got); last.FinishReason != "error" || last.Code != code {
			t.Errorf("got the finish %+v, want the code %s", last, code)
		}
		got = got[:strings.LastIndex(got, `data: {"type":"finish"`)]
	}
	if !strings.HasPrefix(got, want) || strings.ReplaceAll(got[len(want):], ":\n\n", "") != "" { // heartbeats may follow
		t.Errorf("got %s", sitetest.FirstDifference(got, want))
	}
}

func (c *fakeChat) checkError(t *testing.T, status int, code string) {
	t.Helper()
	var e struct{ Code string }
	if err := json.Unmarshal([]byte(c.visitor.got()), &e); err != nil {
		t.Fatalf("got status %d and no error: %v: %q", c.visitor.status, err, c.visitor.got())
	}
	if c.visitor.status != status || e.Code != code {
		t.Errorf("got status %d and code %s, want %d and %s", c.visitor.status, e.Code, status, code)
	}
}

// Pauses vary, so that chats that were refused together are not retried together.
func TestPausesVary(t *testing.T) {
	pauses := make(map[time.Duration]bool)
	for range 10 {
		synctest.Test(t, func(t *testing.T) {
			c := fakeChat{answers: []fakeAnswer{refusing(500), accepted()}}
			c.run(t)
			pauses[c.pauses()[0]] = true
		})
	}
	if len(pauses) < 5 {
		t.Errorf("ten pauses were of %d lengths", len(pauses))
	}
}

// laterReader waits before the first read.
type laterReader struct {
	after time.Duration
	io.Reader
}

func (r *laterReader) Read(p []byte) (int, error) {
	time.Sleep(r.after)
	r.after = 0
	return r.Reader.Read(p)
}

// The time that the visitor's body took is not available for pauses.
func TestPausesFitInWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakeChat{
			subdirectives: "max_duration 10s\nretry {\nbackoff 8s\n}",
			body:          &laterReader{9 * time.Second, strings.NewReader(sitetest.Hello)},
			answers:       []fakeAnswer{refusing(500), accepted()},
		}
		c.run(t)
		c.checkError(t, http.StatusInternalServerError, "their_code:chat")
		if took := time.Since(c.visitor.start); took != 9*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// If the visitor leaves during a pause, there is no further attempt.
func TestVisitorLeavesInAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, leave := context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer leave()
		c := fakeChat{answers: []fakeAnswer{refusing(500), accepted()}, ctx: ctx}
		c.run(t)
		if took := time.Since(c.visitor.start); took != 400*time.Millisecond {
			t.Errorf("the exchange took %s", took)
		}
		if len(c.tries) != 1 || c.visitor.status != statusClientClosed {
			t.Errorf("got status %d after %d tries", c.visitor.status, len(c.tries))
		}
	})
}

// staleTransport fails n times, as a connection does that the upstream has closed, and then asks the upstream of the fakeChat.
type staleTransport struct {
	kept, wrote bool // the failing connection was used before; some of the request was written to it
	n           int
	asked       int
}

func (s *staleTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked++
	trace := httptrace.ContextClientTrace(r.Context())
	trace.GotConn(httptrace.GotConnInfo{Reused: s.kept})
	if s.asked > s.n {
		return fakeChatKey{}.RoundTrip(r)
	}
	if s.wrote {
		trace.WroteHeaders()
	}
	return nil, errReset
}

// A kept connection that fails before anything was written to it is not an attempt. The next connection is taken at once.
func TestStaleConnections(t *testing.T) {
	for _, test := range []struct {
		name        string
		kept, wrote bool
		n           int // how many connections fail
		status      int
		asked       int
	}{
		{"kept", true, false, 5, http.StatusOK, 6},
		{"kept, and without end", true, false, math.MaxInt, http.StatusBadGateway, 11},
		{"kept, and written to", true, true, 5, http.StatusBadGateway, 1},
		{"new", false, false, 5, http.StatusBadGateway, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHandler(t, sitetest.Once)
				transport := &staleTransport{kept: test.kept, wrote: test.wrote, n: test.n}
				before := h.exchanges.client
				h.exchanges.client = upstream.New(h.exchanges.endpoint, transport, 0)
				defer func() { h.exchanges.client = before }()
				c := fakeChat{subdirectives: sitetest.Once, steps: []step{{data: sitetest.Delta + sitetest.Finish}}}
				c.run(t)
				if c.visitor.status != test.status || transport.asked != test.asked {
					t.Errorf("got status %d from %d connections, want %d from %d", c.visitor.status, transport.asked, test.status, test.asked)
				}
				if took := time.Since(c.visitor.start); took != 0 {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// If the visitor leaves while kept connections fail, no further connection is taken.
func TestStaleConnectionsAndAVisitorWhoLeaves(t *testing.T) {
	h := newHandler(t, sitetest.Once)
	transport := &staleTransport{kept: true, n: math.MaxInt}
	before := h.exchanges.client
	h.exchanges.client = upstream.New(h.exchanges.endpoint, transport, 0)
	defer func() { h.exchanges.client = before }()
	ctx, leave := context.WithCancel(t.Context())
	leave()
	c := fakeChat{subdirectives: sitetest.Once, ctx: ctx}
	c.run(t)
	if c.visitor.status != statusClientClosed || transport.asked > 1 {
		t.Errorf("got status %d from %d connections", c.visitor.status, transport.asked)
	}
}

// fakeAsker fails with the errors of a test, one per attempt, and then succeeds.
type fakeAsker struct {
	errs      []error
	turns     []time.Duration // the waits before further attempts
	committed bool

	start time.Time
	tried []time.Duration
}

func (a *fakeAsker) try() error {
	a.tried = append(a.tried, time.Since(a.start))
	if n := len(a.tried); n <= len(a.errs) {
		return a.errs[n-1]
	}
	return nil
}

func (a *fakeAsker) nextTurn() (wait time.Duration) {
	if len(a.turns) > 0 {
		wait, a.turns = a.turns[0], a.turns[1:]
	}
	return wait
}

func (a *fakeAsker) isOver() bool                       { return a.committed }
func (a *fakeAsker) logPause(int, time.Duration, error) {}

// Whether there is another attempt, and after which pause, depends only on the error and not on the asker.
func TestTriesOfAnAsker(t *testing.T) {
	limited := apierror.FromStatus(429)
	limited.Upstream, limited.RetryAfter = 429, 3*time.Second
	tooLong := apierror.FromStatus(429)
	tooLong.Upstream, tooLong.RetryAfter = 429, time.Hour
	failed := apierror.FromStatus(500)
	failed.Upstream = 500
	wrong := apierror.FromStatus(400)
	wrong.Upstream = 400
	for name, test := range map[string]struct {
		asker fakeAsker
		tries int
		after time.Duration // the earliest time of the last attempt
		err   error
	}{
		"a success":                        {fakeAsker{}, 1, 0, nil},
		"a connection that breaks":         {fakeAsker{errs: []error{apierror.Closed}}, 2, 500 * time.Millisecond, nil},
		"connections that break":           {fakeAsker{errs: []error{apierror.Closed, apierror.Unreachable, apierror.Closed}}, 3, 1500 * time.Millisecond, apierror.Closed},
		"a status that is repeated":        {fakeAsker{errs: []error{failed}}, 2, 500 * time.Millisecond, nil},
		"a status that is not":             {fakeAsker{errs: []error{wrong}}, 1, 0, wrong},
		"a stall":                          {fakeAsker{errs: []error{apierror.Stalled}}, 1, 0, apierror.Stalled},
		"a leak":                           {fakeAsker{errs: []error{apierror.Leak}}, 1, 0, apierror.Leak},
		"Retry-After":                      {fakeAsker{errs: []error{limited}}, 2, 3 * time.Second, nil},
		"Retry-After beyond the cap":       {fakeAsker{errs: []error{tooLong}}, 1, 0, tooLong},
		"a visitor who was sent something": {fakeAsker{errs: []error{apierror.Closed}, committed: true}, 1, 0, apierror.Closed},
		"a cool-down takes no attempt":     {fakeAsker{errs: []error{apierror.Closed, apierror.Closed}, turns: []time.Duration{time.Second, 2 * time.Second}}, 3, 3 * time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				retry := new(Retry)
				retry.setDefaults()
				a := test.asker
				a.start = time.Now()
				err := retry.run(context.Background(), time.Minute, &a)
				if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
					t.Errorf("got %v, want %v", err, test.err)
				}
				if len(a.tried) != test.tries || a.tried[len(a.tried)-1] < test.after {
					t.Errorf("the attempts came at %v, want %d, the last one not before %s", a.tried, test.tries, test.after)
				}
				if !slices.IsSorted(a.tried) {
					t.Errorf("the attempts came at %v", a.tried)
				}
			})
		})
	}
}

// Attempts end when the caller gives up. No pause is longer than the time that is left.
func TestTriesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retry := &Retry{Attempts: 100, Backoff: caddy.Duration(time.Second), BackoffCap: caddy.Duration(time.Second)}
		retry.setDefaults()
		always := slices.Repeat([]error{apierror.Closed}, 100)
		a := fakeAsker{errs: always, start: time.Now()}
		if err := retry.run(context.Background(), 10*time.Second, &a); !errors.Is(err, apierror.Closed) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(a.start); took > 10*time.Second || len(a.tried) < 7 {
			t.Errorf("there were %d attempts in %s", len(a.tried), took)
		}

		ctx, leave := context.WithTimeout(context.Background(), 3*time.Second)
		defer leave()
		a = fakeAsker{errs: always, start: time.Now()}
		if err := retry.run(ctx, time.Hour, &a); err == nil {
			t.Error("there was no error")
		}
		if took := time.Since(a.start); took != 3*time.Second {
			t.Errorf("it took %s after the caller had given up after 3 s", took)
		}
	})
}
