package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// Environment variables: the size of the soak test, in exchanges, and the seed of its random choices.
const (
	soakSize = "ILLUMICHAT_TEST_SOAK"
	soakSeed = "ILLUMICHAT_TEST_SEED"
)

// soakTries is how many attempts a chat has by default.
const soakTries = 3

// soakPlan is the plan of one exchange.
type soakPlan struct {
	id    int
	tries [soakTries]soakTry
	proto string // of the visitor
	path  string // of the upstream
	said  string // by the visitor, the last time that they sent the chat

	leaves time.Duration // when the visitor leaves; 0: they do not
	slow   bool          // the visitor reads slowly
}

// soakTry is how the upstream answers one attempt.
type soakTry struct {
	status int // other than 200; 0: it streams
	events int
	large  bool // the first event is too large to buffer
	finish bool
	rest   string // what follows the events and the finish
	ends   int    // how the answer ends: an index of soakEnds
	lines  string // the line end

	seed uint64 // of the places where the bytes are cut
}

var soakEnds = []func(*sitetest.Wire){
	func(w *sitetest.Wire) { w.End() },
	func(w *sitetest.Wire) { w.Fin() },
	func(w *sitetest.Wire) { w.Reset() },
	func(w *sitetest.Wire) { w.Spoil() },
	(*sitetest.Wire).Stall,
}

func newSoakPlan(seed uint64, id int) *soakPlan {
	random := rand.New(rand.NewPCG(seed, uint64(id)))
	oneOf := func(n int) bool { return random.IntN(n) == 0 }
	p := &soakPlan{
		id:    id,
		proto: []string{"HTTP/1.1", "HTTP/2.0", "HTTP/3.0"}[random.IntN(3)],
		path:  []string{"/1", "/2"}[random.IntN(2)],
		slow:  oneOf(20),
	}
	if oneOf(5) {
		p.leaves = time.Duration(1 + random.IntN(int([]time.Duration{30, 300}[random.IntN(2)]*time.Millisecond)))
	}
	for i := range p.tries {
		try := soakTry{
			events: random.IntN(8),
			large:  oneOf(50),
			lines:  []string{"\n", "\n", "\r\n", "\r"}[random.IntN(4)],
			seed:   random.Uint64(),
		}
		switch random.IntN(6) {
		case 0: // as it should be
			try.finish = true
		case 1:
			try.status = []int{400, 404, 429, 500, 503}[random.IntN(5)]
		case 2: // a finish, and then something
			try.finish = true
			try.rest = []string{"", sitetest.Finish, "data: torn", ": bye\n\n", sitetest.Delta[:30]}[random.IntN(5)]
			try.ends = random.IntN(len(soakEnds))
		default:
			try.rest = []string{"", "data: torn", ": bye\n\n", sitetest.Delta[:30]}[random.IntN(4)]
			try.ends = random.IntN(len(soakEnds))
		}
		p.tries[i] = try
	}
	return p
}

// soakText returns the text of the n-th event of an attempt. Both are counted from 1.
func (p *soakPlan) soakText(try, n int) string {
	text := fmt.Sprintf("%d %d %d", p.id, try, n)
	if n == 1 && p.tries[try-1].large {
		text += " " + strings.Repeat("x", 100_000)
	}
	return text
}

// answer plays the attempt with the number, from 1.
func (p *soakPlan) answer(w *sitetest.Wire, number int) {
	try := &p.tries[number-1]
	if try.status != 0 {
		_ = w.Error(try.status, nil)
		return
	}
	var body strings.Builder
	for n := 1; n <= try.events; n++ {
		fmt.Fprintf(&body, "data: {\"type\":\"text-delta\",\"textDelta\":%q}\n\n", p.soakText(number, n))
	}
	if try.finish {
		body.WriteString(sitetest.Finish)
	}
	body.WriteString(try.rest)
	text := strings.ReplaceAll(body.String(), "\n", try.lines)

	random := rand.New(rand.NewPCG(try.seed, 0))
	if w.Head() != nil {
		return
	}
	for len(text) > 0 {
		n := min(len(text), 1+random.IntN(200))
		if random.IntN(4) == 0 {
			n = len(text)
		}
		if w.Send(text[:n]) != nil {
			return
		}
		text = text[n:]
		if random.IntN(4) == 0 {
			time.Sleep(time.Duration(random.IntN(int(time.Millisecond))))
		}
	}
	soakEnds[try.ends](w)
}

