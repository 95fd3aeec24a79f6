package sitetest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
)

// WireUpstream is an upstream for tests to which the bytes matter: each request is answered in the hand of a
// function that can break off wherever it likes.
type WireUpstream struct {
	URL string

	answer   func(*Wire)
	listener net.Listener

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil when it is closed
	work  sync.WaitGroup
}

// Wire is one request, and the means to answer it. After one of the ways to end nothing else may be called.
type Wire struct {
	Key  string // the Idempotency-Key
	Body string

	Head  func() error                               // sends that of an event stream
	Send  func(string) error                         // sends bytes of the body
	Error func(status int, header http.Header) error // answers with an error instead of a stream

	End   func() // ends the answer in order
	Fin   func() // closes the connection
	Reset func() // resets it, or in HTTP/2 the stream
	Spoil func() // breaks the protocol

	// In HTTP/2 alone.
	Refuse func()          // resets the stream as one that was not looked at
	GoAway func(last bool) // says that it is closing, and whether this is its last request or was not looked at

	Gone <-chan struct{} // closed when the request was given up
}

// Stall falls silent until the request is given up.
func (w *Wire) Stall() { <-w.Gone }

// WireUpstreams are the upstreams of each protocol, and what a directive needs for them.
var WireUpstreams = []struct {
	Proto     string
	Start     func(testing.TB, func(*Wire)) *WireUpstream
	Transport string
}{
	{"HTTP/1.1", NewWireUpstream1, ""},
	{"HTTP/2.0", NewWireUpstream2, Trusting},
}

const (
	// AnyCertificate is the option of a transport that trusts the tests' upstreams, and trusting the subdirective with it.
	AnyCertificate = "tls_insecure_skip_verify"
	Trusting       = "transport http {\n" + AnyCertificate + "\n}"
)

// NewWireUpstream1 listens for HTTP/1.1.
func NewWireUpstream1(tb testing.TB, answer func(*Wire)) *WireUpstream {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return startWireUpstream(tb, "http", listener, answer, serveHTTP1)
}

// NewWireUpstream2 listens for HTTP/2, with TLS.
func NewWireUpstream2(tb testing.TB, answer func(*Wire)) *WireUpstream {
	tb.Helper()
	certPEM, keyPEM := localhost.PEM()
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		tb.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}})
	if err != nil {
		tb.Fatal(err)
	}
	return startWireUpstream(tb, "https", listener, answer, serveHTTP2)
}

func startWireUpstream(tb testing.TB, scheme string, listener net.Listener, answer func(*Wire), serve func(*WireUpstream, net.Conn)) *WireUpstream {
	u := &WireUpstream{
		URL:      fmt.Sprintf("%s://%s/api/chat", scheme, listener.Addr()),
		answer:   answer,
		listener: listener,
		conns:    make(map[net.Conn]struct{}),
	}
	u.work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if !u.track(conn) {
				conn.Close()
				return
			}
			u.work.Go(func() {
				defer u.forget(conn)
				serve(u, conn)
			})
		}
	})
	tb.Cleanup(u.Close)
	return u
}

func (u *WireUpstream) track(conn net.Conn) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.conns == nil {
		return false
	}
	u.conns[conn] = struct{}{}
	return true
}

func (u *WireUpstream) forget(conn net.Conn) {
	conn.Close()
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.conns, conn)
}

// IsIdle reports whether it has no connections.
func (u *WireUpstream) IsIdle() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.conns) == 0
}

// Close ends it, and waits until nothing is left of it. It may be called again.
func (u *WireUpstream) Close() {
	u.listener.Close()
	u.mu.Lock()
	for conn := range u.conns {
		conn.Close()
	}
	u.conns = nil
	u.mu.Unlock()
	u.work.Wait()
}

