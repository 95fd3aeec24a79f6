package redisstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/store"
)

// fault is a row of the matrix.
type fault struct {
	open func(*testing.T) *rig
	hit  func(*rig) // lets the fault happen, and returns when Redis answers again

	// What a visitor gets who has listened at another instance since before the fault. In any case, that is all events
	// once and in order, or the first of them and store.ErrLost.
	elsewhere promise

	// What a visitor gets who comes while the fault lasts. In any case, that is the answer or an error, soon.
	served bool // an answer that another instance writes is found
	once   bool // a question whose id the page has chosen is begun once
}

// promise is what listeners at another instance get.
type promise int

const (
	all   promise = iota // everything
	some                 // everything, or a part and store.ErrLost
	never                // a part and store.ErrLost
)

// faults are the rows of the matrix. Whatever happens, the visitor at the writing instance gets everything, nothing that
// an instance writes waits for Redis, no call takes much longer than a second, and two seconds after Redis is back all
// is as before.
var faults = map[string]fault{
	"nothing":                   {plainly, lasting(time.Second, nothingHappens), all, true, true},
	"TLS":                       {overTLS, lasting(time.Second, nothingHappens), all, true, true},
	"idle connections are shut": {plainly2("--timeout", "1"), lasting(4*time.Second, nothingHappens), all, true, true},
	"the clock goes back":       {withClock, goBack, all, true, true},

	"10 ms away":  {plainly, lasting(3*time.Second, delayed(10*time.Millisecond)), all, true, true},
	"100 ms away": {plainly, lasting(4*time.Second, delayed(100*time.Millisecond)), all, true, true},
	"300 ms away": {plainly, lasting(4*time.Second, delayed(300*time.Millisecond)), some, false, false},

	"silent for 2 s":                       {plainly, lasting(2*time.Second, silent), all, false, false},
	"silent for 2 s, and forgets who asks": {plainly, lasting(2*time.Second, cutOff), all, false, false},
	"silent for the writer":                {plainly, lasting(2*time.Second, cutOffOne(0)), all, false, false},
	"silent for the listener":              {plainly, lasting(2*time.Second, cutOffOne(1)), all, false, false},
	"silent for the writer for 5 s":        {plainly, lasting(5*time.Second, cutOffOne(0)), some, false, false},
	"drops connections":                    {plainly, dropAll, all, false, true},
	"drops connections with TLS":           {overTLS, dropAll, all, false, true},
	"connections go dead":                  {plainly, dead, all, false, true},

	"restarts with its data":       {plainly2("--appendonly", "yes", "--appendfsync", "always"), restart(0), all, false, true},
	"is gone for 2 s":              {plainly2("--appendonly", "yes", "--appendfsync", "always"), restart(2 * time.Second), all, false, false},
	"restarts with less data":      {plainly, restartWithLess, some, false, false},
	"restarts without data":        {plainly, restart(0), never, false, false},
	"is gone for 2 s and its data": {plainly, restart(2 * time.Second), never, false, false},

	"is full":         {plainly, lasting(2*time.Second, told("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0")), all, false, false},
	"is read-only":    {plainly, lasting(2*time.Second, told("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE")), all, false, false},
	"refuses XADD":    {plainly, lasting(2*time.Second, refusing("xadd")), all, false, false},
	"refuses XRANGE":  {plainly, lasting(2*time.Second, refusing("xrange")), all, false, false},
	"refuses XREAD":   {plainly, lasting(2*time.Second, refusing("xread")), all, true, true},
	"refuses EVAL":    {plainly, lasting(2*time.Second, refusing("@scripting")), all, false, false},
	"freezes":         {plainly, lasting(2*time.Second, frozen), all, false, false},
	"freezes for 6 s": {plainly, lasting(6*time.Second, frozen), never, false, false},

	"a Sentinel fails over":   {watched, failOver, some, false, false},
	"a replica takes over":    {clustered(true), takeOver, some, false, false},
	"a shard is dead for 3 s": {clustered(false), deadShard, all, false, false},
}

// plainly opens a rig with a Redis behind relays.
func plainly(t *testing.T) *rig { return plainly2()(t) }

func plainly2(options ...string) func(*testing.T) *rig {
	return func(t *testing.T) *rig {
		return relayed(t, redistest.Start(t, options...), func(address string) string { return at(address) })
	}
}

