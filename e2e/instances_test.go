package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// serveTwice serves two sites with the same directives, one in this process and one in another.
func serveTwice(t *testing.T, directives string) (a, b *sitetest.Site) {
	t.Helper()
	b = sitetest.New(t, sitetest.BehindProxy)
	sitetest.Run(t, b, directives)
	return sitetest.ServeWith(t, sitetest.BehindProxy, directives), b
}

// Instances that share a Redis count a limit together.
func TestLimitOfInstances(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	a, b := serveTwice(t, sitetest.ChatToURL(upstream.URL, storeIn(redistest.Start(t))+"\nlimit 4 1h\nlimit 5 1h site"))
	wantLetIn(t, a.AskAs("192.0.2.1", sitetest.Hello), `"client";r=3;t=_`)
	wantLetIn(t, b.AskAs("192.0.2.1", sitetest.Hello), `"client";r=2;t=_`)
	wantLetIn(t, b.AskAs("192.0.2.1", sitetest.Hello), `"client";r=1;t=_`)
	wantLetIn(t, a.AskAs("192.0.2.1", sitetest.Hello), `"client";r=0;t=_`)
	for _, s := range []*sitetest.Site{a, b} {
		resp := s.AskAs("192.0.2.1", sitetest.Hello)
		if wait := wantUsedUp(t, resp, `"client";r=0;t=_`); wait < 900 || wait > 4500 { // a quarter of the next hour has to pass
			t.Errorf("got Retry-After: %d", wait)
		}
		if got, want := resp.Header.Get("RateLimit"), `"client";r=0;t=`+resp.Header.Get("Retry-After"); got != want {
			t.Errorf("got RateLimit: %s, want %s", got, want)
		}
	}
	wantLetIn(t, a.AskAs("192.0.2.2", sitetest.Hello), `"client";r=3;t=_`)
	wantUsedUp(t, b.AskAs("192.0.2.3", sitetest.Hello), `"client";r=4`)
	wantTold(t, b, "warn", "is used up", 1)
	if got := len(upstream.Take()); got != 5 {
		t.Errorf("the upstream was asked %d times, want 5", got)
	}
}

// However many chats come at once, at whichever instance, no more are let in than the limit allows.
func TestAdmissionsAtOnceAtInstances(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	const requests, limit = 100, 50
	a, b := serveTwice(t, sitetest.ChatToURL(upstream.URL, storeIn(redistest.Start(t))+fmt.Sprintf("\nlimit %d 24h site", limit)))
	transport := &http.Transport{MaxConnsPerHost: 10}
	t.Cleanup(transport.CloseIdleConnections)
	var wg sync.WaitGroup
	for i := range requests {
		wg.Go(func() {
			resp, err := transport.RoundTrip(sitetest.ChatRequest(t, []*sitetest.Site{a, b}[i%2].Plain, sitetest.Hello))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			sitetest.ReadAll(t, resp)
		})
	}
	wg.Wait()
	if got := len(upstream.Take()); got != limit {
		t.Errorf("the upstream was asked %d times, want %d", got, limit)
	}
	sitetest.Eventually(t, "all slots are free", func() bool { return takenSlots() == 0 })
}

// A chat that does not reach the upstream does not count, and its RateLimit field says so.
func TestWhatDoesNotCountInRedis(t *testing.T) {
	s := sitetest.Serve(t, sitetest.ChatToURL(fmt.Sprintf("http://127.0.0.1:%d", localhost.Port(t)), storeIn(redistest.Start(t))+"\nlimit 2 1h\n"+sitetest.Once))
	for range 3 {
		resp := s.Ask(sitetest.Hello)
		sitetest.WantError(t, resp, http.StatusBadGateway, "bad_gateway:upstream")
		wantLeft(t, resp, `"client";r=2`)
	}
}

