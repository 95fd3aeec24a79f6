package illumichat

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/internal/upstream"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// Retry-After is the smallest number of whole seconds after which a chat is admitted.
func TestLimitInVirtualTime(t *testing.T) {
	for _, limit := range []Limit{
		{Requests: 1, Window: 1}, {Requests: 4, Window: 10}, {Requests: 7, Window: 60}, {Requests: 20, Window: 3600}, {Requests: 1000, Window: 7},
	} {
		t.Run(fmt.Sprintf("%d in %ds", limit.Requests, limit.Window), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHandlerOfItsOwn(t, fmt.Sprintf("limit %d %ds", limit.Requests, limit.Window))
				chat := func() (status, wait int) {
					c := fakeChat{handler: h, answers: []fakeAnswer{accepted()}}
					c.run(t)
					wait, _ = strconv.Atoi(c.visitor.header.Get("Retry-After"))
					return c.visitor.status, wait
				}
				time.Sleep(1234567 * time.Microsecond)
				for range limit.Requests {
					if status, _ := chat(); status != http.StatusOK {
						t.Fatalf("got status %d", status)
					}
				}
				for range 50 {
					status, wait := chat()
					if status == http.StatusOK {
						continue // there was room for more than one
					}
					if status != http.StatusTooManyRequests || wait < 1 {
						t.Fatalf("got status %d and a wait of %d s", status, wait)
					}
					time.Sleep(time.Duration(wait-1) * time.Second)
					if wait > 1 {
						if status, again := chat(); status != http.StatusTooManyRequests || again != 1 {
							t.Fatalf("a second before: got status %d and a wait of %d s", status, again)
						}
					}
					time.Sleep(time.Second)
					if status, _ := chat(); status != http.StatusOK {
						t.Fatalf("after the wait: got status %d", status)
					}
				}
			})
		})
	}
}

// If several limits are used up, Retry-After is the longest wait, whatever the order of the limits.
func TestTheLongestWaitIsTold(t *testing.T) {
	for _, limits := range []string{"limit 1 1m\nlimit 1 1h site", "limit 1 1h site\nlimit 1 1m"} {
		synctest.Test(t, func(t *testing.T) {
			h := newHandlerOfItsOwn(t, limits)
			for range 2 {
				c := fakeChat{handler: h, answers: []fakeAnswer{accepted()}}
				c.run(t)
				if len(c.tries) == 0 {
					sitetest.CheckRetryAfter(t, c.visitor.header, []int{7200, 7200})
				} else if h.limiter.Status().Open != 0 {
					t.Error("the slot is not given back")
				}
			}
		})
	}
}

// missingToken returns the source of a token whose file no longer exists.
func missingToken(t *testing.T) upstream.TokenSource {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	sitetest.WriteFile(t, file, sandbox.Token)
	source, err := upstream.NewTokenSource("{file." + file + "}")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	return source
}

// A chat that is the probe of a cool-down passes its turn on if it makes no attempt. When its answer ends, it does not end the
// turn of a later probe.
func TestCoolDownWithLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandlerOfItsOwn(t, "limit 3 1h\nmax_streams 2\nheartbeat off")
		chat := func(answers ...fakeAnswer) *fakeChat { return &fakeChat{handler: h, answers: answers} }
		admit := func() *limit.Admission {
			a, err := h.limiter.Admit(make(http.Header), limit.Request{Client: "other", Assistant: sandbox.Assistant}, []string{"other"})
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		others := []*limit.Admission{admit(), admit()}
		coolDown := func() {
			others[0].CoolDown(time.Second)
			time.Sleep(time.Second)
		}

		// The first chat is not admitted.
		coolDown()
		refused := chat()
		refused.run(t)
		refused.checkError(t, http.StatusServiceUnavailable, "overloaded:chat")
		others[0].Leave()
		others[1].Leave()

		// The next chat has no token.
		token := h.exchanges.token
		h.exchanges.token = missingToken(t)
		unable := chat()
		unable.run(t)
		unable.checkError(t, http.StatusBadGateway, "unauthorized:upstream")
		h.exchanges.token = token

		// This chat is the probe, and its answer takes long.
		long := chat(accepted(step{data: sitetest.Delta}, step{wait: 20 * time.Second, data: sitetest.Finish}))
		var wg sync.WaitGroup
		wg.Go(func() { long.run(t) })
		synctest.Wait()
		if len(long.tries) != 1 {
			t.Fatal("it did not get its turn")
		}
		// In the meantime another chat is the probe, and its answer takes longer.
		coolDown()
		probe := chat(fakeAnswer{wait: 25 * time.Second, status: 500}, accepted())
		wg.Go(func() { probe.run(t) })
		synctest.Wait()
		time.Sleep(time.Until(long.visitor.start.Add(21 * time.Second)))
		synctest.Wait()
		other := chat()
		other.run(t) // the turn is still taken, although the first probe's answer has ended
		other.checkError(t, http.StatusTooManyRequests, "rate_limit:chat")
		sitetest.CheckRetryAfter(t, other.visitor.header, []int{1, 1})
		wg.Wait()
		long.checkStream(t, sitetest.Delta+sitetest.Finish, "")
	})
}

// A chat counts once, however many attempts it takes and however they end.
func TestWhatCountsOnce(t *testing.T) {
	for what, answers := range map[string][]fakeAnswer{
		"tries that fail":             {refusing(500), refusing(503), accepted()},
		"an error":                    {refusing(400)},
		"a connection that breaks":    {{err: errReset}, {err: errReset}, {err: errReset}},
		"an answer that breaks":       {accepted(step{data: sitetest.Delta}, step{err: errReset})},
		"an answer without an event":  {accepted(step{err: errReset}), accepted(step{err: errReset}), accepted(step{err: errReset})},
		"a try that takes long":       {{wait: time.Hour}},
		"a token that is refused":     {refusing(401)},
		"an upstream that is limited": {refusing(429, "Retry-After", "1"), accepted()},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHandlerOfItsOwn(t, "limit 5 24h")
				c := fakeChat{handler: h, answers: answers}
				c.run(t)
				if len(c.tries) != len(answers) {
					t.Errorf("there were %d tries, want %d", len(c.tries), len(answers))
				}
				if got := h.limiter.Status(); got.Open != 0 || got.Clients != 0 {
					t.Errorf("%d chats of %d clients are open", got.Open, got.Clients)
				}
				next := fakeChat{handler: h, answers: []fakeAnswer{accepted()}}
				next.run(t)
				if left := next.visitor.header.Get("RateLimit"); !strings.HasPrefix(left, `"client";r=3;`) {
					t.Errorf("%s is left, want 3 of 5", left)
				}
			})
		})
	}
}

// A slot is released even if a writer around the handler panics.
func TestPanicsGiveSlotsBack(t *testing.T) {
	h := newHandlerOfItsOwn(t, "limit 10 1h")
	defer func() {
		if recover() == nil {
			t.Error("there was no panic")
		}
		if got := h.limiter.Status().Open; got != 0 {
			t.Errorf("%d chats are open", got)
		}
	}()
	c := fakeChat{handler: h, answers: []fakeAnswer{accepted()}}
	c.visitor.block = func([]byte) error { panic("a writer around the handler") }
	c.run(t)
}
