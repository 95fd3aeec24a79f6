package redistest

import (
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Relay passes TCP connections on to a server.
type Relay struct {
	Address string // host:port

	to       string
	listener net.Listener
	delay    atomic.Int64 // a time.Duration

	mu    sync.Mutex
	links map[*relayed]struct{}
	peak  int
	gate  chan struct{} // closed while data passes
}

// relayed is one connection through a relay.
type relayed struct {
	in, out net.Conn
	silent  chan struct{} // closed when nothing passes any more
	once    sync.Once
}

// StartRelay starts a relay to a server until the test ends. Everything arrives after the delay, in both directions.
func StartRelay(tb testing.TB, to *Server, delay time.Duration) *Relay {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	r := &Relay{Address: listener.Addr().String(), to: to.Socket, listener: listener, links: make(map[*relayed]struct{}), gate: make(chan struct{})}
	r.Delay(delay)
	close(r.gate)
	if to.Address != "" {
		r.to = to.Address
		// A certificate is for localhost, whatever the port.
		r.Address = strings.Replace(r.Address, "127.0.0.1", strings.Split(to.Address, ":")[0], 1)
	}
	go r.accept()
	tb.Cleanup(func() {
		_ = listener.Close()
		r.Drop()
		r.Resume()
	})
	return r
}

func (r *Relay) accept() {
	for {
		in, err := r.listener.Accept()
		if err != nil {
			return
		}
		network := "tcp"
		if strings.HasPrefix(r.to, "/") {
			network = "unix"
		}
		out, err := net.Dial(network, r.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		l := &relayed{in: in, out: out, silent: make(chan struct{})}
		r.mu.Lock()
		r.links[l] = struct{}{}
		r.peak = max(r.peak, len(r.links))
		r.mu.Unlock()
		go r.pass(l, in, out)
		go r.pass(l, out, in)
	}
}

// pass copies from one side to the other, and closes both when one ends.
func (r *Relay) pass(l *relayed, from io.Reader, to io.Writer) {
	type piece struct {
		due  time.Time
		data []byte
	}
	pieces := make(chan piece, 1024)
	defer func() {
		r.end(l)
		for range pieces { // lets the goroutine below end
		}
	}()
	go func() {
		defer close(pieces)
		for {
			data := make([]byte, 16<<10)
			n, err := from.Read(data)
			if err != nil {
				return
			}
			pieces <- piece{time.Now().Add(time.Duration(r.delay.Load())), data[:n]}
		}
	}()
	for p := range pieces {
		select {
		case <-time.After(time.Until(p.due)):
		case <-l.silent:
		}
		select {
		case <-r.open():
		case <-l.silent:
		}
		select {
		case <-l.silent:
			continue // silent: all further data is lost
		default:
		}
		if _, err := to.Write(p.data); err != nil {
			return
		}
	}
}

func (r *Relay) end(l *relayed) {
	r.mu.Lock()
	delete(r.links, l)
	r.mu.Unlock()
	_ = l.in.Close()
	_ = l.out.Close()
}

// Delay changes the delay of all data that arrives from now on.
func (r *Relay) Delay(delay time.Duration) { r.delay.Store(int64(delay)) }

// Pause holds up everything, on new connections as well, until Resume.
func (r *Relay) Pause() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.gate:
		r.gate = make(chan struct{})
	default:
	}
}

// Resume lets a paused relay pass on what it has held up.
func (r *Relay) Resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.gate:
	default:
		close(r.gate)
	}
}

// open returns a channel that is closed while data passes.
func (r *Relay) open() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gate
}

// Silence loses from now on, without a word, what the open connections send. New connections work.
func (r *Relay) Silence() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.links {
		l.once.Do(func() { close(l.silent) })
	}
}

// Drop closes all connections.
func (r *Relay) Drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.links {
		_ = l.in.Close()
		_ = l.out.Close()
	}
}

// Peak returns how many connections were open at once at most.
func (r *Relay) Peak() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peak
}