// A client's chats at all instances together take up its slots. The first two listeners to an answer at another
// instance need no slot of their own.
func TestMaxStreamsPerClientOfInstances(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	a, b := serveTwice(t, sitetest.ChatTo(server, storeIn(redistest.Start(t))+"\nresume\nmax_streams_per_client 1"))
	full := func(resp *http.Response) {
		t.Helper()
		sitetest.WantError(t, resp, http.StatusTooManyRequests, "rate_limit:chat")
		sitetest.CheckRetryAfter(t, resp.Header, []int{1, 1})
	}
	first := a.Ask(sitetest.Saying("/drip 80 10ms /events 1000"))
	id := first.Header.Get("Illumichat-Stream")
	full(a.Ask(sitetest.Hello))
	full(b.Ask(sitetest.Hello))
	full(b.AskAs("127.0.0.1", sitetest.Hello))
	other := b.AskAs("192.0.2.1", sitetest.Hello)
	wantLetIn(t, other, "")

	var back []*http.Response
	for range 2 {
		resp := b.GoOn(t, id, 0)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("who comes back gets status %d", resp.StatusCode)
		}
		back = append(back, resp)
	}
	full(b.GoOn(t, id, 0))
	back[0].Body.Close()
	var again *http.Response
	sitetest.Eventually(t, "a slot is free", func() bool {
		again = b.GoOn(t, id, 0)
		return again.StatusCode == http.StatusOK
	})
	again.Body.Close()
	back[1].Body.Close()

	b.Request(t, http.MethodDelete, map[string]string{"Illumichat-Stream": id}, "")
	sitetest.OnlyFinish(t, sitetest.ReadAll(t, first))
	sitetest.Eventually(t, "the slot is free at the other instance", func() bool {
		resp := b.Ask(sitetest.Hello)
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// When an answer is over, its visitor can ask any instance at once.
func TestSlotsAreFreeAtOnce(t *testing.T) {
	for name, subdirectives := range map[string]string{"": "", "who can come back": "resume\n"} {
		t.Run(name, func(t *testing.T) {
			upstream := sitetest.NewUpstream(t, sitetest.Finishing)
			a, b := serveTwice(t, sitetest.ChatToURL(upstream.URL, storeIn(redistest.Start(t))+"\n"+subdirectives+"max_streams_per_client 1"))
			for i := range 40 {
				wantLetIn(t, []*sitetest.Site{a, b}[i%2].Ask(sitetest.Hello), "")
			}
		})
	}
}

// Instances share an assistant's cool-down. At its end one chat goes ahead, and the others with this assistant wait at
// every instance until it has an answer. Chats with another assistant do not wait.
func TestCoolDownOfInstances(t *testing.T) {
	begin, end := make(chan struct{}), make(chan struct{})
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(map[string]http.HandlerFunc{
		"Hello":   sitetest.Finishing,
		"limited": sitetest.Answering(http.StatusTooManyRequests, "", "Retry-After", "2"),
		"slow": func(w http.ResponseWriter, _ *http.Request) {
			<-begin
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, sitetest.Delta)
			_ = http.NewResponseController(w).Flush()
			<-end
			_, _ = io.WriteString(w, sitetest.Finish)
		},
	}))
	a, b := serveTwice(t, sitetest.ChatToURL(upstream.URL, storeIn(redistest.Start(t))+"\nalias sales asst_sales\n"+sitetest.Once))
	refused := func(s *sitetest.Site) {
		t.Helper()
		resp := s.Ask(sitetest.Hello)
		sitetest.WantError(t, resp, http.StatusTooManyRequests, "rate_limit:chat")
		sitetest.CheckRetryAfter(t, resp.Header, []int{1, 2})
	}
	wantLetIn(t, b.Ask(sitetest.Hello), "")
	start := time.Now()
	sitetest.WantError(t, a.Ask(sitetest.Saying("limited")), http.StatusTooManyRequests, "rate_limit:upstream")
	asked := len(upstream.Take())
	for range 3 {
		refused(a)
		refused(b)
	}
	if n := len(upstream.Take()); n != 0 {
		t.Errorf("the upstream was asked %d times during the cool-down, after %d", n, asked)
	}

	for _, s := range []*sitetest.Site{b, a} {
		wantLetIn(t, s.Ask(asking("sales", "Hello")), "")
	}
	upstream.Take()

	// At the end of the cool-down one chat goes ahead, at whichever instance. The chats at both instances wait until it
	// has an answer.
	var probe *http.Response
	done := make(chan struct{})
	go func() {
		defer close(done)
		for probe == nil {
			resp, err := sitetest.OneShot.RoundTrip(sitetest.ChatRequest(t, a.Plain, sitetest.Saying("slow")))
			if err != nil {
				t.Error(err)
				return
			}
			if resp.StatusCode == http.StatusOK {
				probe = resp
			} else {
				resp.Body.Close()
				time.Sleep(10 * time.Millisecond)
			}
		}
	}()
	sitetest.Eventually(t, "the probe goes", func() bool { return len(upstream.Take()) == 1 })
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("the upstream was asked after %s", took)
	}
	for _, s := range []*sitetest.Site{a, b} {
		for range 3 {
			refused(s)
		}
		wantLetIn(t, s.Ask(asking("sales", "Hello")), "")
	}
	close(begin)
	<-done
	if probe == nil {
		t.FailNow()
	}
	defer probe.Body.Close()
	for range 2 { // while the first answer goes on
		wantLetIn(t, b.Ask(sitetest.Hello), "")
		wantLetIn(t, a.Ask(sitetest.Hello), "")
	}
	close(end)
	sitetest.OnlyFinish(t, sitetest.ReadAll(t, probe))
}

