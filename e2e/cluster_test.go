package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
	_ "github.com/illumichat/caddy-illumichat/store/redisstore"
)

// cluster is several Caddys that share a Redis, behind a Caddy that balances the load.
type cluster struct {
	redis     *redistest.Server
	instances []*instance
	balancer  *sitetest.Site // sends each request to a random instance
}

// instance is one of a cluster's Caddys. Its Site is reached directly, without the load balancer.
type instance struct {
	*sitetest.Site
	*sitetest.Process
}

// inRedis returns the directive of a chat whose answers can be resumed and are kept in redis.
func inRedis(server *sandboxtest.Server, redis *redistest.Server, subdirectives string) string {
	return sitetest.ChatTo(server, keptIn(redis)+"\n"+subdirectives)
}

// keptIn returns the subdirectives that make answers resumable and keep them in redis.
func keptIn(redis *redistest.Server) string {
	return "resume\n" + storeIn(redis)
}

// storeIn returns the subdirective that makes instances share redis.
func storeIn(redis *redistest.Server) string {
	return fmt.Sprintf("store redis {\naddress %s\n}", redis.Socket)
}

// resumableInRedis starts a Redis for the test and returns keptIn for it.
func resumableInRedis(t *testing.T) string {
	t.Helper()
	return keptIn(redistest.Start(t))
}

// startCluster runs n instances with the same directives, and a load balancer in front of them.
func startCluster(t *testing.T, redis *redistest.Server, n int, directives string) *cluster {
	t.Helper()
	c := &cluster{redis: redis}
	var upstreams []string
	for range n {
		s := sitetest.New(t, "grace_period 2s")
		c.instances = append(c.instances, &instance{s, sitetest.Run(t, s, directives)})
		upstreams = append(upstreams, strings.TrimPrefix(s.Plain, "http://"))
	}
	c.balancer = sitetest.New(t, "grace_period 1ms")
	sitetest.Run(t, c.balancer, fmt.Sprintf(`reverse_proxy %s {
		header_up Host 127.0.0.1
		lb_policy random
		lb_try_duration 5s
		fail_duration 10s
	}`, strings.Join(upstreams, " ")))
	return c
}

