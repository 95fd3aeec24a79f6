package illumichat

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
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// serveTwice serves a site with the same directives in this process and in another one.
func serveTwice(t *testing.T, directives string) (a, b *site) {
	t.Helper()
	b = newSite(t, behindProxy)
	runCaddy(t, b, directives)
	return serveWith(t, behindProxy, directives), b
}

func TestLimitOfInstances(t *testing.T) {
	upstream := newUpstream(t, finishing)
	a, b := serveTwice(t, chatToURL(upstream.URL, storeIn(redistest.Start(t))+"\nlimit 4 1h\nlimit 5 1h site"))
	wantLetIn(t, a.askAs("192.0.2.1", hello), `"client";r=3;t=_`)
	wantLetIn(t, b.askAs("192.0.2.1", hello), `"client";r=2;t=_`)
	wantLetIn(t, b.askAs("192.0.2.1", hello), `"client";r=1;t=_`)
	wantLetIn(t, a.askAs("192.0.2.1", hello), `"client";r=0;t=_`)
	for _, s := range []*site{a, b} {
		resp := s.askAs("192.0.2.1", hello)
		if wait := wantUsedUp(t, resp, `"client";r=0;t=_`); wait < 900 || wait > 4500 { // a quarter of the next hour has to pass
			t.Errorf("got Retry-After: %d", wait)
		}
		if got, want := resp.Header.Get("RateLimit"), `"client";r=0;t=`+resp.Header.Get("Retry-After"); got != want {
			t.Errorf("got RateLimit: %s, want %s", got, want)
		}
	}
	wantLetIn(t, a.askAs("192.0.2.2", hello), `"client";r=3;t=_`)
	wantUsedUp(t, b.askAs("192.0.2.3", hello), `"client";r=4`)
	wantTold(t, b, "warn", "is used up", 1)
	if got := len(upstream.take()); got != 5 {
		t.Errorf("the upstream was asked %d times, want 5", got)
	}
}

// However many ask at once, and whom, no more are let in than there is room for.
func TestAdmissionsAtOnceAtInstances(t *testing.T) {
	upstream := newUpstream(t, finishing)
	const requests, limit = 100, 50
	a, b := serveTwice(t, chatToURL(upstream.URL, storeIn(redistest.Start(t))+fmt.Sprintf("\nlimit %d 24h site", limit)))
	transport := &http.Transport{MaxConnsPerHost: 10}
	t.Cleanup(transport.CloseIdleConnections)
	var wg sync.WaitGroup
	for i := range requests {
		wg.Go(func() {
			resp, err := transport.RoundTrip(chatRequest(t, []*site{a, b}[i%2].plain, hello))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			readAll(t, resp)
		})
	}
	wg.Wait()
	if got := len(upstream.take()); got != limit {
		t.Errorf("the upstream was asked %d times, want %d", got, limit)
	}
	eventually(t, "all slots are free", func() bool { return takenSlots() == 0 })
}

// What does not reach the upstream does not count, and the client is told so.
func TestWhatDoesNotCountInRedis(t *testing.T) {
	s := serve(t, chatToURL(fmt.Sprintf("http://127.0.0.1:%d", localhost.Port(t)), storeIn(redistest.Start(t))+"\nlimit 2 1h\n"+once))
	for range 3 {
		resp := s.ask(hello)
		wantError(t, resp, http.StatusBadGateway, "bad_gateway:upstream")
		wantLeft(t, resp, `"client";r=2`)
	}
}

