package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/recording"
	"github.com/illumichat/caddy-illumichat/internal/shutdown"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// gate is an upstream that holds each request back until the test lets it pass.
type gate struct {
	*sitetest.Upstream
	arrived  chan struct{}         // has a value for each request
	answers  chan http.HandlerFunc // the answers to the requests, in their order
	canceled chan struct{}         // has a value for each request that was canceled while it was held back
}

func newGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{arrived: make(chan struct{}, 100), answers: make(chan http.HandlerFunc), canceled: make(chan struct{}, 100)}
	g.Upstream = sitetest.NewUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		g.arrived <- struct{}{}
		select {
		case answer := <-g.answers:
			answer(w, r)
		case <-r.Context().Done():
			g.canceled <- struct{}{}
		}
	})
	t.Cleanup(g.CloseClientConnections)
	return g
}

// await waits for a value.
func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(sitetest.Patience):
		t.Fatalf("this did not happen: %s", what)
	}
}

// three answers with three events.
func three(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, sitetest.Numbered(1)+sitetest.Numbered(2)+sitetest.Finish)
}

const threeEvents = 3

// question is a chat whose page has chosen the answer's id.
type question struct {
	id   string
	chat string
	last int    // the number of the last event that the page has
	user string // X-User
}

func newQuestion() question { return question{id: recording.NewID(), chat: sitetest.Hello} }

// request returns the POST of the question.
func (q question) request(ctx context.Context, url string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+sitetest.ChatPath, strings.NewReader(q.chat))
	if err != nil {
		panic(err) // the URL is a test site's
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Illumichat-Stream", q.id)
	if q.last > 0 {
		req.Header.Set("Last-Event-ID", fmt.Sprintf("%s:%d", q.id, q.last))
	}
	if q.user != "" {
		req.Header.Set("X-User", q.user)
	}
	return req
}

// pending is a request in another goroutine.
type pending struct {
	cancel context.CancelFunc
	over   chan struct{}
	status int
	header http.Header
	body   string
	err    error
}

// start sends a request, and reads its answer, in another goroutine.
func start(t *testing.T, request func(context.Context) *http.Request) *pending {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &pending{cancel: cancel, over: make(chan struct{})}
	req := request(ctx)
	go func() {
		defer close(p.over)
		var resp *http.Response
		if resp, p.err = sitetest.OneShot.RoundTrip(req); p.err != nil {
			return
		}
		defer resp.Body.Close()
		p.status, p.header = resp.StatusCode, resp.Header
		var body []byte
		body, p.err = io.ReadAll(resp.Body)
		p.body = string(body)
	}()
	return p
}

func (q question) start(t *testing.T, s *sitetest.Site) *pending {
	t.Helper()
	return start(t, func(ctx context.Context) *http.Request { return q.request(ctx, s.Plain) })
}

// startGet sends a GET that waits for the answer.
func (q question) startGet(t *testing.T, s *sitetest.Site) *pending {
	t.Helper()
	return start(t, func(ctx context.Context) *http.Request {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.Plain+sitetest.ChatPath+"?stream="+q.id, nil)
		return req
	})
}

func (q question) stop(t *testing.T, s *sitetest.Site) {
	t.Helper()
	resp := s.Request(t, http.MethodDelete, map[string]string{"Illumichat-Stream": q.id}, "")
	if resp.StatusCode != http.StatusNoContent {
		t.Errorf("the stop got status %d", resp.StatusCode)
	}
}

// wait waits for the end of the answer.
func (p *pending) wait(t *testing.T) *pending {
	t.Helper()
	await(t, "the request is over", p.over)
	return p
}

// lose loses the connection.
func (p *pending) lose(t *testing.T) {
	t.Helper()
	p.cancel()
	if p.wait(t); !errors.Is(p.err, context.Canceled) {
		t.Fatalf("the connection was not lost: got status %d and %v", p.status, p.err)
	}
}

