package redisstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	runtimemetrics "runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/store"
)

// seedName is the environment variable with the seed of random choices.
const seedName = "ILLUMICHAT_TEST_SEED"

// newRandom returns random numbers that depend on the seed and on a name.
func newRandom(name string) *rand.Rand {
	seed, _ := strconv.ParseUint(os.Getenv(seedName), 10, 64)
	sum := uint64(14695981039346656037)
	for _, c := range []byte(name) {
		sum = (sum ^ uint64(c)) * 1099511628211
	}
	return rand.New(rand.NewPCG(seed, sum))
}

// rig is two instances that share a Redis, and visitors who check what they get.
type rig struct {
	t         *testing.T
	instances [2]*redisStore
	server    *redistest.Server    // the Redis, or the one that will fail
	relays    [2]*redistest.Relay  // between each instance and the server; nil: they connect to it
	outage    bool                 // Redis cannot be reached while it fails
	shards    int                  // about how many ids one has to try so that all shards work
	spared    func(id string) bool // reports whether the fault does not concern a stream; nil: it concerns all

	visitors sync.WaitGroup
	lag      atomic.Int64 // how late this machine was at most, in nanoseconds
	live     atomic.Int64 // bytes that were live in memory at most

	mu    sync.Mutex
	took  map[string]time.Duration // the longest time that each kind of call took
	tally map[string]int           // what visitors got
	wrong map[string]int           // errors that were told, so that one of a kind is enough
}

// relayed returns a rig whose instances reach a server through a relay each.
func relayed(t *testing.T, server *redistest.Server, config func(address string) string) *rig {
	t.Helper()
	r := newRig(t, server)
	for i := range r.instances {
		r.relays[i] = redistest.StartRelay(t, server, 0)
		r.open(i, config(r.relays[i].Address))
	}
	return r
}

func newRig(t *testing.T, server *redistest.Server) *rig {
	return &rig{t: t, shards: 1, server: server, took: make(map[string]time.Duration), tally: make(map[string]int), wrong: make(map[string]int)}
}

// rigTerms are the terms of the answers.
var rigTerms = store.Terms{Grace: time.Minute, Keep: time.Minute, MaxSize: 16 << 20, MaxTotal: 64 << 20}

// open opens the instance with an index.
func (r *rig) open(i int, config string) {
	r.t.Helper()
	s := openLogged(r.t, config, zapcore.NewNopCore())
	s.countTime = callTimeout // a busy machine may need more than a visitor waits
	r.instances[i] = s
}

// watch measures until ctx ends how late this machine is, and how much memory is in use.
func (r *rig) watch(ctx context.Context) {
	const interval = 10 * time.Millisecond
	live := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for tick := time.NewTicker(interval); ctx.Err() == nil; {
		began := time.Now()
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		raise(&r.lag, int64(time.Since(began)-interval))
		runtimemetrics.Read(live)
		raise(&r.live, int64(live[0].Value.Uint64()))
	}
}

func raise(to *atomic.Int64, value int64) {
	for {
		old := to.Load()
		if value <= old || to.CompareAndSwap(old, value) {
			return
		}
	}
}

// note notes how long a call took.
func (r *rig) note(what string, began time.Time) {
	took := time.Since(began)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.took[what] = max(r.took[what], took)
}

// count counts what a visitor got.
func (r *rig) count(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally[what]++
}

// errorf fails the test. It prints only a few errors of one kind.
func (r *rig) errorf(format string, args ...any) {
	r.t.Helper()
	r.mu.Lock()
	r.wrong[format]++
	n := r.wrong[format]
	r.mu.Unlock()
	if n <= 3 {
		r.t.Errorf(format, args...)
	} else {
		r.t.Fail()
	}
}

// wantWithin checks the longest times of calls. A busy machine gets more time.
func (r *rig) wantWithin(limits map[string]time.Duration) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	lag := time.Duration(r.lag.Load())
	for what, limit := range limits {
		if took := r.took[what]; took > limit+slack+2*lag {
			r.t.Errorf("%s took %s, more than %s; the machine was late by %s", what, took, limit, lag)
		}
	}
}

