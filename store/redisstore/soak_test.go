package redisstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/store"
)

// soakName is the environment variable with the number of answers of the soak test.
const soakName = "ILLUMICHAT_TEST_SOAK"

// contest is the answers to one question. There is one, unless Redis cannot be reached for a second.
type contest struct {
	longest atomic.Int64 // how long a claim took at most

	mu      sync.Mutex
	answers []*answer
}

func (c *contest) add(a *answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers = append(c.answers, a)
}

func (c *contest) all() []*answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.answers)
}

// soakTerms are the terms of its answers.
var soakTerms = store.Terms{Grace: 300 * time.Millisecond, Keep: 3 * time.Second, MaxSize: 1 << 20, MaxTotal: 64 << 20}

// soak is the state of the soak test.
type soak struct {
	*rig
	restarts atomic.Int32 // how often Redis has begun to lose its data, or has lost it
}

// Thousands of answers are written, listened to, claimed at once, stopped and abandoned at two instances, while Redis
// fails at random. Nobody gets anything wrong, and nothing is left in the end.
func TestSoak(t *testing.T) {
	answers := 5000
	if testing.Short() {
		answers = 500
	}
	if value := os.Getenv(soakName); value != "" {
		answers, _ = strconv.Atoi(value)
	}
	before := goleak.IgnoreCurrent()
	used := heap()
	t.Run("answers", func(t *testing.T) {
		s := &soak{rig: relayed(t, redistest.Start(t), func(address string) string { return at(address) })}
		for _, instance := range s.instances {
			instance.countTime = countTime // so that calls fail, and their effects are unknown
		}
		s.run(answers)
	})
	var leaked error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if leaked = goleak.Find(before); leaked == nil {
			break
		}
	}
	if leaked != nil {
		t.Error(leaked)
	}
	if grown := heap() - used; grown > 8<<20 {
		t.Errorf("%d KiB more are in use", grown>>10)
	}
}

const soakClients = 20

func (s *soak) run(answers int) {
	t := s.t
	eventually(t, "Redis is up", func() bool { return s.works() == nil })
	ctx, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	others.Go(func() { s.watch(ctx) })
	var ids sync.Map
	var last atomic.Int64 // the number of the last answer that was begun
	others.Go(func() { s.trouble(ctx, &last, int64(answers)*2/3) })
	for range 48 {
		s.visitors.Go(func() {
			for n := last.Add(1); n <= int64(answers); n = last.Add(1) {
				ids.Store(s.answer(newRandom(fmt.Sprint("soak", n)), int(n)), nil)
			}
		})
	}
	s.visitors.Wait()
	stop()
	others.Wait()
	back := time.Now()
	eventually(t, "all works", func() bool { return s.works() == nil })
	s.note("the recovery", back)
	s.settles()
	s.wantNothingLeft(&ids)
	for i, relay := range s.relays {
		if n := relay.Peak(); n >= 20 {
			t.Errorf("instance %d has %d connections", i, n)
		}
	}
	s.wantWithin(map[string]time.Duration{
		"a claim": time.Second, "a look": callTimeout, "the header": announceTime, "an append": 0, "the end": 0,
		"the recovery": 2 * time.Second, "the end of an abandoned answer": soakTerms.Grace + 2*time.Second,
	})
	s.report()
}

