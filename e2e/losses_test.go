package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// lossy is an upstream for visitors who lose their connections at random. It knows each question by its text, and is slow
// or refuses it as a seed says.
type lossy struct {
	*sitetest.Upstream
	mu      sync.Mutex
	answers map[string]int // how often each question was answered
	tries   map[string]int // how often it was asked
}

const lossyEvents = 40

// lossyRefusals are the answers to a question's first attempt, by the remainder of the question's number.
var lossyRefusals = map[int]http.HandlerFunc{
	1: sitetest.Answering(http.StatusServiceUnavailable, ""),                  // a pause follows
	2: sitetest.Answering(http.StatusTooManyRequests, "", "Retry-After", "1"), // a cool-down follows
	3: sitetest.Breaking(func(http.ResponseWriter, *http.Request) {}),         // no answer
}

func newLossy(t *testing.T) *lossy {
	t.Helper()
	u := &lossy{answers: make(map[string]int), tries: make(map[string]int)}
	ask := sitetest.ByMessageFunc(func(text string) http.HandlerFunc {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.tries[text]++
		var seed uint64
		_, _ = fmt.Sscanf(text, "question %d", &seed)
		if refusal, ok := lossyRefusals[int(seed%8)]; ok && u.tries[text] == 1 {
			return refusal
		}
		u.answers[text]++
		return lossyAnswer(seed)
	})
	u.Upstream = sitetest.NewUpstream(t, ask)
	return u
}

// lossyAnswer sends events with random pauses, a longer one before the response headers and before the first event.
func lossyAnswer(seed uint64) http.HandlerFunc {
	random := rand.New(rand.NewPCG(seed, 7))
	return func(w http.ResponseWriter, r *http.Request) {
		pause := func(most time.Duration) { time.Sleep(rand.N(most)) }
		pause(40 * time.Millisecond)
		w.Header().Set("Content-Type", "text/event-stream")
		control := http.NewResponseController(w)
		_ = control.Flush()
		pause(40 * time.Millisecond)
		for n := 1; n < lossyEvents; n++ {
			_, _ = io.WriteString(w, sitetest.Numbered(n))
			if random.IntN(3) == 0 {
				_ = control.Flush()
				pause(8 * time.Millisecond)
			}
		}
		_, _ = io.WriteString(w, sitetest.Finish)
	}
}

// loseAtRandom has visitors lose their connections at random, at least a thousand times in all: before the response
// headers, in pauses, within the answer and at its end. Each time, the page repeats its POST. Every question must be
// answered once, and every answer must be complete.
func loseAtRandom(t *testing.T, u *lossy, assistants int, url func() string) {
	t.Helper()
	const questions = 6
	var losses atomic.Int32
	var wg sync.WaitGroup
	for visitor := range assistants {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(visitor), 11))
			for n := range questions {
				q := newQuestion()
				q.chat = fmt.Sprintf(`{"assistantId":"asst_%d","messages":[{"role":"user","content":"question %d"}]}`, visitor, visitor*questions+n)
				losses.Add(int32(askLosing(t, q, random, url)))
			}
		})
	}
	wg.Wait()
	if n := losses.Load(); n < 1000 {
		t.Errorf("%d connections were lost", n)
	} else {
		t.Logf("%d connections were lost", n)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.answers) != assistants*questions {
		t.Errorf("%d questions were answered", len(u.answers))
	}
	for text, n := range u.answers {
		if n != 1 {
			t.Errorf("%q was answered %d times", text, n)
		}
	}
}

// askLosing asks a question until its answer is complete, over connections that are lost after a random time. It returns
// how many were lost.
func askLosing(t *testing.T, q question, random *rand.Rand, url func() string) (losses int) {
	all := ""
	for end := time.Now().Add(2 * sitetest.Patience); ; {
		if time.Now().After(end) {
			t.Errorf("%s is not answered: %d events after %d losses", q.chat, q.last, losses)
			return losses
		}
		status, got, whole := q.try(t.Context(), url(), time.Duration(random.IntN(60))*time.Millisecond)
		all += got
		q.last += strings.Count(got, "\n\n")
		switch {
		case !whole:
			losses++
		case status == http.StatusOK, status == http.StatusNoContent:
			sitetest.OnlyFinish(t, all)
			if n := strings.Count(withoutIDs(t, all, q.id, 1), "\n\n"); n != lossyEvents {
				t.Errorf("%s has %d of %d events", q.chat, n, lossyEvents)
			}
			return losses
		case status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable && status != http.StatusBadGateway:
			t.Errorf("%s got status %d: %s", q.chat, status, got)
			return losses
		default:
			all = strings.TrimSuffix(all, got)
			q.last = strings.Count(all, "\n\n")
		}
	}
}

// try sends the question over a connection that is lost after the given time. It returns the complete events that it has
// read, and whether the answer was whole.
func (q question) try(ctx context.Context, url string, lost time.Duration) (status int, got string, whole bool) {
	ctx, cancel := context.WithTimeout(ctx, lost)
	defer cancel()
	resp, err := sitetest.OneShot.RoundTrip(q.request(ctx, url))
	if err != nil {
		return 0, "", false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		return resp.StatusCode, string(body), true
	}
	events := strings.SplitAfter(string(body), "\n\n")
	return resp.StatusCode, strings.Join(events[:len(events)-1], ""), false // without an event that is torn
}

// lossyChat returns the directive of a chat with an assistant for each visitor, because a cool-down is an assistant's.
func lossyChat(u *lossy, assistants int, subdirectives string) string {
	var ids strings.Builder
	for n := range assistants {
		fmt.Fprintf(&ids, " asst_%d", n)
	}
	return strings.Replace(sitetest.ChatToURL(u.URL, "retry {\nbackoff 100ms\n}\n"+subdirectives), "assistants asst_demo", "assistants"+ids.String(), 1)
}

const lossyVisitors = 40

// A thousand lost connections cost no question twice, and no answer an event.
func TestLossesCostNothing(t *testing.T) {
	u := newLossy(t)
	s := sitetest.Serve(t, lossyChat(u, lossyVisitors, "resume"))
	loseAtRandom(t, u, lossyVisitors, func() string { return s.Plain })
	sitetest.Eventually(t, "nothing is left", func() bool { return openExchangeCount() == 0 && takenSlots() == 0 })
}

// The same holds where each request reaches another of three instances.
func TestLossesCostNothingAtInstances(t *testing.T) {
	u := newLossy(t)
	redis := redistest.Start(t)
	c := startCluster(t, redis, 3, lossyChat(u, lossyVisitors, keptIn(redis)))
	loseAtRandom(t, u, lossyVisitors, func() string { return c.instances[rand.IntN(3)].Plain })
}
