package upstream

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/illumichat/caddy-illumichat/internal/buffer"
)

// Only so many connections read ahead: their visitors may not read, and have them keep the room.
const (
	readAheadClass = 3 // 32 KiB
	maxReadsAhead  = 64
)

// readsAhead is how many connections have room to read ahead.
var readsAhead = buffer.NewSemaphore(maxReadsAhead)

// readAhead is a connection to the upstream that reads more of a flood than it is asked for. net/http asks for 4 KiB at a
// time; that one system call does for eight of those saves an event a twentieth of what it costs. The room for it is borrowed
// for no longer than there is more.
type readAhead struct {
	net.Conn
	more bool    // the last read has filled what it was given
	room *[]byte // nil: none
	held []byte  // what is in it and was not asked for yet

	counted atomic.Bool // the room is one of readsAhead
}

// withReadAhead has a transport's connections read ahead.
func withReadAhead(t *http.Transport) {
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &readAhead{Conn: conn}, nil
	}
}

// Read is for one goroutine at a time.
func (c *readAhead) Read(p []byte) (int, error) {
	if len(c.held) == 0 {
		if !c.more || len(p) > buffer.Min || !c.borrow() {
			n, err := c.Conn.Read(p)
			c.more = n == len(p)
			return n, err
		}
		n, err := c.Conn.Read(*c.room)
		if err != nil {
			c.giveBack()
			return n, err
		}
		c.more = n == len(*c.room)
		c.held = (*c.room)[:n]
	}
	n := copy(p, c.held)
	if c.held = c.held[n:]; len(c.held) == 0 {
		c.giveBack()
	}
	return n, nil
}

func (c *readAhead) borrow() bool {
	if !readsAhead.TryAcquire() {
		return false
	}
	c.counted.Store(true)
	c.room = buffer.Get(readAheadClass)
	return true
}

func (c *readAhead) giveBack() {
	buffer.Put(readAheadClass, c.room)
	c.room, c.held = nil, nil
	c.uncount()
}

func (c *readAhead) uncount() {
	if c.counted.CompareAndSwap(true, false) {
		readsAhead.Release()
	}
}

// Close leaves the room to a Read that goes on, which fails if it has only just borrowed it.
func (c *readAhead) Close() error {
	err := c.Conn.Close()
	c.uncount()
	return err
}