// trouble lets Redis fail at random until ctx ends. Redis loses its data only until an answer with the given number is
// begun.
func (s *soak) trouble(ctx context.Context, last *atomic.Int64, restartUntil int64) {
	random := newRandom("trouble")
	wait := func(least, most int) {
		select {
		case <-time.After(time.Duration(least+random.IntN(most-least)) * time.Millisecond):
		case <-ctx.Done():
		}
	}
	for ctx.Err() == nil {
		wait(200, 1000)
		some := s.relays[:]
		if n := random.IntN(3); n < 2 {
			some = s.relays[n : n+1]
		}
		each := func(f func(*redistest.Relay)) {
			for _, relay := range some {
				f(relay)
			}
		}
		switch kind := random.IntN(10); {
		case kind < 3:
			s.count("trouble: connections are dropped")
			each((*redistest.Relay).Drop)
		case kind < 6:
			s.count("trouble: silence")
			each((*redistest.Relay).Pause)
			wait(300, 301)
			each((*redistest.Relay).Resume)
		case kind < 9 || last.Load() > restartUntil: // a late restart would hide what is left
			s.count("trouble: delay")
			each(func(r *redistest.Relay) { r.Delay(20 * time.Millisecond) })
			wait(300, 600)
			each(func(r *redistest.Relay) { r.Delay(0) })
		default:
			s.count("trouble: a restart without data")
			s.restarts.Add(1)
			s.server.Kill()
			s.server.Run()
			s.restarts.Add(1)
		}
	}
}

// answer lets an answer be asked for, written and listened to, all at random. It returns its id.
func (s *soak) answer(random *rand.Rand, n int) string {
	at := random.IntN(2)
	request := newEntry(fmt.Sprint("client", random.IntN(soakClients)), 1000, store.Limit{Key: "all", Window: year, Requests: 1 << 40})
	decision, err := s.instances[at].Reserve(request)
	if err == nil && decision.Reservation == nil {
		s.errorf("a request is refused: %+v", decision)
	}
	if decision.Reservation != nil {
		defer decision.Reservation.Release(random.IntN(4) > 0)
	}
	a := &answer{id: newInstance(), at: at, name: strconv.Itoa(n), restarts: s.restarts.Load()}
	c := new(contest)
	var source store.Source
	var first store.Listener
	var rivals sync.WaitGroup
	defer rivals.Wait()
	way := random.IntN(10)
	if way == 0 || random.IntN(2) == 0 { // an id is free again after a failure
		source, first = s.instances[at].Create(a.id, store.Meta{}, soakTerms)
	} else {
		seed := random.Uint64()
		for i := range random.IntN(3) {
			rivals.Go(func() { s.rival(rand.New(rand.NewPCG(seed, uint64(i))), a.id, c) })
		}
		defer func() {
			rivals.Wait()
			n, took := len(c.all()), time.Duration(c.longest.Load())
			switch {
			case n > 1 && a.restarts != s.restarts.Load():
				s.count("answers: begun twice, because Redis has forgotten the first")
			case n > 1 && took > claimTime*9/10:
				s.count("answers: begun twice, because Redis does not answer")
			case n > 1:
				s.errorf("an answer is begun %d times, after %s", n, took)
			}
		}()
		var taken store.Stream
		began := time.Now()
		source, first, taken = s.instances[at].Claim(a.id, store.Meta{}, soakTerms, nil)
		s.note("a claim", began)
		raise(&c.longest, int64(time.Since(began)))
		if taken != nil {
			s.count("answers: a rival was first")
			return a.id
		}
	}
	c.add(a)
	s.play(random, way, a, c, source, first)
	return a.id
}

// rival sends the same question, at any instance. A rival who is first gets a short answer. Another one may leave.
func (s *soak) rival(random *rand.Rand, id string, c *contest) {
	began := time.Now()
	at := random.IntN(2)
	source, first, taken := s.instances[at].Claim(id, store.Meta{}, soakTerms, nil)
	s.note("a claim", began)
	raise(&c.longest, int64(time.Since(began)))
	if taken == nil {
		a := &answer{id: id, at: at, name: newInstance()}
		c.add(a)
		ctx, cancel := context.WithCancel(s.t.Context())
		cancel()
		s.write(ctx, a, source, random, time.Millisecond)
		if s.hear("a rival", first, 0, func() []*answer { return []*answer{a} }) != nil {
			s.errorf("a rival loses something")
		}
		return
	}
	l, err := taken.Listen(0)
	if err != nil {
		s.count("rivals: an error")
		return
	}
	s.leave(l, time.Duration(random.IntN(200))*time.Millisecond)
}

