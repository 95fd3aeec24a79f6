package redisstore

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/store"
)

// While no other instance reads a stream, one entry has the events of unreadTime.
func TestUnreadEventsGather(t *testing.T) {
	server := redistest.Start(t)
	s := openInstance(t, at(server.Socket))
	source := s.claim(t, "id")
	eventually(t, "Redis knows it", source.isSettled)
	before := s.calls(t, "xadd")
	const events = 100
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	for n := range events {
		source.append(t, fmt.Sprintf("data: %d\n\n", n))
		<-pace.C
	}
	source.Finish(store.Chunk{}, store.End{})
	<-source.replica.done
	if entries := s.calls(t, "xadd") - before; entries > events/4 {
		t.Errorf("%d events took %d entries", events, entries)
	}
}

// An instance with listeners gets each event at once.
func TestReadEventsDoNotGather(t *testing.T) {
	_, here, there := twoInstances(t)
	source := here.claim(t, "id")
	listener := there.listen(t, "id", 0)
	source.append(t, "data: first\n\n")
	awaitEvent(t, listener, "data: first\n\n")
	const events = 20
	began := time.Now()
	for n := range events {
		event := fmt.Sprintf("data: %d\n\n", n)
		source.append(t, event)
		awaitEvent(t, listener, event)
	}
	if took := time.Since(began); took > events*unreadTime/2 {
		t.Errorf("%d events took %s", events, took)
	}
}

// Visitors who ask at the same time share a look at the cool-down.
func TestLooksAreShared(t *testing.T) {
	server := redistest.Start(t)
	relay := redistest.StartRelay(t, server, 5*time.Millisecond)
	s := openInstance(t, at(relay.Address))
	eventually(t, "Redis knows it", s.leased.Load)
	before := calls(t, server, "exists")
	const visitors = 500
	var wg sync.WaitGroup
	for range visitors {
		wg.Go(func() { s.wantIn(t, newEntry("", 0)).Release(true) })
	}
	wg.Wait()
	if n := calls(t, server, "exists") - before; n == 0 || n > visitors/10 {
		t.Errorf("%d visitors took %d looks", visitors, n)
	}
}

// A look that Redis may have answered already is of no use to those who come later: the cool-down may have begun meanwhile.
func TestSentLookIsNotShared(t *testing.T) {
	var c coolDowns
	c.init(nil)
	first, isFirst := c.join("key")
	if !isFirst {
		t.Error("nobody asks Redis")
	}
	if shared, isFirst := c.join("key"); isFirst || shared != first {
		t.Error("the look is not shared")
	}
	if _, isFirst := c.join("other"); !isFirst {
		t.Error("a look at another key is shared")
	}
	c.close("key", first)
	if _, isFirst := c.join("key"); !isFirst {
		t.Error("a look is shared that was sent")
	}
	c.close("key", first) // once more, after the reply
	if _, isFirst := c.join("key"); isFirst {
		t.Error("the next look is lost")
	}
}

// A look is closed to others when it is sent, and not only when Redis has answered.
func TestLookOnItsWayIsNotShared(t *testing.T) {
	server := redistest.Start(t)
	s := openInstance(t, at(server.Socket))
	eventually(t, "a look is sent to a Redis that does not answer", func() bool {
		eventually(t, "Redis answers", func() bool {
			_, err := s.coolDowns.look(s.keys.coolDown(assistant))
			return err == nil
		})
		server.Pause()
		sent, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = s.coolDowns.ask(s.keys.coolDown(assistant), sync.OnceFunc(func() { close(sent) }))
		}()
		defer func() { server.Resume(); <-ended }()
		select {
		case <-sent:
			return true
		case <-ended: // Redis was taken to be down before
			return false
		}
	})
}