func overTLS(t *testing.T) *rig {
	server, certFile := redistest.StartTLS(t)
	return relayed(t, server, func(address string) string { return over(certFile, address) })
}

func nothingHappens(*rig) func() { return func() {} }

// lasting lets a fault last for some time. begin returns what ends the fault.
func lasting(d time.Duration, begin func(*rig) (end func())) func(*rig) {
	return func(r *rig) {
		end := begin(r)
		r.passes(d)
		end()
	}
}

// passes lets some time pass.
func (r *rig) passes(d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.t.Context().Done():
	}
}

func delayed(d time.Duration) func(*rig) func() {
	return func(r *rig) func() {
		for _, relay := range r.relays {
			relay.Delay(d)
		}
		return func() {
			for _, relay := range r.relays {
				relay.Delay(0)
			}
		}
	}
}

// silent holds up everything. It arrives late.
func silent(r *rig) func() {
	for _, relay := range r.relays {
		relay.Pause()
	}
	return func() {
		for _, relay := range r.relays {
			relay.Resume()
		}
	}
}

// cutOff loses everything, and the connections never work again.
func cutOff(r *rig) func() {
	end := silent(r)
	for _, relay := range r.relays {
		relay.Silence()
	}
	return end
}

// cutOffOne is like cutOff, but for one instance.
func cutOffOne(i int) func(*rig) func() {
	return func(r *rig) func() {
		r.relays[i].Pause()
		r.relays[i].Silence()
		return r.relays[i].Resume
	}
}

func dropAll(r *rig) {
	for range 5 {
		for _, relay := range r.relays {
			relay.Drop()
		}
		r.passes(200 * time.Millisecond)
	}
}

// dead makes open connections dead without a word, as a firewall does that forgets them.
func dead(r *rig) {
	for range 3 {
		for _, relay := range r.relays {
			relay.Silence()
		}
		r.passes(time.Second)
	}
}

// restart kills Redis, and starts it again after some time.
func restart(after time.Duration) func(*rig) {
	return func(r *rig) {
		r.outage = true
		r.server.Kill()
		r.passes(after)
		r.server.Run()
	}
}

// restartWithLess starts Redis with its data of a second ago.
func restartWithLess(r *rig) {
	r.server.Do("SAVE")
	r.passes(time.Second)
	r.server.Kill()
	r.server.Run()
}

// told tells Redis something, and takes it back.
func told(what, back string) func(*rig) func() {
	return func(r *rig) func() {
		r.server.Do(strings.Fields(what)...)
		return func() { r.server.Do(strings.Fields(back)...) }
	}
}

func refusing(command string) func(*rig) func() {
	return told("ACL SETUSER default -"+command, "ACL SETUSER default +"+command)
}

func frozen(r *rig) func() {
	r.server.Pause()
	return r.server.Resume
}

var clocks sync.Map // of rigs

func withClock(t *testing.T) *rig {
	server, clock := redistest.StartWithClock(t)
	r := relayed(t, server, func(address string) string { return at(address) })
	clocks.Store(r, clock)
	t.Cleanup(func() { clocks.Delete(r) })
	return r
}

func goBack(r *rig) {
	clock, _ := clocks.Load(r)
	clock.(*redistest.Clock).Shift(-time.Hour)
	r.passes(3 * time.Second)
}

var sentinels sync.Map // of rigs

func watched(t *testing.T) *rig {
	w := redistest.StartSentinel(t)
	r := newRig(t, w.Master)
	for i := range r.instances {
		r.open(i, fmt.Sprintf(`{"address": [%q], "master_name": "main"}`, w.Sentinel.Address))
	}
	sentinels.Store(r, w)
	t.Cleanup(func() { sentinels.Delete(r) })
	return r
}