// Without Redis, each instance counts for itself, including the chats that it let in before, and no chat waits for
// long. When Redis is back, the instances count together again.
func TestCountingWhileRedisIsGone(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	server := redistest.Start(t)
	a, b := serveTwice(t, sitetest.ChatToURL(upstream.URL, storeIn(server)+"\nlimit 3 1h\nmax_streams_per_client 2"))
	wantLetIn(t, a.Ask(sitetest.Hello), `"client";r=2;t=_`)
	wantLetIn(t, a.Ask(sitetest.Hello), `"client";r=1;t=_`)

	server.Pause()
	for range 3 {
		start := time.Now()
		if resp := b.AskAs("192.0.2.1", sitetest.Hello); resp.StatusCode != http.StatusOK {
			t.Errorf("got status %d", resp.StatusCode)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("a chat took %s", took)
		}
	}
	wantUsedUp(t, b.AskAs("192.0.2.1", sitetest.Hello), `"client";r=0;t=_`)
	server.Resume()
	server.Kill()

	wantLetIn(t, b.Ask(sitetest.Hello), `"client";r=2;t=_`)
	wantLetIn(t, a.Ask(sitetest.Hello), `"client";r=0;t=_`)
	wantUsedUp(t, a.Ask(sitetest.Hello), `"client";r=0;t=_`)
	wantLetIn(t, b.Ask(sitetest.Hello), `"client";r=1;t=_`)

	server.Run()
	client := 0
	sitetest.Eventually(t, "they count together", func() bool {
		client++
		who := fmt.Sprintf("198.51.100.%d", client)
		sitetest.ReadAll(t, a.AskAs(who, sitetest.Hello))
		return strings.HasPrefix(b.AskAs(who, sitetest.Hello).Header.Get("RateLimit"), `"client";r=1;`)
	})
	wantLetIn(t, a.Ask(sitetest.Hello), `"client";r=2;t=_`) // Redis has lost its data
}

// Chats are answered and counted even if Redis could never be reached.
func TestCountingWithoutAnyRedis(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "store redis {\naddress unix//nowhere\n}\nresume\nlimit 2 1h\nmax_streams_per_client 1"))
	start := time.Now()
	wantLetIn(t, s.Ask(sitetest.Hello), `"client";r=1;t=_`)
	wantLetIn(t, s.Ask(sitetest.Hello), `"client";r=0;t=_`)
	wantUsedUp(t, s.Ask(sitetest.Hello), `"client";r=0;t=_`)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("three chats took %s", took)
	}
}