// soak is the state of the test.
type soak struct {
	tb       testing.TB
	site     *sitetest.Site
	visitors map[string]http.RoundTripper
	tries    theTries

	mu   sync.Mutex
	keys map[string]string // Idempotency-Key → chat

	plans    []*soakPlan
	outcomes sync.Map // what became of exchanges → *atomic.Int64
}

func (s *soak) answer(w *sitetest.Wire) {
	text := chatText(w.Body)
	s.mu.Lock()
	number := s.tries.add(text)
	if chat, ok := s.keys[w.Key]; number > 1 && chat != text || number == 1 && ok {
		s.tb.Errorf("try %d of chat %s has the key of chat %q", number, text, chat)
	}
	s.keys[w.Key] = text
	s.mu.Unlock()
	var id int
	if _, err := fmt.Sscan(text, &id); err != nil || number > soakTries {
		s.tb.Errorf("chat %s was tried %d times", text, number)
		return
	}
	s.plans[id].answer(w, number)
}

func (s *soak) count(outcome string) {
	n, _ := s.outcomes.LoadOrStore(outcome, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
}

// run sends the plan's chat and returns what is wrong with the visitor's answer.
func (s *soak) run(p *soakPlan) error {
	ctx, leave := context.WithCancel(s.tb.Context())
	defer leave()
	if p.leaves > 0 {
		ctx, leave = context.WithTimeout(ctx, p.leaves)
		defer leave()
	}
	resp, err := s.send(ctx, p)
	if err != nil {
		if p.leaves > 0 {
			s.count("left before the answer")
			return nil
		}
		return fmt.Errorf("not answered after %d tries: %w", s.tries.of(p.said), err)
	}
	defer resp.Body.Close()
	var body io.Reader = resp.Body
	if p.slow {
		body = &slowReader{body}
	}
	got, err := io.ReadAll(body)
	switch finishes := strings.Count(string(got), `"type":"finish"`); {
	case p.leaves > 0 && (err != nil || finishes == 0): // a connection that the visitor closes may seem to end in order
		s.count("left in the answer")
		if finishes > 1 {
			return fmt.Errorf("%d finishes", finishes)
		}
		return nil
	case err != nil:
		return fmt.Errorf("the answer broke off: %w after %.500q", err, got)
	case resp.StatusCode != http.StatusOK:
		return s.checkError(p, resp.StatusCode, string(got))
	}
	return s.checkStream(p, string(got))
}

// send sends the chat, and sends it again as long as the upstream was not asked. A reload may close a connection under
// a request, and Caddy may leave an HTTP/3 connection unserved that arrives during a reload. On a busy machine, a
// request that was given up may still go upstream, so each request has a text of its own.
func (s *soak) send(ctx context.Context, p *soakPlan) (*http.Response, error) {
	var errs []error
	for start := time.Now(); ; {
		said := fmt.Sprintf("%d %d", p.id, len(errs))
		p.said = said
		attempt, giveUp := context.WithCancel(ctx)
		var gaveUp atomic.Bool
		unserved := time.AfterFunc(2*time.Second, func() {
			if s.tries.of(said) == 0 {
				gaveUp.Store(true)
				giveUp()
			}
		})
		req := sitetest.ChatRequest(s.tb, s.site.Secure, sitetest.Saying(said)).WithContext(attempt)
		req.URL.Path = p.path
		resp, err := s.visitors[p.proto].RoundTrip(req)
		unserved.Stop()
		if err == nil {
			context.AfterFunc(ctx, giveUp)
			return resp, nil
		}
		giveUp()
		errs = append(errs, fmt.Errorf("after %s: %w", time.Since(start), err))
		if ctx.Err() != nil || s.tries.of(said) > 0 && !gaveUp.Load() || time.Since(start) > 3*sitetest.Patience {
			return nil, errors.Join(errs...)
		}
		time.Sleep(time.Millisecond)
	}
}

type slowReader struct{ io.Reader }

func (r *slowReader) Read(p []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return r.Reader.Read(p[:min(len(p), 100)])
}

// checkStream checks that a stream holds the events of the last attempt, in order and once each, and one finish that
// tells the truth about it.
func (s *soak) checkStream(p *soakPlan, got string) error {
	decoded := sitetest.DecodeEvents(s.tb, got)
	number := s.tries.of(p.said)
	if p.mayLoseRequests() && len(decoded) > 0 && decoded[0].Type != "finish" {
		_, _ = fmt.Sscanf(decoded[0].TextDelta, "%d %d", new(int), &number)
	}
	try := &p.tries[number-1]
	events, finished := 0, false
	for _, e := range decoded {
		switch {
		case e.Type == "finish" && finished:
			return fmt.Errorf("a second finish: %.500q", got)
		case e.Type == "finish":
			finished = true
			s.count("finish " + e.FinishReason + " " + e.Code)
			switch {
			case p.mayLoseRequests() && events == 0:
				// It is not known which attempt this was.
			case e.Code == "" && (!try.finish || events != try.events):
				return fmt.Errorf("passed off as whole after %d events of %d: %.500q", events, try.events, got)
			case e.Code == "closed:upstream" && try.finish && events == try.events && !p.mayLoseRequests():
				return fmt.Errorf("an answer that was whole is said to have broken off: %.500q", got)
			}
		case finished:
			return fmt.Errorf("an event follows the finish: %.500q", got)
		default:
			events++
			if try.large && events == 1 && strings.HasPrefix(e.Type, "not JSON") && len(decoded) == 2 {
				continue // the event broke off after parts of it had been sent
			}
			if events > try.events || e.TextDelta != p.soakText(number, events) {
				return fmt.Errorf("event %d of try %d is %+.200v", events, number, e)
			}
		}
	}
	if !finished {
		return fmt.Errorf("no finish: %.500q", got)
	}
	return nil
}

// mayLoseRequests reports whether exchanges share a connection upstream. One exchange may then end the connection of
// another, whose request the upstream has not read or not answered.
func (p *soakPlan) mayLoseRequests() bool { return p.path == "/2" }

// checkError checks that an error is that of the last attempt, and that this attempt had no event to send.
func (s *soak) checkError(p *soakPlan, status int, got string) error {
	made := s.tries.of(p.said)
	s.count("status " + strconv.Itoa(status))
	if !strings.HasPrefix(got, `{"error":`) {
		return fmt.Errorf("status %d, but no error: %.500q", status, got)
	}
	if status == http.StatusGatewayTimeout || p.mayLoseRequests() {
		return nil // the machine is busy, or the attempt is not known
	}
	try := &p.tries[made-1]
	want := try.status
	if want == 0 {
		want = http.StatusBadGateway
	}
	switch {
	case status != want:
		return fmt.Errorf("status %d, want %d of try %d: %s", status, want, made, got)
	case try.status == 0 && (try.events > 0 || try.finish) && !try.large:
		return fmt.Errorf("status %d, but try %d had an event: %s", status, made, got)
	}
	return nil
}

// Upstreams fail at random, some visitors leave, and Caddy reloads again and again. No visitor gets an untrue answer,
// and nothing is left in the end.
func TestSoak(t *testing.T) {
	exchanges, seed := 500, uint64(1)
	if value := os.Getenv(soakSize); value != "" {
		exchanges, _ = strconv.Atoi(value)
	}
	if value := os.Getenv(soakSeed); value != "" {
		seed, _ = strconv.ParseUint(value, 10, 64)
	}
	t.Logf("%d exchanges with the seed %d", exchanges, seed)

	// Goroutines that Caddy keeps for good are not leaks.
	serveOnce(t)
	before := goleak.IgnoreCurrent()

	s := &soak{tb: t, keys: make(map[string]string)}
	for id := range exchanges {
		s.plans = append(s.plans, newSoakPlan(seed, id))
	}
	upstreams := []*sitetest.WireUpstream{sitetest.NewWireUpstream1(t, s.answer), sitetest.NewWireUpstream2(t, s.answer)}
	// keepalive is short, because connections that were in use at a reload are kept for as long as others.
	const quick = "max_duration 5s\ncommit_after 20ms\nheartbeat 10ms\nresponse_timeout 1s\nidle_timeout 1s\nretry {\nbackoff 1ms 5ms\n}\ntransport http {\nkeepalive 500ms\n"
	directives := handleAt("/1", upstreams[0].URL, quick+"}") +
		handleAt("/2", upstreams[1].URL, quick+"tls_insecure_skip_verify\n}")
	s.site = sitetest.New(t, "")
	s.site.Reload(directives)
	s.visitors = sitetest.Protocols(t)

	reloads := keepReloading(s.site, directives)
	var next atomic.Int64
	var visitors sync.WaitGroup
	for range 48 {
		visitors.Go(func() {
			for id := int(next.Add(1)) - 1; id < exchanges; id = int(next.Add(1)) - 1 {
				if err := s.run(s.plans[id]); err != nil {
					t.Errorf("chat %d by %s, upstream %s: %v", id, s.plans[id].proto, s.plans[id].path, err)
				}
			}
		})
	}
	visitors.Wait()
	t.Logf("%d reloads", reloads())

	var outcomes []string
	s.outcomes.Range(func(outcome, n any) bool {
		outcomes = append(outcomes, fmt.Sprintf("%s: %d", outcome, n.(*atomic.Int64).Load()))
		return true
	})
	slices.Sort(outcomes)
	t.Logf("outcomes:\n%s", strings.Join(outcomes, "\n"))
	if len(outcomes) < 8 {
		t.Error("too little has happened to prove anything")
	}

	sitetest.Eventually(t, "all exchanges are closed", func() bool { return openExchangeCount() == 0 })
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, visitor := range s.visitors {
		switch visitor := visitor.(type) {
		case io.Closer:
			visitor.Close()
		case interface{ CloseIdleConnections() }:
			visitor.CloseIdleConnections()
		}
	}
	for _, u := range upstreams {
		sitetest.Eventually(t, "all connections to the upstream are closed", u.IsIdle)
		u.Close()
	}
	var leaked error
	defer func() {
		if leaked != nil {
			t.Error(leaked)
		}
	}()
	// A QUIC connection whose last packet got lost stays until it has been idle for 30 s.
	sitetest.Within(t, 30*time.Second+sitetest.Patience, "all goroutines have ended", func() bool {
		leaked = goleak.Find(before,
			// Caddy's own, which end by themselves.
			goleak.IgnoreAnyFunction("github.com/DeRuina/timberjack.(*Logger).millRun"),
			goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
		return leaked == nil
	})
}

// serveOnce starts Caddy and stops it.
func serveOnce(tb testing.TB) {
	tb.Helper()
	sitetest.New(tb, "").Reload("respond hello")
	if err := caddy.Stop(); err != nil {
		tb.Fatal(err)
	}
}

// handleAt returns a handle block with a chat at path that asks endpoint.
func handleAt(path, endpoint, subdirectives string) string {
	return fmt.Sprintf("handle %s {\nillumichat {\ntoken %s\nassistants %s\nendpoint %s\n%s\n}\n}\n",
		path, sandbox.Token, sandbox.Assistant, endpoint, subdirectives)
}

// keepReloading reloads a site until stop is called, which returns the number of reloads.
func keepReloading(s *sitetest.Site, directives string) (stop func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int)
	go func() {
		pause := 100 * time.Millisecond
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				done <- n
				return
			case <-time.After(pause):
				start := time.Now()
				s.Reload(directives)
				// Otherwise, on a busy machine, no request on a kept connection would get through between two reloads.
				pause = max(pause, 5*time.Since(start))
			}
		}
	}()
	return func() int {
		cancel()
		return <-done
	}
}