// report logs what has happened.
func (r *rig) report() {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for what, n := range r.tally {
		lines = append(lines, fmt.Sprintf("%s: %d", what, n))
	}
	for what, took := range r.took {
		lines = append(lines, fmt.Sprintf("%s takes %s at most", what, took.Round(time.Millisecond)))
	}
	slices.Sort(lines)
	r.t.Logf("the machine was late by %s\n%s", time.Duration(r.lag.Load()).Round(time.Millisecond), strings.Join(lines, "\n"))
}

// answer is what a writer has written.
type answer struct {
	id   string
	at   int // the index of the instance that writes it
	name string

	restarts int32 // how often Redis has lost its data before

	mu   sync.Mutex
	all  []byte
	ends []int // where its events end
	sent int   // how many of them the store has
	over bool  // nothing follows
}

// add adds events at random, or a part of one. It returns the chunk.
func (a *answer) add(random *rand.Rand, most int) store.Chunk {
	a.mu.Lock()
	defer a.mu.Unlock()
	var chunk store.Chunk
	for range 1 + random.IntN(3) {
		size := 10 + random.IntN(most)
		if random.IntN(20) == 0 {
			size *= 20
		}
		chunk.Data = fmt.Appendf(chunk.Data, "data: %s %d %s\n\n", a.name, len(a.ends)+1, strings.Repeat("x", size))
		chunk.Ends = append(chunk.Ends, len(chunk.Data))
		a.ends = append(a.ends, len(a.all)+len(chunk.Data))
	}
	a.all = append(a.all, chunk.Data...)
	return chunk
}

func (a *answer) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
}

// events returns how many events the store has.
func (a *answer) events() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sent
}

// appended notes that the store has all events.
func (a *answer) appended() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent = len(a.ends)
}

// from returns what follows an event, and whether it is over.
func (a *answer) from(after int) ([]byte, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case after == 0:
		return a.all, a.over
	case after > len(a.ends):
		return nil, a.over
	}
	return a.all[a.ends[after-1]:], a.over
}

// write writes an answer until ctx ends or somebody stops it. It then ends the answer.
func (r *rig) write(ctx context.Context, a *answer, source store.Source, random *rand.Rand, pause time.Duration) {
	source.Open(http.Header{})
	var rest store.Chunk
	next := time.NewTimer(0)
	for ctx.Err() == nil && source.Context().Err() == nil && len(rest.Data) == 0 {
		select {
		case <-next.C:
			began := time.Now()
			rest = appendTo(source, a.add(random, 200), random)
			r.note("an append", began)
			if len(rest.Data) == 0 {
				a.appended()
			}
			next.Reset(time.Duration(random.Int64N(int64(pause))))
		case <-ctx.Done():
		case <-source.Context().Done():
		}
	}
	if len(rest.Data) == 0 {
		rest = a.add(random, 200)
	}
	a.end()
	began := time.Now()
	source.Finish(rest, store.End{Reason: a.name})
	r.note("the end", began)
	a.appended()
}

// appendTo appends a chunk, at random in two parts. It returns what it cannot append because the stream's context has
// ended.
func appendTo(source store.Source, chunk store.Chunk, random *rand.Rand) (rest store.Chunk) {
	if cut := 1 + random.IntN(len(chunk.Data)-1); random.IntN(5) == 0 && !slices.Contains(chunk.Ends, cut) {
		n, _ := slices.BinarySearch(chunk.Ends, cut)
		part := store.Chunk{Data: chunk.Data[:cut], Ends: chunk.Ends[:n], Torn: true}
		if source.Append(context.Background(), part) != nil {
			return chunk
		}
		rest := store.Chunk{Data: chunk.Data[cut:]}
		for _, end := range chunk.Ends[n:] {
			rest.Ends = append(rest.Ends, end-cut)
		}
		chunk = rest
	}
	if source.Append(context.Background(), chunk) != nil {
		return chunk
	}
	return store.Chunk{}
}