// Each instance counts max_streams for itself, because it bounds what one machine can bear.
func TestMaxStreamsOfInstances(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	a, b := serveTwice(t, sitetest.ChatToURL(u.URL, storeIn(redistest.Start(t))+"\nmax_streams 1\nlimit 4 1h"))
	one := sitetest.Converse(t, u, sitetest.OneShot, sitetest.ChatRequest(t, a.Plain, sitetest.Hello))
	for range 5 { // refused chats do not count
		sitetest.WantError(t, a.Ask(sitetest.Hello), http.StatusServiceUnavailable, "overloaded:chat")
	}
	two := sitetest.Converse(t, u, sitetest.OneShot, sitetest.ChatRequest(t, b.Plain, sitetest.Hello))
	if left := two.Response.Header.Get("RateLimit"); !strings.HasPrefix(left, `"client";r=2;`) {
		t.Errorf("got RateLimit: %s", left)
	}
	one.Finish(t)
	two.Finish(t)
}

// A visitor who still reads after the upstream has finished takes up the client's slot at all instances.
func TestSlowListenerHasASlotInRedis(t *testing.T) {
	long := strings.Repeat(`data: "`+strings.Repeat("x", 8000)+"\"\n\n", 5000) + sitetest.Finish
	s := sitetest.Serve(t, sitetest.ChatToURL(serveAnswer(t, long), storeIn(redistest.Start(t))+"\nmax_streams_per_client 1\nresume {\nmax_size 90MiB\nmax_total 90MiB\n}"))
	slow := s.Ask(sitetest.Hello)
	sitetest.Eventually(t, "the upstream has sent all", func() bool { return openExchangeCount() == 0 && takenSlots() == 1 })
	sitetest.WantError(t, s.Ask(sitetest.Hello), http.StatusTooManyRequests, "rate_limit:chat")
	sitetest.OnlyFinish(t, sitetest.ReadAll(t, slow))
	again := s.Ask(sitetest.Hello)
	if again.StatusCode != http.StatusOK {
		t.Errorf("got status %d when the slot is free", again.StatusCode)
	}
	again.Body.Close()
	sitetest.Eventually(t, "the slots are free", func() bool { return takenSlots() == 0 })
}

// A chat is not sent upstream again during a cool-down that began at another instance.
func TestRetriesDuringACoolDownOfAnother(t *testing.T) {
	var limited, asked atomic.Int64
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(map[string]http.HandlerFunc{
		"limited": func(w http.ResponseWriter, _ *http.Request) {
			limited.Add(1)
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		},
		"flaky": func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
		},
	}))
	a, b := serveTwice(t, sitetest.ChatToURL(upstream.URL, storeIn(redistest.Start(t))+"\nretry {\nattempts 4\nbackoff 500ms 2s\n}"))
	answered := make(chan *http.Response)
	go func() { answered <- b.Ask(sitetest.Saying("flaky")) }()
	sitetest.Eventually(t, "the first try is made", func() bool { return asked.Load() == 1 })
	sitetest.WantError(t, a.Ask(sitetest.Saying("limited")), http.StatusTooManyRequests, "rate_limit:upstream")
	sitetest.WantError(t, <-answered, http.StatusTooManyRequests, "rate_limit:chat")
	if limited.Load() != 1 || asked.Load() != 1 {
		t.Errorf("the upstream was asked %d times more", asked.Load()-1)
	}
}

// A visitor who still reads a complete answer keeps the slot, even if the chat is removed from the config and added
// again.
func TestReadingWhileTheConfigIsReplaced(t *testing.T) {
	long := strings.Repeat(`data: "`+strings.Repeat("x", 8000)+"\"\n\n", 5000) + sitetest.Finish
	directives := sitetest.ChatToURL(serveAnswer(t, long), storeIn(redistest.Start(t))+"\nmax_streams_per_client 1\nresume {\nmax_size 90MiB\nmax_total 90MiB\n}")
	s := sitetest.Serve(t, directives)
	reading := s.Ask(sitetest.Hello)
	sitetest.Eventually(t, "the upstream has sent all", func() bool { return openExchangeCount() == 0 && takenSlots() == 1 })
	s.Reload("respond gone")
	s.Reload(directives)
	sitetest.WantError(t, s.Ask(sitetest.Hello), http.StatusTooManyRequests, "rate_limit:chat")
	sitetest.OnlyFinish(t, sitetest.ReadAll(t, reading))
	sitetest.Eventually(t, "the slot is free", func() bool {
		resp := s.Ask(sitetest.Hello)
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}