// leave listens for some time.
func (s *soak) leave(l store.Listener, after time.Duration) {
	defer l.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), after)
	defer cancel()
	for ctx.Err() == nil {
		l.Header()
		if _, err := l.Read(); err != nil || l.Wait(ctx) != nil {
			return
		}
	}
}

// play lets an answer take one of the ways that there are.
func (s *soak) play(random *rand.Rand, way int, a *answer, c *contest, source store.Source, first store.Listener) {
	these := func() []*answer { return []*answer{a} }
	if way == 0 {
		s.count("answers: failed")
		source.Fail([]byte("a reason"))
		if err := s.hear("the one who asked", first, 0, these); err == nil {
			s.errorf("an answer that has failed is heard")
		}
		return
	}
	writing, end := context.WithCancel(s.t.Context())
	defer end()
	var all sync.WaitGroup
	defer all.Wait()
	written := make(chan struct{})
	writer := rand.New(rand.NewPCG(random.Uint64(), 1))
	go func() {
		defer close(written)
		s.write(writing, a, source, writer, 8*time.Millisecond)
	}()
	defer func() { <-written }()
	began := time.Now()
	header, cancel := context.WithTimeout(s.t.Context(), patience)
	if err := awaitHeader(header, first); err != nil {
		s.errorf("there is no header: %v", err)
	}
	s.note("the header", began)
	cancel()

	switch {
	case way < 3:
		s.count("answers: abandoned")
		first.Close()
		s.visit(random, a, c, false)
		began := time.Now()
		select {
		case <-source.Context().Done():
			if cause := context.Cause(source.Context()); !errors.Is(cause, store.ErrAbandoned) {
				s.errorf("an abandoned answer ends with %v", cause)
			}
		case <-time.After(patience):
			s.errorf("an abandoned answer goes on")
		}
		s.note("the end of an abandoned answer", began)
		return
	case way < 5:
		s.count("answers: stopped")
		i := random.IntN(2)
		all.Go(func() { s.stop(i, a, source) })
	default:
		s.count("answers: whole")
		lasting := time.Duration(20+random.IntN(200)) * time.Millisecond
		all.Go(func() {
			select {
			case <-time.After(lasting):
			case <-source.Context().Done():
				s.errorf("an answer with a listener ends: %v", context.Cause(source.Context()))
			}
			end()
		})
	}
	for range random.IntN(4) {
		visitor := rand.New(rand.NewPCG(random.Uint64(), 2))
		all.Go(func() {
			for range 1 + visitor.IntN(3) { // who comes back several times
				s.visit(visitor, a, c, visitor.IntN(2) == 0)
			}
		})
	}
	if s.hear("the one who asked", first, 0, these) != nil {
		s.errorf("the one who asked loses something")
	}
}

// visit listens to an answer at an instance at random, after an event at random, to its end or for some time.
func (s *soak) visit(random *rand.Rand, a *answer, c *contest, stays bool) {
	i, after := random.IntN(2), random.IntN(a.events()+1)
	began := time.Now()
	stream, err := s.instances[i].Find(s.t.Context(), a.id)
	s.note("a look", began)
	if err == nil {
		var l store.Listener
		if l, err = stream.Listen(int64(after)); err == nil {
			s.listen(random, a, c, l, i, after, stays)
			return
		}
	}
	switch {
	case err == io.EOF || errors.Is(err, store.ErrNotFound):
		s.count("visitors: " + err.Error())
	case i == a.at:
		s.errorf("at the writing instance, a visitor gets %v", err)
	default:
		s.count("visitors: an error")
	}
}