// wantWhole checks that the answer has all of its events once.
func (p *pending) wantWhole(t *testing.T, q question) {
	t.Helper()
	p.wait(t)
	if p.err != nil || p.status != http.StatusOK || p.header.Get("Illumichat-Stream") != q.id {
		t.Fatalf("got status %d, %v and %v: %s", p.status, p.header, p.err, p.body)
	}
	sitetest.OnlyFinish(t, p.body)
	if got := strings.Count(p.body, "\n\n"); got != threeEvents-q.last {
		t.Errorf("got %d events: %q", got, p.body)
	}
	withoutIDs(t, p.body, q.id, q.last+1)
}

// hasVisitors waits until n visitors of the site wait for an answer or listen to one.
func hasVisitors(t *testing.T, n int) {
	t.Helper()
	sitetest.Eventually(t, fmt.Sprintf("%d visitors are there", n), func() bool { return shutdown.Count(shutdown.Listener) == n })
}

// A question that is sent again is asked once, whenever the connection was lost. It counts once in a limit.
func TestQuestionIsPaidOnce(t *testing.T) {
	limited := "limit 1 1h\nresume\nretry {\nbackoff 300ms\n}"
	t.Run("before the response headers", func(t *testing.T) {
		g := newGate(t)
		s := sitetest.Serve(t, sitetest.ChatToURL(g.URL, limited))
		q := newQuestion()
		lost := q.start(t, s)
		await(t, "the upstream is asked", g.arrived)
		lost.lose(t)
		hasVisitors(t, 0)
		again, listener := q.start(t, s), q.startGet(t, s)
		hasVisitors(t, 2)
		g.answers <- three
		again.wantWhole(t, q)
		listener.wantWhole(t, q)
		if n := len(g.Take()); n != 1 {
			t.Errorf("the upstream was asked %d times", n)
		}
	})
	t.Run("in a pause before another attempt", func(t *testing.T) {
		g := newGate(t)
		s := sitetest.Serve(t, sitetest.ChatToURL(g.URL, limited))
		q := newQuestion()
		lost := q.start(t, s)
		await(t, "the upstream is asked", g.arrived)
		g.answers <- sitetest.Answering(http.StatusServiceUnavailable, "")
		lost.lose(t)
		again := q.start(t, s)
		await(t, "the upstream is asked again", g.arrived)
		g.answers <- three
		again.wantWhole(t, q)
		if n := len(g.Take()); n != 2 {
			t.Errorf("the upstream was asked %d times", n)
		}
	})
	t.Run("within the answer", func(t *testing.T) {
		u := sitetest.NewHandUpstream(t)
		s := sitetest.Serve(t, sitetest.ChatToURL(u.URL, limited))
		q := newQuestion()
		c := sitetest.Converse(t, u, http.DefaultTransport, q.request(t.Context(), s.Plain))
		c.Response.Body.Close()
		again := q.start(t, s)
		q.last = 1
		after := q.start(t, s)
		c.Upstream.Say(t, sitetest.Numbered(2)+sitetest.Finish)
		c.Upstream.End()
		after.wantWhole(t, q)
		q.last = 0
		again.wantWhole(t, q)
	})
	t.Run("after its end", func(t *testing.T) {
		g := newGate(t)
		s := sitetest.Serve(t, sitetest.ChatToURL(g.URL, limited))
		q := newQuestion()
		first := q.start(t, s)
		await(t, "the upstream is asked", g.arrived)
		g.answers <- three
		first.wantWhole(t, q)
		q.start(t, s).wantWhole(t, q)
		q.last = 2
		q.start(t, s).wantWhole(t, q)
		q.last = 3
		if all := q.start(t, s).wait(t); all.status != http.StatusNoContent {
			t.Errorf("who has everything got status %d", all.status)
		}
		if n := len(g.Take()); n != 1 {
			t.Errorf("the upstream was asked %d times", n)
		}
	})
	t.Run("an answer in JSON", func(t *testing.T) {
		g := newGate(t)
		s := sitetest.Serve(t, sitetest.ChatToURL(g.URL, limited))
		q := newQuestion()
		q.start(t, s)
		await(t, "the upstream is asked", g.arrived)
		again := q.start(t, s)
		hasVisitors(t, 2)
		const answer = `{"text":"Hello"}`
		g.answers <- sitetest.Answering(http.StatusOK, answer, "Content-Type", "application/json")
		for _, p := range []*pending{again, q.start(t, s)} {
			if p.wait(t).body != answer || p.status != http.StatusOK || p.header.Get("Content-Type") != "application/json" {
				t.Errorf("got status %d, %v: %s", p.status, p.header, p.body)
			}
		}
	})
}

