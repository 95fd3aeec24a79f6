package e2e

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// writeElsewhere opens an answer that an instance in a process of its own writes. It waits until the answer is known at
// another instance.
func writeElsewhere(t *testing.T, u *sitetest.HandUpstream, redis *redistest.Server, there *sitetest.Site) *sitetest.Conversation {
	t.Helper()
	here := sitetest.New(t, "")
	sitetest.Run(t, here, sitetest.ChatToURL(u.URL, keptIn(redis)))
	asked := sitetest.Converse(t, u, sitetest.OneShot, sitetest.ChatRequest(t, here.Plain, sitetest.Hello))
	awaitAt(t, &instance{Site: there}, asked.Response.Header.Get("Illumichat-Stream"), 0).Body.Close()
	return asked
}

// listenOver opens a listener to an answer over each protocol.
func listenOver(t *testing.T, there *sitetest.Site, asked *sitetest.Conversation) map[string]*sitetest.Conversation {
	t.Helper()
	back := make(map[string]*sitetest.Conversation)
	for proto, transport := range sitetest.Protocols(t) {
		resp := comeBackOver(t, there, transport, asked.Response.Header.Get("Illumichat-Stream"))
		back[proto] = &sitetest.Conversation{Response: resp, Visitor: bufio.NewReader(resp.Body), Upstream: asked.Upstream, Events: 1}
		back[proto].Hear(t, sitetest.Numbered(1))
	}
	return back
}

// A reload at the instance of a listener ends the stream of a listener over HTTP/3 shortly before the grace period ends,
// and no other. The answer goes on at the other instance.
func TestReloadTellsListenersOfAnotherInstance(t *testing.T) {
	u, redis := sitetest.NewHandUpstream(t), redistest.Start(t)
	directives := sitetest.ChatToURL(u.URL, keptIn(redis))
	there := sitetest.ServeWith(t, "grace_period 1s", directives)
	asked := writeElsewhere(t, u, redis, there)
	back := listenOver(t, there, asked)
	there.Reload("header X-Config newer\n" + directives)
	reloaded := time.Now()
	back["HTTP/3.0"].IsShutDown(t, "HTTP/3.0")
	if took := time.Since(reloaded); took > time.Second+sitetest.Patience/10 {
		t.Errorf("it is told after %s", took)
	}
	asked.Step(t)
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		back[proto].Hear(t, sitetest.Numbered(2))
	}
	again := there.GoOn(t, asked.Response.Header.Get("Illumichat-Stream"), 1)
	asked.Finish(t)
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		if rest, err := io.ReadAll(back[proto].Visitor); err != nil || sitetest.AnyID.ReplaceAllString(string(rest), "") != sitetest.Finish {
			t.Errorf("%s: the listener gets %q, %v", proto, rest, err)
		}
	}
	if got := sitetest.AnyID.ReplaceAllString(sitetest.ReadAll(t, again), ""); got != sitetest.Numbered(2)+sitetest.Finish {
		t.Errorf("who comes back gets %q", got)
	}
}

// A listener at another instance gets a finish before the server's own write timeout would cut the stream.
func TestHardWriteDeadlineOfListenersElsewhere(t *testing.T) {
	u, redis := sitetest.NewHandUpstream(t), redistest.Start(t)
	there := serveWithDeadline(t, "write 3s", "log\n"+sitetest.ChatToURL(u.URL, keptIn(redis)))
	asked := writeElsewhere(t, u, redis, there)
	var wg sync.WaitGroup
	for proto, transport := range sitetest.Protocols(t) {
		wg.Go(func() {
			began := time.Now()
			resp := comeBackOver(t, there, transport, asked.Response.Header.Get("Illumichat-Stream"))
			if finish := sitetest.OnlyFinish(t, sitetest.ReadAll(t, resp)); finish.Code != "max_duration:upstream" || finish.FinishReason != "error" {
				t.Errorf("%s: got the finish %+v", proto, finish)
			}
			if took := time.Since(began); took < time.Second || took > 3*time.Second {
				t.Errorf("%s: it came after %s", proto, took)
			}
		})
	}
	wg.Wait()
	asked.Step(t)
	asked.Finish(t)
}

