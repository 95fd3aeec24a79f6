package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// seen counts what visitors saw in one run.
type seen struct {
	chats  int
	events int
	steady int // events that arrived after all streams had begun
	lost   int // events that did not arrive, or arrived twice or out of order
	broken int // answers without a finish

	first   []time.Duration // from a request to its first event
	latency []time.Duration // of each event, since the upstream wrote it
}

func (s *seen) add(other *seen) {
	s.chats += other.chats
	s.events += other.events
	s.steady += other.steady
	s.lost += other.lost
	s.broken += other.broken
	s.first = append(s.first, other.first...)
	s.latency = append(s.latency, other.latency...)
}

// site is where visitors chat.
type site struct {
	address  string
	header   string // lines of header fields, over HTTP/1.1
	protocol protocol
}

// visit lets all visitors of a workload chat, and returns what they saw. It calls whenOpen when all visitors have their first
// event. If the workload holds its streams, they stay open until whenOpen returns.
func (s *site) visit(w *workload, whenOpen func()) (*seen, error) {
	var (
		mu   sync.Mutex
		all  seen
		errs []error

		visitors, opening sync.WaitGroup
		open              atomic.Bool
		leave             = make(chan struct{})
		// Visitors connect fast, but not all at once, because the queue of a listener is short.
		dialing = make(chan struct{}, 64)
	)
	opening.Add(w.streams)
	for range w.streams {
		visitors.Go(func() {
			v := &visitor{site: s, dialing: dialing, open: &open, opened: sync.OnceFunc(opening.Done), leave: leave}
			defer v.close()
			defer v.opened()
			err := v.visit(w)
			mu.Lock()
			defer mu.Unlock()
			all.add(&v.seen)
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	opening.Wait()
	open.Store(true)
	whenOpen()
	close(leave)
	visitors.Wait()
	if len(errs) > 0 {
		return nil, fmt.Errorf("%d visitors failed, the first one: %w", len(errs), errs[0])
	}
	return &all, nil
}

// visitor asks over one connection for as long as that is kept.
type visitor struct {
	site    *site
	dialing chan struct{}
	open    *atomic.Bool    // all streams have begun
	opened  func()          // says that this one has
	leave   <-chan struct{} // closed when held streams may end

	conn connection
	seen seen
}

func (v *visitor) connect() (err error) {
	if v.conn != nil {
		return nil
	}
	v.dialing <- struct{}{}
	defer func() { <-v.dialing }()
	v.conn, err = v.site.connect()
	return err
}

func (v *visitor) close() {
	if v.conn != nil {
		v.conn.Close()
		v.conn = nil
	}
}

// visit makes the chats of a workload. It counts what is wrong with an answer's stream. An error makes the run void.
func (v *visitor) visit(w *workload) error {
	body := w.chat()
	for range w.chats {
		resp, asked, err := v.ask(body)
		if err != nil {
			return err
		}
		v.seen.chats++
		if w.hold {
			v.read(resp, asked, w.events, true)
			<-v.leave
			return nil
		}
		v.read(resp, asked, w.events, false)
		_, err = io.Copy(io.Discard, resp.Body)
		if resp.Body.Close(); err != nil || resp.Close {
			v.close()
		}
	}
	return nil
}

// ask posts a chat, and returns its answer when the headers have arrived.
func (v *visitor) ask(body []byte) (resp *http.Response, asked time.Time, err error) {
	if err := v.connect(); err != nil {
		return nil, asked, err
	}
	asked = time.Now()
	resp, err = v.conn.post(body)
	if err != nil {
		return nil, asked, fmt.Errorf("asking: %w", err)
	}
	return resp, asked, checkAnswer(resp)
}

// read reads an answer of so many events to its finish. If the answer is held, it reads to the last event.
func (v *visitor) read(resp *http.Response, asked time.Time, events int, held bool) {
	expected := 0
	defer func() { v.seen.lost += max(0, events-expected) }()
	lines := bufio.NewReaderSize(resp.Body, 4096)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			v.seen.broken++
			return
		}
		if bytes.HasPrefix(line, []byte(finishBegins)) {
			return
		}
		number, sent, ok := parseEvent(line)
		if !ok {
			continue // a blank line, or a comment
		}
		now := time.Now()
		if expected == 0 {
			v.seen.first = append(v.seen.first, now.Sub(asked))
			v.opened()
		}
		if v.open.Load() {
			v.seen.steady++
		}
		if number < expected { // a duplicate, or too late
			v.seen.lost++
			continue
		}
		v.seen.lost += number - expected
		expected = number + 1
		v.seen.events++
		v.seen.latency = append(v.seen.latency, now.Sub(sent))
		if held && expected == events {
			return
		}
	}
}

// parseEvent reads the number of an event, and when it was sent.
func parseEvent(line []byte) (number int, sent time.Time, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(eventBegins))
	if !ok || len(rest) < len(eventStamp) {
		return 0, sent, false
	}
	number, err := strconv.Atoi(string(rest[:10]))
	if err != nil {
		return 0, sent, false
	}
	nanoseconds, err := strconv.ParseInt(string(rest[11:30]), 10, 64)
	return number, time.Unix(0, nanoseconds), err == nil
}