// If there is no answer, all who wait get the same error, and the id is free again.
func TestFailureReachesAllWhoWait(t *testing.T) {
	g := newGate(t)
	s := sitetest.Serve(t, sitetest.ChatToURL(g.URL, "resume\n"+sitetest.Once))
	q := newQuestion()
	all := []*pending{q.start(t, s)}
	await(t, "the upstream is asked", g.arrived)
	all = append(all, q.start(t, s), q.startGet(t, s))
	hasVisitors(t, 3)
	g.answers <- sitetest.Answering(http.StatusTooManyRequests, `{"error":"not now","code":"rate_limit:api"}`, "Content-Type", "application/json", "Retry-After", "0")
	for i, p := range all {
		if p.wait(t).status != http.StatusTooManyRequests || p.body != all[0].body || p.header.Get("Retry-After") != all[0].header.Get("Retry-After") || !strings.Contains(p.body, "rate_limit:api") {
			t.Errorf("visitor %d got status %d, %v: %s", i, p.status, p.header, p.body)
		}
	}
	if gone := q.startGet(t, s).wait(t); gone.status != http.StatusNotFound {
		t.Errorf("afterwards, a GET got status %d", gone.status)
	}
	again := q.start(t, s)
	await(t, "the upstream is asked again", g.arrived)
	g.answers <- three
	again.wantWhole(t, q)
}

// A question that a limit refuses leaves its id free, and does not count.
func TestRefusedQuestionFreesItsID(t *testing.T) {
	g := newGate(t)
	s := sitetest.Serve(t, sitetest.ChatToURL(g.URL, "resume\nmax_streams 1"))
	first := newQuestion()
	open := first.start(t, s)
	await(t, "the upstream is asked", g.arrived)
	second := newQuestion()
	if refused := second.start(t, s).wait(t); refused.status != http.StatusServiceUnavailable {
		t.Errorf("got status %d: %s", refused.status, refused.body)
	}
	g.answers <- three
	open.wantWhole(t, first)
	again := second.start(t, s)
	await(t, "the upstream is asked", g.arrived)
	g.answers <- three
	again.wantWhole(t, second)
}

// An id belongs to the owner of its question.
func TestIDOfAnotherOwner(t *testing.T) {
	g := newGate(t)
	s := sitetest.Serve(t, sitetest.ChatToURL(g.URL, "resume {\nowner {http.request.header.X-User}\n}"))
	mine := newQuestion()
	mine.user = "me"
	p := mine.start(t, s)
	await(t, "the upstream is asked", g.arrived)
	theirs := mine
	theirs.user = "you"
	for _, last := range []int{0, 1} {
		theirs.last = last
		if got := theirs.start(t, s).wait(t); got.status != http.StatusConflict || !strings.Contains(got.body, `"conflict:stream"`) {
			t.Errorf("another owner got status %d: %s", got.status, got.body)
		}
	}
	g.answers <- three
	p.wantWhole(t, mine)
	theirs.last = 0
	if got := theirs.start(t, s).wait(t); got.status != http.StatusConflict {
		t.Errorf("after the end, another owner got status %d: %s", got.status, got.body)
	}
	if n := len(g.Take()); n != 1 {
		t.Errorf("the upstream was asked %d times", n)
	}
}