// hear reads a stream to its end. What it gets must be what one of the answers has after an event, or the first part of
// that if the rest is lost. It returns nil, store.ErrLost, or a failure.
func (r *rig) hear(who string, l store.Listener, after int, answers func() []*answer) error {
	defer l.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), 4*patience)
	defer cancel()
	got, wrong := 0, make(map[*answer]string) // how many bytes there are, and in which answers they are not
	for heard := time.Now(); ; {
		l.Header()
		piece, err := l.Read()
		if err != nil || len(piece.Data) > 0 {
			r.note("the silence for "+who, heard)
			heard = time.Now()
		}
		for _, a := range answers() {
			if want, _ := a.from(after); wrong[a] == "" && !bytes.HasPrefix(want[min(got, len(want)):], piece.Data) {
				wrong[a] = fmt.Sprintf("%.60q instead of %.60q after %d bytes", piece.Data, want[min(got, len(want)):], got)
			}
		}
		got += len(piece.Data)
		if err != nil {
			return r.judge(who, got, err, l, after, answers(), wrong)
		}
		if err := l.Wait(ctx); err != nil {
			r.errorf("%s waits after %d bytes: %v", who, got, err)
			return err
		}
	}
}

// judge checks what a listener got.
func (r *rig) judge(who string, got int, err error, l store.Listener, after int, answers []*answer, wrong map[*answer]string) error {
	if _, failed := errors.AsType[*store.Failed](err); failed {
		return err
	}
	lost := errors.Is(err, store.ErrLost)
	if err != io.EOF && !lost {
		r.errorf("%s gets %v", who, err)
		return err
	}
	for _, a := range answers {
		if wrong[a] == "" && lost {
			return store.ErrLost
		}
		if want, over := a.from(after); wrong[a] == "" && over && len(want) == got && l.End().Reason == a.name {
			return nil
		}
	}
	want, over := answers[0].from(after)
	r.errorf("%s gets %v after %d bytes of %d, which is over: %v; wrong: %s", who, err, got, len(want), over, wrong[answers[0]])
	return err
}

// settles checks that nothing is left in memory of what was written and heard.
func (r *rig) settles() {
	r.t.Helper()
	for i, s := range r.instances {
		eventually(r.t, fmt.Sprintf("nothing waits for Redis at instance %d", i), func() bool {
			s.replicator.mu.Lock()
			defer s.replicator.mu.Unlock()
			return len(s.replicator.replicas) == 0 && s.replicator.held == 0
		})
		eventually(r.t, fmt.Sprintf("nothing is followed at instance %d", i), func() bool { return len(s.following.all()) == 0 })
	}
}

// works checks that both instances work together: each finds what the other writes, an id is claimed once, and limits
// are counted together.
func (r *rig) works() error {
	for range r.shards {
		if err := r.worksWith(newInstance()); err != nil {
			return err
		}
	}
	a, b := r.instances[0], r.instances[1]
	limit := store.Limit{Key: newInstance(), Window: year, Requests: 2}
	for n, s := range []*redisStore{a, b, a} {
		decision, err := s.Reserve(newEntry("", 0, limit))
		if err != nil || (decision.Reservation != nil) != (n < 2) {
			return fmt.Errorf("request %d gets %+v and %w", n+1, decision, err)
		}
	}
	return nil
}

// worksWith checks that both instances work together with an id.
func (r *rig) worksWith(id string) error {
	a, b := r.instances[0], r.instances[1]
	for i := range 2 {
		source, first := a.Create(id+strconv.Itoa(i), store.Meta{}, rigTerms)
		source.Open(http.Header{})
		ctx, cancel := context.WithTimeout(r.t.Context(), callTimeout)
		err := awaitHeader(ctx, first)
		cancel()
		if err == nil {
			_, err = b.Find(r.t.Context(), id+strconv.Itoa(i))
		}
		source.Finish(store.Chunk{}, store.End{})
		first.Close()
		if err != nil {
			return fmt.Errorf("finding at %d: %w", 1-i, err)
		}
		a, b = b, a
	}
	source, first, taken := a.Claim(id, store.Meta{}, rigTerms, nil)
	if taken != nil {
		return errors.New("an id is taken")
	}
	other, firstOfOther, taken := b.Claim(id, store.Meta{}, rigTerms, nil)
	if other != nil {
		other.Fail(nil)
		firstOfOther.Close()
	}
	source.Fail(nil)
	first.Close()
	if taken == nil {
		return errors.New("an id is claimed twice")
	}
	return nil
}

func awaitHeader(ctx context.Context, l store.Listener) error {
	for l.Header() == nil {
		if err := l.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}
