package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/buffer"
)

var errBroken = errors.New("the connection is broken")

// flooded is a connection that fills every read, until left bytes are read; then it fails.
type flooded struct {
	net.Conn
	left  int
	reads int
}

func (c *flooded) Read(p []byte) (int, error) {
	c.reads++
	if c.left == 0 {
		return 0, errBroken
	}
	n := min(len(p), c.left)
	c.left -= n
	return n, nil
}

func (c *flooded) Close() error { return nil }

func TestReadAheadReadsMoreAtOnce(t *testing.T) {
	const size = buffer.Min + 64*buffer.Min<<readAheadClass // the last read fills the read-ahead buffer
	inner := &flooded{left: size}
	conn := &readAhead{Conn: inner}
	if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, make([]byte, buffer.Min)); n != size || !errors.Is(err, errBroken) {
		t.Fatalf("read %d bytes and got %v", n, err)
	}
	if want := 1 + 64 + 1; inner.reads != want {
		t.Errorf("it took %d reads, want %d", inner.reads, want)
	}
	if n := readsAhead.InUse(); n != 0 {
		t.Errorf("%d rooms are left", n)
	}
}

// The connection delivers exactly the bytes that were sent, whatever the sizes of the reads and writes.
func TestReadAheadReadsTheSame(t *testing.T) {
	writing, reading := rand.New(rand.NewPCG(1, 1)), rand.New(rand.NewPCG(2, 2))
	sent := make([]byte, 1<<20)
	for i := range sent {
		sent[i] = byte(writing.Int())
	}
	ours, theirs := net.Pipe() // net.Pipe splits a write if a read takes less
	defer ours.Close()
	go func() {
		defer theirs.Close()
		for rest := sent; len(rest) > 0; {
			n, err := theirs.Write(rest[:min(1+writing.IntN(3*buffer.Min<<readAheadClass), len(rest))])
			if err != nil {
				return // the reader fails, too
			}
			rest = rest[n:]
		}
	}()
	conn := &readAhead{Conn: ours}
	var got []byte
	for {
		p := make([]byte, 1+reading.IntN(2*buffer.Min))
		n, err := conn.Read(p)
		got = append(got, p[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("got %d bytes that are not the %d sent", len(got), len(sent))
	}
	if n := readsAhead.InUse(); n != 0 {
		t.Errorf("%d rooms are left", n)
	}
}

// Only maxReadsAhead connections read ahead at once; the others read as usual. A connection that is closed while it
// still holds bytes no longer counts.
func TestReadsAheadAreBounded(t *testing.T) {
	var conns []*readAhead
	for i := range maxReadsAhead + 10 {
		conn := &readAhead{Conn: &flooded{left: 1 << 20}}
		conns = append(conns, conn)
		for range 3 {
			if n, err := conn.Read(make([]byte, buffer.Min)); n != buffer.Min || err != nil {
				t.Fatalf("read %d bytes and got %v", n, err)
			}
		}
		if got, want := len(conn.held) > 0, i < maxReadsAhead; got != want {
			t.Errorf("connection %d reads ahead: %v", i, got)
		}
	}
	for _, conn := range conns {
		conn.Close()
		conn.Close()
	}
	if n := readsAhead.InUse(); n != 0 {
		t.Errorf("%d rooms are left", n)
	}
}

// A connection reads ahead while the upstream sends a flood. When the visitor leaves, it no longer counts.
func TestFloodIsReadAhead(t *testing.T) {
	flood := strings.Repeat("data: hello\n\n", 1000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, flood)
		}
	}))
	t.Cleanup(server.Close)
	e, err := ResolveEndpoint(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	resp, _, err := New(e, loadHTTPTransport(t, "{}"), time.Minute).Send(ctx, Request{Body: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for readsAhead.InUse() == 0 {
		if _, err := resp.Body.Read(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	leave()
	for range 1000 {
		if readsAhead.InUse() == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("a room is left")
}
