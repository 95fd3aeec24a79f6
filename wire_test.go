package illumichat

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

// wireUpstream is an upstream for tests to which the bytes matter: each request is answered in the hand of a
// function that can break off wherever it likes.
type wireUpstream struct {
	url string

	answer   func(*wire)
	listener net.Listener

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil when it is closed
	work  sync.WaitGroup
}

// wire is one request, and the means to answer it. After one of the ways to end nothing else may be called.
type wire struct {
	key  string // the Idempotency-Key
	body string

	head func() error                               // sends that of an event stream
	send func(string) error                         // sends bytes of the body
	json func(status int, header http.Header) error // answers with an error instead of a stream

	end   func() // ends the answer in order
	fin   func() // closes the connection
	reset func() // resets it, or in HTTP/2 the stream
	spoil func() // breaks the protocol

	// In HTTP/2 alone.
	refuse func()          // resets the stream as one that was not looked at
	goAway func(last bool) // says that it is closing, and whether this is its last request or was not looked at

	gone <-chan struct{} // closed when the request was given up
}

// stall falls silent until the request is given up.
func (w *wire) stall() { <-w.gone }

// wireUpstreams are the upstreams of each protocol, and what a directive needs for them.
var wireUpstreams = []struct {
	proto     string
	start     func(testing.TB, func(*wire)) *wireUpstream
	transport string
}{
	{"HTTP/1.1", newWireUpstream, ""},
	{"HTTP/2.0", newWireUpstream2, trusting},
}

const (
	// anyCertificate is the option of a transport that trusts the tests' upstreams, and trusting the subdirective with it.
	anyCertificate = "tls_insecure_skip_verify"
	trusting       = "transport http {\n" + anyCertificate + "\n}"
)

// newWireUpstream listens for HTTP/1.1.
func newWireUpstream(tb testing.TB, answer func(*wire)) *wireUpstream {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return startWireUpstream(tb, "http", listener, answer, serveHTTP1)
}

// newWireUpstream2 listens for HTTP/2, with TLS.
func newWireUpstream2(tb testing.TB, answer func(*wire)) *wireUpstream {
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

func startWireUpstream(tb testing.TB, scheme string, listener net.Listener, answer func(*wire), serve func(*wireUpstream, net.Conn)) *wireUpstream {
	u := &wireUpstream{
		url:      fmt.Sprintf("%s://%s/api/chat", scheme, listener.Addr()),
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
	tb.Cleanup(u.close)
	return u
}

func (u *wireUpstream) track(conn net.Conn) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.conns == nil {
		return false
	}
	u.conns[conn] = struct{}{}
	return true
}

func (u *wireUpstream) forget(conn net.Conn) {
	conn.Close()
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.conns, conn)
}

// close ends it, and waits until nothing is left of it. It may be called again.
func (u *wireUpstream) close() {
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
func serveHTTP1(u *wireUpstream, conn net.Conn) {
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
		w := &wire{
			key:  req.Header.Get("Idempotency-Key"),
			body: string(body),
			head: func() error {
				return write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
			},
			send: func(text string) error { return write(fmt.Sprintf("%x\r\n%s\r\n", len(text), text)) },
			json: func(status int, header http.Header) error {
				var lines bytes.Buffer
				_ = header.Write(&lines)
				ended = true
				return write(fmt.Sprintf("HTTP/1.1 %d Odd\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s",
					status, len(theirs), lines.String(), theirs))
			},
			end: func() {
				ended = true
				_ = write("0\r\n\r\n")
			},
			fin:   func() { conn.Close() },
			reset: func() { resetTCP(conn) },
			spoil: func() {
				_ = write("no chunk\r\n")
				<-gone
			},
			gone: gone,
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
	wire wire
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
func serveHTTP2(u *wireUpstream, conn net.Conn) {
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
				s.wire.body = s.body.String()
				answers.Go(func() { u.answer(&s.wire) })
			}
		}
	}
}

// write writes a frame. Once the connection is closed it does nothing.
func (c *conn2) write(frame func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.SetWriteDeadline(time.Now().Add(patience))
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
	s.wire = wire{
		head: func() error { return headers(false, ":status", "200", "content-type", "text/event-stream") },
		send: func(text string) error { return data(text, false) },
		json: func(status int, header http.Header) error {
			fields := []string{":status", fmt.Sprint(status), "content-type", "application/json"}
			if after := header.Get("Retry-After"); after != "" {
				fields = append(fields, "retry-after", after)
			}
			if err := headers(false, fields...); err != nil {
				return err
			}
			return data(theirs, true)
		},
		end:   func() { _ = data("", true) },
		fin:   func() { c.Close() },
		reset: func() { _ = c.write(func() error { return c.framer.WriteRSTStream(id, http2.ErrCodeInternal) }) },
		spoil: func() {
			_ = c.write(func() error { return c.framer.WriteGoAway(id, http2.ErrCodeProtocol, nil) })
			c.Close()
		},
		refuse: func() { _ = c.write(func() error { return c.framer.WriteRSTStream(id, http2.ErrCodeRefusedStream) }) },
		goAway: func(last bool) {
			until := id
			if !last {
				until = 0
			}
			_ = c.write(func() error { return c.framer.WriteGoAway(until, http2.ErrCodeNo, nil) })
		},
		gone: s.gone,
	}
	for _, field := range f.Fields {
		if field.Name == "idempotency-key" {
			s.wire.key = field.Value
		}
	}
	return s
}