// A client's chats at all instances take up its slots. Whoever comes back to another instance than the one that writes the
// answer needs no second one.
func TestMaxStreamsPerClientOfInstances(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	a, b := serveTwice(t, chatTo(server, storeIn(redistest.Start(t))+"\nresume\nmax_streams_per_client 1"))
	full := func(resp *http.Response) {
		t.Helper()
		wantError(t, resp, http.StatusTooManyRequests, "rate_limit:chat")
		checkRetryAfter(t, resp.Header, []int{1, 1})
	}
	first := a.ask(saying("/drip 80 10ms /events 1000"))
	id := first.Header.Get(headerStream)
	full(a.ask(hello))
	full(b.ask(hello))
	full(b.askAs("127.0.0.1", hello))
	other := b.askAs("192.0.2.1", hello)
	wantLetIn(t, other, "")

	var back []*http.Response
	for range listenersOfSlot {
		resp := b.goOn(t, id, 0)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("who comes back gets status %d", resp.StatusCode)
		}
		back = append(back, resp)
	}
	full(b.goOn(t, id, 0))
	back[0].Body.Close()
	var again *http.Response
	eventually(t, "a seat is free", func() bool {
		again = b.goOn(t, id, 0)
		return again.StatusCode == http.StatusOK
	})
	again.Body.Close()
	back[1].Body.Close()

	b.request(t, http.MethodDelete, map[string]string{headerStream: id}, "")
	onlyFinish(t, readAll(t, first))
	eventually(t, "the slot is free at the other instance", func() bool {
		resp := b.ask(hello)
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// When an answer is over, its visitor can ask any instance at once.
func TestSlotsAreFreeAtOnce(t *testing.T) {
	for name, subdirectives := range map[string]string{"": "", "who can come back": "resume\n"} {
		t.Run(name, func(t *testing.T) {
			upstream := newUpstream(t, finishing)
			a, b := serveTwice(t, chatToURL(upstream.URL, storeIn(redistest.Start(t))+"\n"+subdirectives+"max_streams_per_client 1"))
			for i := range 40 {
				wantLetIn(t, []*site{a, b}[i%2].ask(hello), "")
			}
		})
	}
}

func TestCoolDownOfInstances(t *testing.T) {
	begin, end := make(chan struct{}), make(chan struct{})
	upstream := newUpstream(t, byMessage(map[string]http.HandlerFunc{
		"Hello":   finishing,
		"limited": answering(http.StatusTooManyRequests, "", "Retry-After", "2"),
		"slow": func(w http.ResponseWriter, _ *http.Request) {
			<-begin
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, delta)
			_ = http.NewResponseController(w).Flush()
			<-end
			_, _ = io.WriteString(w, finish)
		},
	}))
	a, b := serveTwice(t, chatToURL(upstream.URL, storeIn(redistest.Start(t))+"\n"+once))
	refused := func(s *site) {
		t.Helper()
		resp := s.ask(hello)
		wantError(t, resp, http.StatusTooManyRequests, "rate_limit:chat")
		checkRetryAfter(t, resp.Header, []int{1, 2})
	}
	wantLetIn(t, b.ask(hello), "")
	start := time.Now()
	wantError(t, a.ask(saying("limited")), http.StatusTooManyRequests, "rate_limit:upstream")
	asked := len(upstream.take())
	for range 3 {
		refused(a)
		refused(b)
	}
	if n := len(upstream.take()); n != 0 {
		t.Errorf("the upstream was asked %d times during the cool-down, after %d", n, asked)
	}

	// At its end one goes alone, wherever that comes, and those at the other instance wait for it.
	var alone *http.Response
	done := make(chan struct{})
	go func() {
		defer close(done)
		for alone == nil {
			resp, err := oneShot.RoundTrip(chatRequest(t, a.plain, saying("slow")))
			if err != nil {
				t.Error(err)
				return
			}
			if resp.StatusCode == http.StatusOK {
				alone = resp
			} else {
				resp.Body.Close()
				time.Sleep(10 * time.Millisecond)
			}
		}
	}()
	eventually(t, "one goes alone", func() bool { return len(upstream.take()) == 1 })
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("the upstream was asked after %s", took)
	}
	for range 3 {
		refused(a)
		refused(b)
	}
	close(begin)
	<-done
	if alone == nil {
		t.FailNow()
	}
	defer alone.Body.Close()
	for range 2 { // while its answer goes on
		wantLetIn(t, b.ask(hello), "")
		wantLetIn(t, a.ask(hello), "")
	}
	close(end)
	onlyFinish(t, readAll(t, alone))
}

// Without Redis, each instance counts for itself, what it has let in before included; nobody waits for long. When it is back,
// they count together again.
func TestCountingWhileRedisIsGone(t *testing.T) {
	upstream := newUpstream(t, finishing)
	server := redistest.Start(t)
	a, b := serveTwice(t, chatToURL(upstream.URL, storeIn(server)+"\nlimit 3 1h\nmax_streams_per_client 2"))
	wantLetIn(t, a.ask(hello), `"client";r=2;t=_`)
	wantLetIn(t, a.ask(hello), `"client";r=1;t=_`)

	server.Pause()
	for range 3 {
		start := time.Now()
		if resp := b.askAs("192.0.2.1", hello); resp.StatusCode != http.StatusOK {
			t.Errorf("got status %d", resp.StatusCode)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("a chat took %s", took)
		}
	}
	wantUsedUp(t, b.askAs("192.0.2.1", hello), `"client";r=0;t=_`)
	server.Resume()
	server.Kill()

	wantLetIn(t, b.ask(hello), `"client";r=2;t=_`)
	wantLetIn(t, a.ask(hello), `"client";r=0;t=_`)
	wantUsedUp(t, a.ask(hello), `"client";r=0;t=_`)
	wantLetIn(t, b.ask(hello), `"client";r=1;t=_`)

	server.Run()
	client := 0
	eventually(t, "they count together", func() bool {
		client++
		who := fmt.Sprintf("198.51.100.%d", client)
		readAll(t, a.askAs(who, hello))
		return strings.HasPrefix(b.askAs(who, hello).Header.Get("RateLimit"), `"client";r=1;`)
	})
	wantLetIn(t, a.ask(hello), `"client";r=2;t=_`) // Redis has forgotten all
}