// metric returns the value of a series that has no labels, or "" if there is no such series.
func (i *instance) metric(t *testing.T, name string) string {
	t.Helper()
	_, text, _ := i.Process.Ask(t, http.MethodGet, "/metrics", nil)
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// visit is an answer that a visitor has read in part.
type visit struct {
	id   string
	got  string
	resp *http.Response
	rest *bufio.Reader
}

// visit sends a chat to an instance and reads the first events of the answer.
func (i *instance) visit(t *testing.T, command string, events int) *visit {
	t.Helper()
	resp := i.ask(sitetest.Saying(command))
	v := &visit{id: resp.Header.Get("Illumichat-Stream"), resp: resp, rest: bufio.NewReader(resp.Body)}
	for range events {
		v.got += sitetest.NextEvent(t, v.rest)
	}
	return v
}

// leave closes the connection before the end of the answer.
func (v *visit) leave() { v.resp.Body.Close() }

// readOn reads the rest of the answer and returns the whole of it.
func (v *visit) readOn(t *testing.T) string {
	t.Helper()
	rest, err := io.ReadAll(v.rest)
	if err != nil {
		t.Errorf("reading the rest: %v", err)
	}
	return v.got + string(rest)
}

func (i *instance) ask(chat string) *http.Response { return i.Site.Ask(chat) }

// awaitAt resumes an answer at another instance. It repeats the request on a 404, because an instance may learn of a
// new answer a moment later.
func awaitAt(t *testing.T, i *instance, id string, after int) *http.Response {
	t.Helper()
	var resp *http.Response
	sitetest.Eventually(t, "the answer is known elsewhere", func() bool {
		resp = i.GoOn(t, id, after)
		if resp.StatusCode == http.StatusNotFound {
			resp.Body.Close()
		}
		return resp.StatusCode != http.StatusNotFound
	})
	return resp
}

// A visitor can resume an answer, and stop it, at another instance than the one that writes it.
func TestAnotherInstance(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	redis := redistest.Start(t)
	c := startCluster(t, redis, 2, inRedis(server, redis, ""))
	here, there := c.instances[0], c.instances[1]

	asked := here.visit(t, "/drip 80 10ms /events 50", 5)
	asked.leave()
	got := asked.got + sitetest.ReadAll(t, awaitAt(t, there, asked.id, 5))
	if n := strings.Count(withoutIDs(t, got, asked.id, 1), "text-delta"); n != 50 {
		t.Errorf("got %d of 50 events", n)
	}
	if resp := there.GoOn(t, asked.id, 1000); resp.StatusCode != http.StatusNoContent {
		t.Errorf("of an answer of which nothing is left, got status %d", resp.StatusCode)
	}
	sitetest.WantError(t, there.GoOn(t, "AAAAAAAAAAAAAAAAAAAAAA", 0), http.StatusNotFound, "not_found:stream")

	asked = here.visit(t, "/drip 80 10ms /events 10000", 5)
	elsewhere := awaitAt(t, there, asked.id, 0)
	if resp := there.Request(t, http.MethodDelete, map[string]string{"Illumichat-Stream": asked.id}, ""); resp.StatusCode != http.StatusNoContent {
		t.Errorf("a stop got status %d", resp.StatusCode)
	}
	for _, got := range []string{asked.readOn(t), sitetest.ReadAll(t, elsewhere)} {
		if last := sitetest.OnlyFinish(t, got); last.Code != "stopped:visitor" || last.FinishReason != "stop" {
			t.Errorf("got the finish %+v", last)
		}
	}
}

// Visitors whose connections are cut at random moments can resume at any instance. They get each event exactly once.
func TestClusterResumesAtRandom(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	redis := redistest.Start(t)
	c := startCluster(t, redis, 3, inRedis(server, redis, ""))
	resumeAtRandom(t, c.balancer.Ask, func(id string, after int) *http.Response { return comeBack(t, c.balancer, id, after) })
}

// comeBack resumes after an event as a page does: it repeats the request until the instance knows the answer.
func comeBack(t *testing.T, s *sitetest.Site, id string, after int) *http.Response {
	t.Helper()
	for end := time.Now().Add(sitetest.Patience); ; time.Sleep(5 * time.Millisecond) {
		resp := s.GoOn(t, id, after)
		if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusNoContent {
			return resp
		}
		resp.Body.Close()
		if time.Now().After(end) {
			t.Fatalf("going on after %d, got status %d", after, resp.StatusCode)
		}
	}
}

// lostWithin bounds the time in which a listener must learn that an instance is lost.
const lostWithin = 5 * time.Second

// When an instance dies, listeners at other instances get a finish that says so, and so do visitors who resume later.
// Answers that other instances write lose nothing.
func TestInstanceIsKilled(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	redis := redistest.Start(t)
	c := startCluster(t, redis, 3, inRedis(server, redis, "max_duration 1m"))
	killed, there := c.instances[0], c.instances[1]

	asked := killed.visit(t, "/drip 80 10ms /events 10000", 5)
	asked.leave()
	stream := bufio.NewReader(awaitAt(t, there, asked.id, 5).Body)
	got := asked.got + sitetest.NextEvent(t, stream)
	other := there.visit(t, "/drip 80 10ms /events 300", 5)
	silent := killed.visit(t, "/stall 2", 2)
	silent.leave()
	silence := awaitAt(t, there, silent.id, 2)

	if err := killed.OSProcess.Kill(); err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	rest, err := io.ReadAll(stream)
	if took := time.Since(at); took > lostWithin {
		t.Errorf("the listener was told after %s", took)
	}
	got += string(rest)
	if last := sitetest.OnlyFinish(t, got); err != nil || last.Code != "lost:instance" || last.FinishReason != "error" {
		t.Errorf("got %v and the finish %+v", err, last)
	}
	withoutIDs(t, got, asked.id, 1)
	if last := sitetest.OnlyFinish(t, sitetest.ReadAll(t, silence)); last.Code != "lost:instance" {
		t.Errorf("who has heard nothing got the finish %+v", last)
	}
	if took := time.Since(at); took > lostWithin+time.Second {
		t.Errorf("who has heard nothing was told after %s", took)
	}
	late := sitetest.ReadAll(t, c.instances[2].GoOn(t, asked.id, 0))
	if last := sitetest.OnlyFinish(t, late); last.Code != "lost:instance" || late != got {
		t.Errorf("who comes later got the finish %+v, and %d events of %d", last, strings.Count(late, "id: "), strings.Count(got, "id: "))
	}

	if n := strings.Count(withoutIDs(t, other.readOn(t), other.id, 1), "text-delta"); n != 300 {
		t.Errorf("another answer has %d of 300 events", n)
	}
}

// An instance that exits goes on with an answer for listeners at other instances until its grace period is nearly over.
// Then they get a finish that says so.
func TestInstanceExits(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	redis := redistest.Start(t)
	c := startCluster(t, redis, 2, inRedis(server, redis, ""))
	exiting, there := c.instances[0], c.instances[1]
	asked := exiting.visit(t, "/drip 80 10ms /events 10000", 5)
	asked.leave()
	listener := awaitAt(t, there, asked.id, 0)
	exiting.Exit(t)
	exited := time.Now()
	got := sitetest.ReadAll(t, listener)
	if took := time.Since(exited); took < time.Second {
		t.Errorf("the answer ended %s after the beginning of the grace period of 2s", took)
	}
	if last := sitetest.OnlyFinish(t, got); last.Code != "shutting_down:proxy" {
		t.Errorf("got the finish %+v", last)
	}
	withoutIDs(t, got, asked.id, 1)
	exiting.Process.Wait(t)
}

// When an instance dies before Redis has any event of an answer, a visitor who has one gets a finish that says so. A visitor
// who has none gets an error.
func TestInstanceIsKilledBeforeRedisHasEvents(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	redis := redistest.Start(t)
	c := startCluster(t, redis, 2, inRedis(server, redis, ""))
	killed, there := c.instances[0], c.instances[1]
	q := newQuestion()
	q.chat = sitetest.Saying("/silent")
	asked := q.start(t, killed.Site)
	sitetest.Eventually(t, "Redis knows the answer", func() bool { return strings.Contains(redis.Do("keys", "*"), q.id) })
	if err := killed.OSProcess.Kill(); err != nil {
		t.Fatal(err)
	}
	asked.cancel()
	var wg sync.WaitGroup
	wg.Go(func() { sitetest.WantError(t, there.GoOn(t, q.id, 0), http.StatusBadGateway, "lost:instance") })
	wg.Go(func() {
		resp := there.GoOn(t, q.id, 1)
		last := sitetest.OnlyFinish(t, sitetest.ReadAll(t, resp))
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" || last.Code != "lost:instance" {
			t.Errorf("got status %d, the headers %v and the finish %+v", resp.StatusCode, resp.Header, last)
		}
	})
	wg.Wait()
}