// An id that is malformed, or does not go with the last event's, is refused before anything is asked. Without resume, it
// means nothing.
func TestMalformedIDs(t *testing.T) {
	u := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(u.URL, "resume"))
	other := recording.NewID() + ":1"
	for _, header := range []map[string]string{
		{"Illumichat-Stream": ""}, {"Illumichat-Stream": "short"}, {"Illumichat-Stream": unknownID + "A"}, {"Illumichat-Stream": unknownID[1:] + "+"},
		{"Last-Event-ID": "7"}, {"Last-Event-ID": unknownID + ":-1"}, {"Illumichat-Stream": unknownID, "Last-Event-ID": other},
	} {
		req := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
		for name, value := range header {
			req.Header.Set(name, value)
		}
		sitetest.WantError(t, s.Send(http.DefaultTransport, req), http.StatusBadRequest, "bad_request:stream")
	}
	for _, header := range []map[string]string{{"Last-Event-ID": other}, {"Illumichat-Stream": unknownID, "Last-Event-ID": unknownID + ":1"}} {
		req := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
		for name, value := range header {
			req.Header.Set(name, value)
		}
		sitetest.WantError(t, s.Send(http.DefaultTransport, req), http.StatusNotFound, "not_found:stream")
	}
	if n := len(u.Take()); n != 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
	s.Reload(sitetest.ChatToURL(u.URL, ""))
	q := question{id: "short", chat: sitetest.Hello, last: 1}
	if got := q.start(t, s).wait(t); got.status != http.StatusOK || got.header.Get("Illumichat-Stream") != "" {
		t.Errorf("without resume, got status %d: %v", got.status, got.header)
	}
}