// failOver lets the Sentinel make the replica the master. The former master takes commands for some time, and nobody
// knows those afterwards. So Redis is back when both instances use the new one.
func failOver(r *rig) {
	w, _ := sentinels.Load(r)
	w.(*redistest.Watched).FailOver()
	began := time.Now()
	r.server = w.(*redistest.Watched).Replica
	for _, s := range r.instances {
		eventually(r.t, "the new master is used", func() bool { return r.server.Do("EXISTS", s.keys.lease(s.instance)) == ":1\r\n" })
	}
	old := w.(*redistest.Watched).Master
	eventually(r.t, "nobody uses the former one", func() bool {
		for _, command := range []string{"x", "eval", "exec", "set"} {
			if strings.Contains(old.Do("CLIENT", "LIST"), "cmd="+command) {
				return false
			}
		}
		return true
	})
	r.note("the change to the new master", began)
	r.passes(300 * time.Millisecond) // the client may go back to the former master once, if a dial has begun before
}

var clusters sync.Map // of rigs

// clustered opens a rig with a Redis Cluster, whose second master is to fail.
func clustered(replicated bool) func(*testing.T) *rig {
	return func(t *testing.T) *rig {
		c := redistest.StartCluster(t, 3, replicated, "--cluster-require-full-coverage", "no")
		r := newRig(t, c.Masters[1])
		r.shards = 6
		for i := range r.instances {
			r.open(i, at(c.Masters[0].Address, c.Masters[1].Address))
		}
		clusters.Store(r, c)
		t.Cleanup(func() { clusters.Delete(r) })
		keys := r.instances[0].keys
		r.spared = func(id string) bool { return c.Owner(keys.log(id)) != 1 }
		return r
	}
}

func takeOver(r *rig) {
	c, _ := clusters.Load(r)
	r.server.Kill()
	c.(*redistest.Cluster).AwaitPromotion(1)
	r.server = c.(*redistest.Cluster).Replicas[1]
}

func deadShard(r *rig) {
	r.server.Pause()
	r.passes(3 * time.Second)
	r.server.Resume()
	c, _ := clusters.Load(r)
	eventually(r.t, "the cluster is well", func() bool {
		for _, s := range c.(*redistest.Cluster).Masters {
			info := s.Do("CLUSTER", "INFO")
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_slots_ok:16384") {
				return false
			}
		}
		return true
	})
}

// Redis fails in each of the ways that we know. Each visitor gets what is promised.
func TestFaultMatrix(t *testing.T) {
	before := goleak.IgnoreCurrent()
	used := heap()
	var live, running, atOnce atomic.Int64
	t.Run("rows", func(t *testing.T) {
		for name, f := range faults {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				raise(&atOnce, running.Add(1))
				defer running.Add(-1)
				r := f.open(t)
				(&trial{rig: r, fault: f, name: name}).run()
				raise(&live, r.live.Load())
			})
		}
	})
	t.Logf("at most %d KiB more were in use, of %d rows at once", (int(live.Load())-used)>>10, atOnce.Load())
	// The visitors of a row hold all that they have read, which is most of it.
	if most := 40 << 20 * int(atOnce.Load()); int(live.Load())-used > most {
		t.Errorf("that is more than %d KiB", most>>10)
	}
	var leaked error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if leaked = goleak.Find(before); leaked == nil {
			return
		}
	}
	t.Error(leaked)
}

// trial is a fault, and those who notice it.
type trial struct {
	*rig
	fault
	name string

	answers   []*answer // that are written while all happens
	phase     atomic.Int32
	hitAt     time.Time
	wasHitFor time.Duration

	mu        sync.Mutex
	questions []*posed
}

// The phases of a trial.
const (
	beforeFault = iota
	inFault
	backAgain // Redis answers
	recovered // both instances work together
)

// run runs the trial.
func (r *trial) run() {
	t := r.t
	eventually(t, "Redis is up", func() bool { return r.works() == nil })
	watching, stopWatching := context.WithCancel(t.Context())
	defer stopWatching()
	go r.watch(watching)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	writing, endAll := context.WithCancel(t.Context())
	defer func() {
		stop()
		endAll()
		r.visitors.Wait()
	}()
	for i := range 4 {
		r.begin(writing, i)
	}
	for i := range r.instances {
		r.visitors.Go(func() { r.come(ctx, i) })
	}
	r.visitors.Go(func() { r.ask(ctx) })
	r.passes(500 * time.Millisecond)

	r.phase.Store(inFault)
	r.hitAt = time.Now()
	r.hit(r.rig)
	back := time.Now()
	r.wasHitFor = back.Sub(r.hitAt)
	r.phase.Store(backAgain)
	eventually(t, "all works as before", func() bool {
		err := r.works()
		if err != nil && time.Since(back) > 2*time.Second {
			r.errorf("%s after Redis is back: %v", time.Since(back).Round(time.Millisecond), err)
		}
		return err == nil
	})
	r.note("the recovery", back)
	r.phase.Store(recovered)
	r.passes(time.Second)
	stop()
	endAll()
	r.visitors.Wait()
	r.check()
}

