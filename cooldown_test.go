package illumichat

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// Chats share a limiter, in virtual time. One is answered 429 and begins a cool-down; others come during it and at its end.
func TestCoolDownOfChats(t *testing.T) {
	const second = time.Second
	synctest.Test(t, func(t *testing.T) {
		limiter := newFakeLimiter(newHandler(t, ""))
		chat := func(answers ...fakeAnswer) *fakeChat {
			return &fakeChat{subdirectives: "retry {\nbackoff 1s 4s\n}", answers: answers, limiter: limiter}
		}
		refused := func(when string, least, most int) {
			t.Helper()
			c := chat(accepted())
			c.run(t)
			if len(c.tries) != 0 {
				t.Errorf("%s: the upstream was asked", when)
			}
			c.checkError(t, http.StatusTooManyRequests, "rate_limit:chat")
			sitetest.CheckRetryAfter(t, c.visitor.header, []int{least, most})
		}

		limited := chat(refusing(429, "Retry-After", "10"))
		limited.run(t)
		limited.checkError(t, http.StatusTooManyRequests, "their_code:chat")
		sitetest.CheckRetryAfter(t, limited.visitor.header, []int{10, 10})

		refused("at once", 10, 10)
		time.Sleep(9*second + second/2)
		refused("just before its end", 1, 1)
		time.Sleep(second / 2)

		// When the cool-down has elapsed, one chat is the probe. An answer to the probe ends the cool-down for all chats.
		var wg sync.WaitGroup
		probe := chat(fakeAnswer{wait: 5 * second, steps: []step{{data: sitetest.Delta}, {wait: 5 * second, data: sitetest.Finish}}})
		wg.Go(func() { probe.run(t) })
		synctest.Wait()
		refused("while the probe runs", 1, 1)
		time.Sleep(5*second - time.Nanosecond)
		refused("while it has no answer", 1, 1)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		others := []*fakeChat{chat(accepted()), chat(accepted())}
		for _, c := range others {
			c.run(t)
			c.checkStream(t, sitetest.Delta+sitetest.Finish, "")
		}
		wg.Wait()
		probe.checkStream(t, sitetest.Delta+sitetest.Finish, "")

		// Chats that the upstream asks to wait for a short time do so. They lose no attempt by waiting for one another.
		var chats []*fakeChat
		for range 10 {
			c := chat(refusing(429, "Retry-After", "2"), refusing(500), accepted())
			chats = append(chats, c)
			wg.Go(func() { c.run(t) })
			time.Sleep(time.Millisecond) // so each gets its 429 while the others are asking or waiting
		}
		wg.Wait()
		asked := 0
		for _, c := range chats {
			if len(c.tries) > 0 {
				asked++
				c.checkStream(t, sitetest.Delta+sitetest.Finish, "")
			} else {
				c.checkError(t, http.StatusTooManyRequests, "rate_limit:chat")
			}
		}
		if asked == 0 {
			t.Error("nobody was asked for")
		}
	})
}

// If several requests are under way when the first of them gets a 429, each waits for its own pause. Then all follow the probe.
func TestCoolDownOfChatsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := newFakeLimiter(newHandler(t, ""))
		var wg sync.WaitGroup
		chats := make([]*fakeChat, 20)
		for i := range chats {
			limited := refusing(429, "Retry-After", "2")
			limited.wait = time.Second + time.Duration(i)*time.Millisecond
			chats[i] = &fakeChat{subdirectives: "retry {\nattempts 2\n}", answers: []fakeAnswer{limited, accepted()}, limiter: limiter}
		}
		chats[0].run(t)
		time.Sleep(time.Hour)
		for _, c := range chats[1:] {
			wg.Go(func() { c.run(t) })
		}
		wg.Wait()
		first := time.Duration(0)
		for i, c := range chats {
			c.checkStream(t, sitetest.Delta+sitetest.Finish, "")
			if len(c.tries) != 2 {
				t.Fatalf("chat %d was tried %d times", i, len(c.tries))
			}
			if i > 0 && (first == 0 || c.tries[1].at < first) {
				first = c.tries[1].at
			}
		}
		for i, c := range chats[1:] {
			if c.tries[1].at > first+time.Second {
				t.Errorf("chat %d asked again after %v, the first one after %v", i+1, c.tries[1].at, first)
			}
		}
		// The last chat's cool-down applies to all.
		if want := 3*time.Second + 19*time.Millisecond; first != want {
			t.Errorf("the first one asked again after %v, want %v", first, want)
		}
	})
}

// If the probe gets no answer, the next request is the probe.
func TestCoolDownWhenTheFirstLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := newFakeLimiter(newHandler(t, ""))
		first, err := limiter.Admit(make(http.Header), limit.Request{Assistant: sandbox.Assistant}, nil)
		if err != nil {
			t.Fatal(err)
		}
		first.CoolDown(time.Second)
		first.Leave()
		time.Sleep(time.Second)
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		gone := fakeChat{answers: []fakeAnswer{{wait: time.Hour}}, ctx: ctx, limiter: limiter}
		gone.run(t)
		broken := fakeChat{subdirectives: sitetest.Once, answers: []fakeAnswer{{err: errReset}}, limiter: limiter}
		broken.run(t)
		broken.checkError(t, http.StatusBadGateway, "bad_gateway:upstream")
		next := fakeChat{limiter: limiter, answers: []fakeAnswer{accepted()}}
		next.run(t)
		next.checkStream(t, sitetest.Delta+sitetest.Finish, "")
	})
}

// A handler that fails to load releases nothing that other handlers use.
func TestCleanupAfterAFailure(t *testing.T) {
	setConfigEnv(t)
	before, err := provision(t, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provision(t, `"transport": {"protocol": "fastcgi"}`); err == nil {
		t.Fatal("it was loaded")
	}
	open := openExchange(t, before, &discard{make(http.Header)})
	defer open.admission.Leave()
	defer open.close()
	after, err := provision(t, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := after.limiter.Status().Open; got != 1 {
		t.Errorf("the next handler sees %d open chats, want 1", got)
	}
}