// A listener at another instance has a slot there, and is none of its chats.
func TestListenersElsewhereAreNoChats(t *testing.T) {
	u, redis := sitetest.NewHandUpstream(t), redistest.Start(t)
	there := sitetest.Serve(t, sitetest.ChatToURL(u.URL, keptIn(redis)))
	asked := writeElsewhere(t, u, redis, there)
	sitetest.Eventually(t, "nobody listens", func() bool { return takenSlots() == 0 })
	back := listenOver(t, there, asked)
	if chats, slots := openExchangeCount(), takenSlots(); chats != 0 || slots != 3 {
		t.Errorf("there are %d chats and %d slots, want 0 and 3", chats, slots)
	}
	asked.Finish(t)
	for proto, stream := range back {
		if finish := sitetest.OnlyFinish(t, sitetest.ReadAll(t, &http.Response{Body: io.NopCloser(stream.Visitor)})); finish.FinishReason != "stop" {
			t.Errorf("%s: got the finish %+v", proto, finish)
		}
	}
	sitetest.Eventually(t, "nothing is left", func() bool { return openExchangeCount() == 0 && takenSlots() == 0 })
}

// Listeners at another instance who read slowly, or not at all, do not hold their slots for longer than max_duration or
// write_timeout.
func TestSlowListenersElsewhere(t *testing.T) {
	const resume = "resume {\nmax_size 20MiB\nmax_total 40MiB\n}\n"
	// It is shorter than what may wait for Redis after its end, and longer than what the connections hold.
	const events = 1900
	answer := strings.Repeat(`data: "`+strings.Repeat("x", 8000)+"\"\n\n", events) + sitetest.Finish
	for name, tc := range map[string]struct {
		subdirectives string
		bound         time.Duration
		read          func(io.Reader) (string, error) // nil: they do not read until they are given up
	}{
		"slow": {"max_duration 2s", 2 * time.Second, func(body io.Reader) (string, error) { return atPace(body, 80*time.Millisecond) }},
		"deaf": {"write_timeout 1s", time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			redis := redistest.Start(t)
			url := serveAnswer(t, answer)
			here := sitetest.New(t, "")
			sitetest.Run(t, here, sitetest.ChatToURL(url, resume+storeIn(redis)))
			there := sitetest.Serve(t, sitetest.ChatToURL(url, tc.subdirectives+"\nmax_streams 3\n"+resume+storeIn(redis)))
			first := here.Ask(sitetest.Hello)
			id := first.Header.Get("Illumichat-Stream")
			if got := sitetest.ReadAll(t, first); len(got) < len(answer) {
				t.Fatalf("who asked got %d bytes", len(got))
			}
			awaitAt(t, &instance{Site: there}, id, events).Body.Close()
			sitetest.Eventually(t, "nobody listens", func() bool { return takenSlots() == 0 })
			begun := time.Now()
			var listeners []*http.Response
			for range 3 {
				resp := there.GoOn(t, id, 0)
				if resp.StatusCode != http.StatusOK {
					t.Fatalf("a listener gets status %d", resp.StatusCode)
				}
				listeners = append(listeners, resp)
			}
			sitetest.WantError(t, there.GoOn(t, id, 0), http.StatusServiceUnavailable, "overloaded:chat")
			sitetest.WantError(t, there.Ask(sitetest.Hello), http.StatusServiceUnavailable, "overloaded:chat")
			var wg sync.WaitGroup
			for _, resp := range listeners {
				if tc.read == nil {
					continue
				}
				wg.Go(func() {
					got, err := tc.read(resp.Body)
					if last := sitetest.OnlyFinish(t, got[max(0, len(got)-20_000):]); err != nil || last.Code != "max_duration:upstream" {
						t.Errorf("got %v and the finish %+v", err, last)
					}
				})
			}
			sitetest.Eventually(t, "the slots are free", func() bool { return takenSlots() == 0 })
			if took := time.Since(begun); took > tc.bound+1500*time.Millisecond {
				t.Errorf("the slots were taken for %s", took)
			}
			wg.Wait() // the connections still hold a part of the answer
			if tc.read == nil {
				for _, resp := range listeners {
					if _, err := io.ReadAll(resp.Body); err == nil {
						t.Error("the answer looks complete to a listener")
					}
				}
			}
		})
	}
}

// atPace reads an answer in pieces of 80 KB, with a pause after each.
func atPace(body io.Reader, pause time.Duration) (string, error) {
	var got strings.Builder
	piece := make([]byte, 80<<10)
	for next := time.NewTicker(pause); ; <-next.C {
		n, err := io.ReadFull(body, piece)
		got.Write(piece[:n])
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return got.String(), nil
		default:
			return got.String(), err
		}
	}
}