// begin lets an instance write an answer, with a visitor there and another one elsewhere.
func (r *trial) begin(ctx context.Context, i int) {
	t := r.t
	random := newRandom(fmt.Sprint(r.name, i))
	a := &answer{id: newInstance(), at: i % 2, name: fmt.Sprint("answer", i)}
	for r.spared != nil && r.spared(a.id) == (i < 2) { // two are spared
		a.id = newInstance()
	}
	r.answers = append(r.answers, a)
	these := func() []*answer { return []*answer{a} }
	source, first := r.instances[a.at].Create(a.id, store.Meta{}, rigTerms)
	r.visitors.Go(func() {
		if r.hear("the one who asked", first, 0, these) != nil {
			r.errorf("the one who asked %s loses something", a.name)
		}
	})
	r.visitors.Go(func() { r.write(ctx, a, source, random, 20*time.Millisecond) })
	listener := r.instances[1-a.at].listen(t, a.id, 0)
	r.visitors.Go(func() {
		began := time.Now()
		lost := r.hear("a listener elsewhere", listener, 0, these) != nil
		want := r.elsewhere
		if r.spared != nil && r.spared(a.id) && want == never {
			want = some
		}
		if lost && want == all || !lost && want == never {
			r.errorf("a listener to %s elsewhere: is it lost: %v, after %s", a.name, lost, time.Since(began))
		}
		r.count("listeners elsewhere: " + outcomes[lost])
	})
}

var outcomes = map[bool]string{false: "all is there", true: "the rest is lost"}

// come lets new visitors come to an instance until ctx ends.
func (r *trial) come(ctx context.Context, i int) {
	random := newRandom(fmt.Sprint(r.name, "comes", i))
	s := r.instances[i]
	for tick := time.NewTicker(150 * time.Millisecond); ctx.Err() == nil; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			continue
		}
		a := r.answers[random.IntN(len(r.answers))]
		after := random.IntN(a.events() + 1)
		phase := r.phase.Load()
		where, must := "there", true
		if a.at != i {
			where, must = "elsewhere", r.mustServe(phase)
		}
		began := time.Now()
		stream, err := s.Find(r.t.Context(), a.id)
		r.note("a look", began)
		if err == nil {
			began = time.Now()
			var l store.Listener
			if l, err = stream.Listen(int64(after)); err == nil {
				r.visitors.Go(func() {
					lost := r.hear("a new listener "+where, l, after, func() []*answer { return []*answer{a} }) != nil
					if lost && (must || phase == recovered && r.elsewhere == all) {
						r.errorf("who comes %s in phase %d after event %d loses something", where, phase, after)
					}
					r.count(fmt.Sprintf("who comes %s in phase %d: %s", where, phase, outcomes[lost]))
				})
			}
			r.note("listening", began)
		}
		if err == nil {
			continue
		}
		what := "an error"
		if errors.Is(err, store.ErrNotFound) || err == io.EOF {
			what = err.Error()
		}
		r.count(fmt.Sprintf("who comes %s in phase %d: %s", where, phase, what))
		isOver := err == io.EOF && r.elsewhere != all // nothing is left of an answer that is marked as lost
		if must || phase == recovered && what != store.ErrNotFound.Error() && !isOver {
			r.errorf("who comes %s in phase %d gets %v", where, phase, err)
		}
	}
}

// mustServe reports whether a visitor in a phase finds an answer that another instance writes.
func (r *trial) mustServe(phase int32) bool {
	switch phase {
	case beforeFault:
		return r.elsewhere == all
	case recovered:
		return r.elsewhere == all
	}
	return r.served
}

// posed is a question whose id a page has chosen, and which it sends several times.
type posed struct {
	id    string
	phase int32
	ended atomic.Int32 // the phase when all claims were decided

	longest atomic.Int64 // how long one of them took at most

	mu      sync.Mutex
	answers []*answer
}