// A visitor can stop an answer before its first event. It ends with a finish, and is not asked for again.
func TestStopBeforeTheFirstEvent(t *testing.T) {
	for phase, reach := range map[string]func(*testing.T, *gate){
		"before the response headers": func(*testing.T, *gate) {},
		"in a pause before another attempt": func(_ *testing.T, g *gate) {
			g.answers <- sitetest.Answering(http.StatusServiceUnavailable, "")
		},
		"before the first event": func(_ *testing.T, g *gate) {
			g.answers <- sitetest.Stalling(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/event-stream") })
		},
	} {
		t.Run(phase, func(t *testing.T) {
			g := newGate(t)
			s := sitetest.Serve(t, sitetest.ChatToURL(g.URL, "resume\nretry {\nbackoff 1m\n}"))
			q := newQuestion()
			all := []*pending{q.start(t, s)}
			await(t, "the upstream is asked", g.arrived)
			reach(t, g)
			all = append(all, q.startGet(t, s))
			hasVisitors(t, 2)
			q.stop(t, s)
			all = append(all, q.start(t, s))
			for i, p := range all {
				p.wait(t)
				if last := sitetest.OnlyFinish(t, p.body); last.Code != "stopped:visitor" || last.FinishReason != "stop" || p.header.Get("Illumichat-Stream") != q.id {
					t.Errorf("visitor %d got the finish %+v and %v", i, last, p.header)
				}
			}
			if n := len(g.Take()); n != 1 {
				t.Errorf("the upstream was asked %d times", n)
			}
			sitetest.Eventually(t, "nothing is left", func() bool { return openExchangeCount() == 0 && takenSlots() == 0 })
		})
	}
}

// If the visitor leaves before the response headers, an answer with an id that the page knows goes on for the grace time.
// Any other one is canceled at once.
func TestLeavingBeforeTheResponseHeaders(t *testing.T) {
	g := newGate(t)
	s := sitetest.Serve(t, sitetest.ChatToURL(g.URL, "resume {\ngrace 500ms\n}"))
	left := time.Now()
	q := newQuestion()
	p := q.start(t, s)
	await(t, "the upstream is asked", g.arrived)
	p.lose(t)
	await(t, "the upstream request is canceled", g.canceled)
	if took := time.Since(left); took < 500*time.Millisecond {
		t.Errorf("it was canceled after %s", took)
	}
	sitetest.Eventually(t, "the id is free", func() bool { return q.startGet(t, s).wait(t).status == http.StatusNotFound })

	s.Reload(sitetest.ChatToURL(g.URL, "resume {\ngrace 1h\n}"))
	p = start(t, func(ctx context.Context) *http.Request {
		return sitetest.ChatRequest(t, s.Plain, sitetest.Hello).WithContext(ctx)
	})
	await(t, "the upstream is asked", g.arrived)
	p.lose(t)
	await(t, "the upstream request is canceled", g.canceled)
	sitetest.Eventually(t, "nothing is left", func() bool { return openExchangeCount() == 0 && takenSlots() == 0 })
}

// A failure after the visitor has left is logged, because no response is.
func TestFailureAfterTheVisitorLeft(t *testing.T) {
	g := newGate(t)
	s := sitetest.Serve(t, sitetest.ChatToURL(g.URL, "resume\n"+sitetest.Once))
	q := newQuestion()
	p := q.start(t, s)
	await(t, "the upstream is asked", g.arrived)
	p.lose(t)
	g.answers <- sitetest.Answering(http.StatusUnauthorized, `{"error":"no","code":"unauthorized:api"}`, "Content-Type", "application/json")
	sitetest.Eventually(t, "the failure is logged", func() bool { return strings.Contains(s.Log(), `"code":"unauthorized:`) })
}

// A browser's EventSource gives up for good at an error. If the error is temporary, it is asked to come back instead.
func TestEventSourceComesBack(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	s := sitetest.Serve(t, sitetest.ChatToURL(u.URL, "resume\nmax_streams 1\nmax_streams_per_client 1"))
	q := newQuestion()
	c := sitetest.Converse(t, u, http.DefaultTransport, q.request(t.Context(), s.Plain))
	listener := bufio.NewReader(s.Get(t, nil, "?stream="+q.id).Body)
	sitetest.NextEvent(t, listener)
	got := s.Get(t, map[string]string{"Accept": "text/event-stream"}, "?stream="+q.id)
	if body := sitetest.ReadAll(t, got); got.StatusCode != http.StatusOK || got.Header.Get("Content-Type") != "text/event-stream" || body != "retry: 1000\n\n" {
		t.Errorf("got status %d, %v: %q", got.StatusCode, got.Header, body)
	}
	sitetest.WantError(t, s.Get(t, nil, "?stream="+q.id), http.StatusTooManyRequests, "rate_limit:chat")
	sitetest.WantError(t, s.Get(t, map[string]string{"Accept": "text/event-stream"}, "?stream="+unknownID), http.StatusNotFound, "not_found:stream")
	c.Finish(t)
}

// The last event's id counts in the query, too, and before the number in it.
func TestLastEventIDInTheQuery(t *testing.T) {
	u := sitetest.NewUpstream(t, three)
	s := sitetest.Serve(t, sitetest.ChatToURL(u.URL, "resume"))
	q := newQuestion()
	q.start(t, s).wantWhole(t, q)
	got := sitetest.ReadAll(t, s.Get(t, nil, fmt.Sprintf("?stream=%s&after=0&lastEventId=%s%%3A2", q.id, q.id)))
	if !strings.Contains(got, q.id+":3") || strings.Contains(got, q.id+":2") {
		t.Errorf("got %q", got)
	}
}

// A visitor who claims to have more than there is gets a finish, and not an empty answer.
func TestAfterMoreThanThereIs(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	s := sitetest.Serve(t, sitetest.ChatToURL(u.URL, "resume"))
	q := newQuestion()
	c := sitetest.Converse(t, u, http.DefaultTransport, q.request(t.Context(), s.Plain))
	ahead := s.GoOn(t, q.id, 1000)
	c.Finish(t)
	if last := sitetest.OnlyFinish(t, sitetest.ReadAll(t, ahead)); last.FinishReason != "stop" {
		t.Errorf("got the finish %+v", last)
	}
}

// A question whose answer is too long to be kept is asked once, too: who sends it again learns that the answer cannot be
// resumed. It can still be stopped.
func TestQuestionWithALongAnswerIsPaidOnce(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	s := sitetest.Serve(t, sitetest.ChatToURL(u.URL, "resume {\nmax_size 1KiB\nmax_total 64KiB\n}"))
	q := newQuestion()
	c := sitetest.Converse(t, u, http.DefaultTransport, q.request(t.Context(), s.Plain))
	c.Upstream.Say(t, "data: "+strings.Repeat("x", 2<<10)+"\n\n")
	sitetest.NextEvent(t, c.Visitor)
	for range 3 {
		if again := q.start(t, s).wait(t); again.status != http.StatusNotFound {
			t.Errorf("got status %d: %s", again.status, again.body)
		}
	}
	q.stop(t, s)
	rest, err := io.ReadAll(c.Visitor)
	if err != nil {
		t.Fatal(err)
	}
	if last := sitetest.OnlyFinish(t, string(rest)); last.Code != "stopped:visitor" {
		t.Errorf("got the finish %+v", last)
	}
	sitetest.Eventually(t, "nothing is left", func() bool { return openExchangeCount() == 0 && takenSlots() == 0 })
}

// A question that is sent twice at the same time needs one slot of its client.
func TestQuestionSentTwiceAtOnce(t *testing.T) {
	u := sitetest.NewUpstream(t, three)
	s := sitetest.Serve(t, sitetest.ChatToURL(u.URL, "resume\nmax_streams_per_client 1"))
	for range 100 {
		q := newQuestion()
		first, second := q.start(t, s), q.start(t, s)
		for _, p := range []*pending{first, second} {
			if p.wait(t).status == http.StatusTooManyRequests && len(u.Take()) == 0 {
				t.Fatalf("got status %d: %s", p.status, p.body)
			}
		}
		sitetest.Eventually(t, "nothing is left", func() bool { return takenSlots() == 0 })
	}
}

// If no visitor comes back before the first event, that is no fault of the upstream.
func TestAbandonedBeforeTheFirstEvent(t *testing.T) {
	g := newGate(t)
	s := sitetest.Serve(t, sitetest.ChatToURL(g.URL, "resume {\ngrace 50ms\n}"))
	q := newQuestion()
	p := q.start(t, s)
	await(t, "the upstream is asked", g.arrived)
	p.lose(t)
	await(t, "the upstream request is canceled", g.canceled)
	sitetest.Eventually(t, "the exchange is over", func() bool { return openExchangeCount() == 0 })
	if log := s.Log(); strings.Contains(log, "the chat failed") {
		t.Errorf("it is logged as a failure: %s", log)
	}
}

// An answer in JSON that is stopped before it is recorded ends with a finish.
func TestStopOfAnAnswerInJSON(t *testing.T) {
	body := make(chan struct{})
	u := sitetest.NewUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"text":`)
		_ = http.NewResponseController(w).Flush()
		close(body)
		<-r.Context().Done()
	})
	s := sitetest.Serve(t, sitetest.ChatToURL(u.URL, "resume"))
	q := newQuestion()
	p := q.start(t, s)
	await(t, "the answer begins", body)
	q.stop(t, s)
	p.wait(t)
	if last := sitetest.OnlyFinish(t, p.body); last.Code != "stopped:visitor" || p.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("got %+v with %v", last, p.header)
	}
}