// When an instance dies, the visitors of its answers get the events that reached Redis, and a finish that says so. All
// other visitors lose nothing.
func TestInstanceIsKilledUnderLoad(t *testing.T) {
	const visitors, events = 30, 200
	server := sandboxtest.NewServer(t, sandbox.Options{})
	redis := redistest.Start(t)
	c := startCluster(t, redis, 3, inRedis(server, redis, ""))
	var wg, begun sync.WaitGroup
	var lost, whole atomic.Int32
	begun.Add(visitors)
	for i := range visitors {
		wg.Go(func() {
			resp := c.balancer.Ask(sitetest.Saying(fmt.Sprintf("/drip 80 10ms /events %d", events)))
			id := resp.Header.Get("Illumichat-Stream")
			stream := bufio.NewReader(resp.Body)
			all := sitetest.NextEvent(t, stream)
			begun.Done()
			for {
				more, err := io.ReadAll(stream)
				all += string(more)
				all = all[:strings.LastIndex("\n\n"+all, "\n\n")] // a torn event is sent again
				if err == nil {
					break
				}
				if resp = comeBack(t, c.balancer, id, strings.Count(all, "\n\n")); resp.StatusCode == http.StatusNoContent {
					break
				}
				stream.Reset(resp.Body)
			}
			n := strings.Count(withoutIDs(t, all, id, 1), "text-delta")
			switch last := sitetest.OnlyFinish(t, all); {
			case last.Code == "lost:instance":
				lost.Add(1)
			case last.FinishReason == "stop" && n == events:
				whole.Add(1)
			default:
				t.Errorf("visitor %d got %d events and the finish %+v", i, n, last)
			}
		})
	}
	begun.Wait()
	if err := c.instances[0].OSProcess.Kill(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	t.Logf("%d answers are whole, %d are lost", whole.Load(), lost.Load())
	if lost.Load() == 0 || whole.Load() == 0 {
		t.Error("want both")
	}
}

// While Redis is down, visitors get their answers and can resume them at the same instance. Listeners at other
// instances get a finish that says that the rest is lost. When Redis is back, everything works as before.
func TestRedisIsKilledUnderLoad(t *testing.T) {
	const visitors, events = 20, 300
	server := sandboxtest.NewServer(t, sandbox.Options{})
	redis := redistest.Start(t)
	c := startCluster(t, redis, 2, inRedis(server, redis, "max_duration 1m"))
	here, there := c.instances[0], c.instances[1]
	asked := make([]*visit, visitors)
	for i := range asked {
		asked[i] = here.visit(t, fmt.Sprintf("/drip 80 10ms /events %d", events), 3)
	}
	elsewhere := awaitAt(t, there, asked[0].id, 0)

	redis.Kill()
	killed := time.Now()
	if last := sitetest.OnlyFinish(t, sitetest.ReadAll(t, elsewhere)); last.Code != "lost:instance" {
		t.Errorf("who listens elsewhere got the finish %+v", last)
	}
	if took := time.Since(killed); took > lostWithin {
		t.Errorf("who listens elsewhere was told after %s", took)
	}
	sitetest.WantError(t, there.GoOn(t, asked[0].id, 0), http.StatusServiceUnavailable, "unavailable:store")
	sitetest.WantError(t, there.GoOn(t, "what-is-no-id", 0), http.StatusNotFound, "not_found:stream") // not looked up, because it cannot be an id
	again := here.GoOn(t, asked[0].id, 3)
	asked[0].leave()
	asked[0].rest.Reset(again.Body)
	late := here.visit(t, "/drip 80 1ms /events 50", 3)
	for _, v := range append(asked, late) {
		got := v.readOn(t)
		if n := strings.Count(withoutIDs(t, got, v.id, 1), "text-delta"); n != events && v != late || sitetest.OnlyFinish(t, got).Code != "" {
			t.Errorf("got %d events", n)
		}
	}
	if up := here.metric(t, "caddy_illumichat_redis_up"); up != "0" {
		t.Errorf("redis_up is %s", up)
	}
	here.wantToldOnce(t, "Redis cannot be reached")

	redis.Run()
	for _, i := range c.instances {
		sitetest.Eventually(t, "Redis is found again", func() bool { return i.metric(t, "caddy_illumichat_redis_up") == "1" })
	}
	here.wantToldOnce(t, "Redis can be reached again")
	v := here.visit(t, "/drip 80 1ms /events 50", 3)
	v.leave()
	got := v.got + sitetest.ReadAll(t, awaitAt(t, there, v.id, 3))
	if n := strings.Count(withoutIDs(t, got, v.id, 1), "text-delta"); n != 50 {
		t.Errorf("when Redis is back, got %d events", n)
	}
}

// wantToldOnce checks that the instance has logged a message exactly once above the debug level.
func (i *instance) wantToldOnce(t *testing.T, message string) {
	t.Helper()
	n := 0
	for line := range strings.Lines(i.log()) {
		if strings.Contains(line, message) && !strings.Contains(line, `"level":"debug"`) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%q is logged %d times", message, n)
	}
}

func (i *instance) log() string { return i.Site.Log() }

// A Redis that restarts and has kept its data costs no visitor an event.
func TestRedisIsRestarted(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	redis := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	c := startCluster(t, redis, 2, inRedis(server, redis, ""))
	here, there := c.instances[0], c.instances[1]
	asked := here.visit(t, "/drip 80 10ms /events 300", 3)
	asked.leave()
	listener := awaitAt(t, there, asked.id, 3)
	for range 2 {
		redis.Kill()
		redis.Run()
	}
	got := asked.got + sitetest.ReadAll(t, listener)
	if n := strings.Count(withoutIDs(t, got, asked.id, 1), "text-delta"); n != 300 {
		t.Errorf("got %d events, and the finish %+v", n, sitetest.OnlyFinish(t, got))
	}
}

// A Redis that does not answer, is full or is read-only delays no answer.
func TestRedisIsNoHelp(t *testing.T) {
	for name, hinder := range map[string]func(*redistest.Server){
		"it does not answer": func(redis *redistest.Server) { redis.Pause() },
		"it is full":         func(redis *redistest.Server) { redis.Do("CONFIG", "SET", "maxmemory", "1") },
		"it only reads":      func(redis *redistest.Server) { redis.Do("REPLICAOF", "127.0.0.1", "1") },
	} {
		t.Run(name, func(t *testing.T) {
			server := sandboxtest.NewServer(t, sandbox.Options{})
			redis := redistest.Start(t)
			c := startCluster(t, redis, 2, inRedis(server, redis, "limit 1000 1h\nmax_streams_per_client 50"))
			here, there := c.instances[0], c.instances[1]
			before := here.visit(t, "/drip 80 10ms /events 700", 3)
			listener := awaitAt(t, there, before.id, 0)
			hinder(redis)
			hindered := time.Now()
			for range 5 {
				asked := time.Now()
				v := here.visit(t, "/drip 80 1ms /events 20", 1)
				if took := time.Since(asked); took > time.Second {
					t.Errorf("a first event came after %s", took)
				}
				if n := strings.Count(withoutIDs(t, v.readOn(t), v.id, 1), "text-delta"); n != 20 {
					t.Errorf("got %d events", n)
				}
			}
			if last := sitetest.OnlyFinish(t, sitetest.ReadAll(t, listener)); last.Code != "lost:instance" {
				t.Errorf("who listens elsewhere got the finish %+v", last)
			}
			if took := time.Since(hindered); took > lostWithin+time.Second {
				t.Errorf("who listens elsewhere was told after %s", took)
			}
			if n := strings.Count(withoutIDs(t, before.readOn(t), before.id, 1), "text-delta"); n != 700 {
				t.Errorf("who asked got %d events", n)
			}
			here.wantToldOnce(t, "Redis cannot be reached")
		})
	}
}

// A reload to a config without a store does not end answers that have listeners at another instance.
func TestReloadWhileListeningElsewhere(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	redis := redistest.Start(t)
	c := startCluster(t, redis, 2, inRedis(server, redis, ""))
	here, there := c.instances[0], c.instances[1]
	asked := here.visit(t, "/drip 80 10ms /events 500", 3)
	asked.leave()
	listener := awaitAt(t, there, asked.id, 3)
	there.Process.Reload(t, there.Adapt("respond gone"))
	here.Process.Reload(t, here.Adapt("respond gone"))
	got := asked.got + sitetest.ReadAll(t, listener)
	if n := strings.Count(withoutIDs(t, got, asked.id, 1), "text-delta"); n != 500 {
		t.Errorf("got %d events, and the finish %+v", n, sitetest.OnlyFinish(t, got))
	}
}