// A Redis that never was there keeps nobody from chatting.
func TestCountingWithoutAnyRedis(t *testing.T) {
	upstream := newUpstream(t, finishing)
	s := serve(t, chatToURL(upstream.URL, "store redis {\naddress unix//nowhere\n}\nresume\nlimit 2 1h\nmax_streams_per_client 1"))
	start := time.Now()
	wantLetIn(t, s.ask(hello), `"client";r=1;t=_`)
	wantLetIn(t, s.ask(hello), `"client";r=0;t=_`)
	wantUsedUp(t, s.ask(hello), `"client";r=0;t=_`)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("three chats took %s", took)
	}
}

// Only what a machine can bear is counted by each instance.
func TestMaxStreamsOfInstances(t *testing.T) {
	u := newHandUpstream(t)
	a, b := serveTwice(t, chatToURL(u.url, storeIn(redistest.Start(t))+"\nmax_streams 1\nlimit 4 1h"))
	one := converse(t, u, oneShot, chatRequest(t, a.plain, hello))
	for range 5 { // which are not counted
		wantError(t, a.ask(hello), http.StatusServiceUnavailable, "overloaded:chat")
	}
	two := converse(t, u, oneShot, chatRequest(t, b.plain, hello))
	if left := two.response.Header.Get("RateLimit"); !strings.HasPrefix(left, `"client";r=2;`) {
		t.Errorf("got RateLimit: %s", left)
	}
	one.finish(t)
	two.finish(t)
}

// A visitor who is still reading what the upstream has long sent takes up the client's slot at all instances.
func TestSlowListenerHasASlotInRedis(t *testing.T) {
	long := strings.Repeat(`data: "`+strings.Repeat("x", 8000)+"\"\n\n", 5000) + finish
	s := serve(t, chatToURL(serveAnswer(t, long), storeIn(redistest.Start(t))+"\nmax_streams_per_client 1\nresume {\nmax_size 90MiB\nmax_total 90MiB\n}"))
	slow := s.ask(hello)
	eventually(t, "the upstream has sent all", func() bool { return openExchangeCount() == 0 && takenSlots() == 1 })
	wantError(t, s.ask(hello), http.StatusTooManyRequests, "rate_limit:chat")
	onlyFinish(t, readAll(t, slow))
	again := s.ask(hello)
	if again.StatusCode != http.StatusOK {
		t.Errorf("got status %d when the slot is free", again.StatusCode)
	}
	again.Body.Close()
	eventually(t, "the slots are free", func() bool { return takenSlots() == 0 })
}

// Tries that are repeated keep to a cool-down that another instance has been told of.
func TestRetriesDuringACoolDownOfAnother(t *testing.T) {
	var limited, asked atomic.Int64
	upstream := newUpstream(t, byMessage(map[string]http.HandlerFunc{
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
	a, b := serveTwice(t, chatToURL(upstream.URL, storeIn(redistest.Start(t))+"\nretry {\nattempts 4\nbackoff 500ms 2s\n}"))
	answered := make(chan *http.Response)
	go func() { answered <- b.ask(saying("flaky")) }()
	eventually(t, "the first try is made", func() bool { return asked.Load() == 1 })
	wantError(t, a.ask(saying("limited")), http.StatusTooManyRequests, "rate_limit:upstream")
	wantError(t, <-answered, http.StatusTooManyRequests, "rate_limit:chat")
	if limited.Load() != 1 || asked.Load() != 1 {
		t.Errorf("the upstream was asked %d times more", asked.Load()-1)
	}
}

// Whoever still reads an answer that is complete has their slot even if the config comes and goes.
func TestReadingWhileTheConfigIsReplaced(t *testing.T) {
	long := strings.Repeat(`data: "`+strings.Repeat("x", 8000)+"\"\n\n", 5000) + finish
	directives := chatToURL(serveAnswer(t, long), storeIn(redistest.Start(t))+"\nmax_streams_per_client 1\nresume {\nmax_size 90MiB\nmax_total 90MiB\n}")
	s := serve(t, directives)
	reading := s.ask(hello)
	eventually(t, "the upstream has sent all", func() bool { return openExchangeCount() == 0 && takenSlots() == 1 })
	s.reload("respond gone")
	if takenSlots() != 1 {
		t.Errorf("%d slots are taken", takenSlots())
	}
	s.reload(directives)
	wantError(t, s.ask(hello), http.StatusTooManyRequests, "rate_limit:chat")
	onlyFinish(t, readAll(t, reading))
	eventually(t, "the slot is free", func() bool {
		resp := s.ask(hello)
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}