func (q *posed) all() []*answer {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]*answer(nil), q.answers...)
}

// ask lets pages send questions until ctx ends.
func (r *trial) ask(ctx context.Context) {
	random := newRandom(r.name + "asks")
	for tick := time.NewTicker(200 * time.Millisecond); ctx.Err() == nil; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			continue
		}
		q := &posed{id: newInstance(), phase: r.phase.Load()}
		r.mu.Lock()
		r.questions = append(r.questions, q)
		r.mu.Unlock()
		var claims sync.WaitGroup
		for n := range 3 {
			i := n
			if n == 2 {
				i = random.IntN(2)
			}
			seed := random.Uint64()
			claims.Add(1)
			r.visitors.Go(func() { r.claimAt(i, q, claims.Done, rand.New(rand.NewPCG(seed, uint64(n)))) })
		}
		r.visitors.Go(func() {
			claims.Wait()
			q.ended.Store(r.phase.Load())
		})
	}
}

// claimAt sends a question to an instance.
func (r *trial) claimAt(i int, q *posed, decided func(), random *rand.Rand) {
	began := time.Now()
	source, first, taken := r.instances[i].Claim(q.id, store.Meta{}, rigTerms, nil)
	r.note("a claim", began)
	raise(&q.longest, int64(time.Since(began)))
	if source == nil {
		decided()
		l, err := taken.Listen(0)
		if err != nil {
			r.count("who sends it again: an error")
			if q.phase == recovered {
				r.errorf("who sends a question again gets %v", err)
			}
			return
		}
		lost := r.hear("who sends it again", l, 0, q.all) != nil
		if lost && q.phase == recovered {
			r.errorf("who sends a question again at instance %d loses something, %s after it came", i, time.Since(began))
		}
		r.count("who sends it again: " + outcomes[lost])
		return
	}
	a := &answer{id: q.id, at: i, name: newInstance()}
	q.mu.Lock()
	q.answers = append(q.answers, a)
	q.mu.Unlock()
	decided()
	ctx, cancel := context.WithTimeout(r.t.Context(), 50*time.Millisecond)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.write(ctx, a, source, random, 20*time.Millisecond)
	}()
	if r.hear("who asks a question", first, 0, func() []*answer { return []*answer{a} }) != nil {
		r.errorf("who asks a question loses something")
	}
	<-done
}

// check checks what is left.
func (r *trial) check() {
	t := r.t
	for _, q := range r.questions {
		n := len(q.all())
		if n != 1 {
			r.count(fmt.Sprintf("questions that are begun %d times", n))
		}
		clean := r.once || q.phase == recovered || q.phase == beforeFault && q.ended.Load() == beforeFault
		if time.Duration(q.longest.Load()) >= claimTime*9/10 || r.outage && r.wasHitFor > claimTime {
			clean = false // Redis has not answered for a second, maybe because the machine is busy
		}
		if n == 0 || n > 1 && clean {
			r.errorf("a question of phase %d, decided in phase %d, is begun %d times", q.phase, q.ended.Load(), n)
		}
	}
	if len(r.questions) < 5 {
		t.Errorf("there were only %d questions", len(r.questions))
	}
	r.settles()
	for i, relay := range r.relays {
		if relay == nil {
			continue
		}
		if n := relay.Peak(); n >= 20 {
			t.Errorf("instance %d has %d connections", i, n)
		}
	}
	_, clients, _ := strings.Cut(r.server.Do("INFO", "clients"), "connected_clients:")
	var n int
	_, _ = fmt.Sscanf(clients, "%d", &n)
	if n >= 40 {
		t.Errorf("both instances have %d connections", n)
	}
	r.wantWithin(map[string]time.Duration{
		"an append":                                0,
		"the end":                                  0,
		"a look":                                   callTimeout,
		"listening":                                callTimeout,
		"a claim":                                  time.Second,
		"the silence for the one who asked":        announceTime,
		"the silence for who asks a question":      announceTime,
		"the silence for a listener elsewhere":     lostWithin,
		"the silence for who sends it again":       lostWithin,
		"the silence for a new listener there":     announceTime,
		"the silence for a new listener elsewhere": lostWithin,
		"the change to the new master":             2 * time.Second,
		"the recovery":                             2 * time.Second,
	})
	r.report()
}