// resetTCP has the peer get a reset.
func resetTCP(conn net.Conn) {
	if wrapped, ok := conn.(*tls.Conn); ok {
		conn = wrapped.NetConn()
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// serveHTTP1 answers the requests of a connection one after the other.
func serveHTTP1(u *WireUpstream, conn net.Conn) {
	in := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		gone := make(chan struct{})
		var next error
		go func() { // what comes next is another request, or the end
			defer close(gone)
			_, next = in.Peek(1)
		}()
		ended := false
		write := func(text string) error {
			_, err := io.WriteString(conn, text)
			return err
		}
		w := &Wire{
			Key:  req.Header.Get("Idempotency-Key"),
			Body: string(body),
			Head: func() error {
				return write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
			},
			Send: func(text string) error { return write(fmt.Sprintf("%x\r\n%s\r\n", len(text), text)) },
			Error: func(status int, header http.Header) error {
				var lines bytes.Buffer
				_ = header.Write(&lines)
				ended = true
				return write(fmt.Sprintf("HTTP/1.1 %d Odd\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s",
					status, len(Theirs), lines.String(), Theirs))
			},
			End: func() {
				ended = true
				_ = write("0\r\n\r\n")
			},
			Fin:   func() { conn.Close() },
			Reset: func() { resetTCP(conn) },
			Spoil: func() {
				_ = write("no chunk\r\n")
				<-gone
			},
			Gone: gone,
		}
		u.answer(w)
		if !ended {
			conn.Close()
		}
		if <-gone; next != nil {
			return
		}
	}
}

// conn2 is an HTTP/2 connection.
type conn2 struct {
	net.Conn
	framer *http2.Framer

	mu      sync.Mutex // held while a frame is written
	encoder *hpack.Encoder
	block   bytes.Buffer

	streams map[uint32]*stream2 // of the reader alone
}

type stream2 struct {
	wire Wire
	body bytes.Buffer
	gone chan struct{}
	left bool
}

func (s *stream2) leave() {
	if !s.left {
		s.left = true
		close(s.gone)
	}
}

// serveHTTP2 answers the requests of a connection, each by its side.
func serveHTTP2(u *WireUpstream, conn net.Conn) {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(conn, preface); err != nil {
		return
	}
	c := &conn2{Conn: conn, framer: http2.NewFramer(conn, conn), streams: make(map[uint32]*stream2)}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encoder = hpack.NewEncoder(&c.block)
	c.write(func() error { return c.framer.WriteSettings() })
	var answers sync.WaitGroup
	defer answers.Wait()
	defer func() {
		for _, s := range c.streams {
			s.leave()
		}
	}()
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			if _, ok := errors.AsType[http2.StreamError](err); ok {
				continue
			}
			return
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				c.write(c.framer.WriteSettingsAck)
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				c.write(func() error { return c.framer.WritePing(true, f.Data) })
			}
		case *http2.MetaHeadersFrame:
			c.streams[f.StreamID] = c.newStream(f)
		case *http2.RSTStreamFrame:
			if s := c.streams[f.StreamID]; s != nil {
				s.leave()
			}
		case *http2.DataFrame:
			s := c.streams[f.StreamID]
			s.body.Write(f.Data())
			if f.StreamEnded() {
				s.wire.Body = s.body.String()
				answers.Go(func() { u.answer(&s.wire) })
			}
		}
	}
}

// write writes a frame. Once the connection is closed it does nothing.
func (c *conn2) write(frame func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.SetWriteDeadline(time.Now().Add(Patience))
	return frame()
}

func (c *conn2) newStream(f *http2.MetaHeadersFrame) *stream2 {
	id := f.StreamID
	s := &stream2{gone: make(chan struct{})}
	headers := func(last bool, fields ...string) error {
		return c.write(func() error {
			c.block.Reset()
			for i := 0; i < len(fields); i += 2 {
				_ = c.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
			}
			return c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndHeaders: true, EndStream: last})
		})
	}
	data := func(text string, last bool) error {
		const largest = 16 << 10 // the least that every peer takes
		for len(text) > largest {
			if err := c.write(func() error { return c.framer.WriteData(id, false, []byte(text[:largest])) }); err != nil {
				return err
			}
			text = text[largest:]
		}
		return c.write(func() error { return c.framer.WriteData(id, last, []byte(text)) })
	}
	s.wire = Wire{
		Head: func() error { return headers(false, ":status", "200", "content-type", "text/event-stream") },
		Send: func(text string) error { return data(text, false) },
		Error: func(status int, header http.Header) error {
			fields := []string{":status", fmt.Sprint(status), "content-type", "application/json"}
			if after := header.Get("Retry-After"); after != "" {
				fields = append(fields, "retry-after", after)
			}
			if err := headers(false, fields...); err != nil {
				return err
			}
			return data(Theirs, true)
		},
		End:   func() { _ = data("", true) },
		Fin:   func() { c.Close() },
		Reset: func() { _ = c.write(func() error { return c.framer.WriteRSTStream(id, http2.ErrCodeInternal) }) },
		Spoil: func() {
			_ = c.write(func() error { return c.framer.WriteGoAway(id, http2.ErrCodeProtocol, nil) })
			c.Close()
		},
		Refuse: func() { _ = c.write(func() error { return c.framer.WriteRSTStream(id, http2.ErrCodeRefusedStream) }) },
		GoAway: func(last bool) {
			until := id
			if !last {
				until = 0
			}
			_ = c.write(func() error { return c.framer.WriteGoAway(until, http2.ErrCodeNo, nil) })
		},
		Gone: s.gone,
	}
	for _, field := range f.Fields {
		if field.Name == "idempotency-key" {
			s.wire.Key = field.Value
		}
	}
	return s
}