// listen listens to the end, or for some time.
func (s *soak) listen(random *rand.Rand, a *answer, c *contest, l store.Listener, i, after int, stays bool) {
	if stays {
		lost := s.hear("a listener", l, after, c.all) != nil
		switch {
		case lost && i == a.at:
			s.errorf("a listener at the writing instance loses something")
		case lost && a.restarts == s.restarts.Load():
			s.errorf("a listener elsewhere loses something, although Redis has its data")
		}
		s.count("visitors: " + outcomes[lost])
		return
	}
	s.count("visitors: they leave")
	s.leave(l, time.Duration(random.IntN(30))*time.Millisecond)
}

// stop stops an answer by an instance. If Redis loses the order, the answer is stopped where it is written.
func (s *soak) stop(i int, a *answer, source store.Source) {
	stream, err := s.instances[i].Find(s.t.Context(), a.id)
	if err == nil {
		err = stream.Stop(s.t.Context())
	}
	if err != nil {
		s.count("stops: " + strings.Split(err.Error(), ":")[0])
	} else {
		select {
		case <-source.Context().Done():
			s.count("stops: done")
			return
		case <-time.After(3 * time.Second):
			s.count("stops: lost")
			if a.restarts == s.restarts.Load() {
				s.errorf("a stop at instance %d of an answer at %d is lost, although Redis has its data", i, a.at)
			}
		}
	}
	if err := source.Stop(s.t.Context()); err != nil {
		s.errorf("it is not stopped where it is written: %v", err)
	}
}

// wantNothingLeft checks that no answer, no slot and no bookkeeping is left.
func (s *soak) wantNothingLeft(ids *sync.Map) {
	t := s.t
	for i, instance := range s.instances {
		n := 0
		ids.Range(func(id, _ any) bool {
			n++
			eventually(t, "an answer is gone", func() bool { _, err := instance.local.Find(t.Context(), id.(string)); return err != nil })
			return true
		})
		t.Logf("instance %d keeps none of %d answers", i, n)
		eventually(t, "nothing is remembered", func() bool {
			instance.counting.mu.Lock()
			defer instance.counting.mu.Unlock()
			return len(instance.counting.leftovers)+len(instance.counting.turns)+instance.counting.leaving == 0
		})
		eventually(t, "nobody is told of anything", func() bool {
			instance.orders.mu.Lock()
			defer instance.orders.mu.Unlock()
			return len(instance.orders.boxes) == 0
		})
		instance.claims.mu.Lock()
		if n := len(instance.claims.locks); n > 0 {
			t.Errorf("instance %d has %d locks", i, n)
		}
		instance.claims.mu.Unlock()
	}
	eventually(t, "no slot is taken", func() bool { return len(s.keysLike("*:client:*")) == 0 })
	for i := range soakClients {
		decision, err := s.instances[i%2].Reserve(newEntry(fmt.Sprint("client", i), 1))
		if err != nil || decision.Reservation == nil {
			t.Errorf("client %d has no slot: %+v, %v", i, decision, err)
			continue
		}
		decision.Reservation.Release(true)
	}
	bounds := map[string]time.Duration{":{": soakTerms.Keep + spare, "instances": time.Minute, "limit:": 2 * year, "request:": 10 * time.Second, "inbox": controlTime, "stops": controlTime}
	kept := 0
	for _, key := range s.keysLike("*") {
		var ttl int64
		_, _ = fmt.Sscanf(s.server.Do("PTTL", key), ":%d", &ttl)
		if ttl == -2 {
			continue // it has expired just now
		}
		most := time.Duration(0)
		for part, bound := range bounds {
			if strings.Contains(key, part) {
				most = max(most, bound)
			}
		}
		if left := time.Duration(ttl) * time.Millisecond; ttl == -1 || left > most {
			t.Errorf("%s is kept for %s", key, left)
		}
		kept++
	}
	t.Logf("Redis has %d keys, which will expire", kept)
}

// keysLike returns the keys that match a pattern.
func (s *soak) keysLike(pattern string) (keys []string) {
	for line := range strings.SplitSeq(s.server.Do("KEYS", pattern), "\r\n") {
		if line != "" && line[0] != '*' && line[0] != '$' {
			keys = append(keys, line)
		}
	}
	return keys
}
