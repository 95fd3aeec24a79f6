package sitetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// conn2 is an HTTP/2 connection.
type conn2 struct {
	net.Conn
	framer *http2.Framer

	mu      sync.Mutex // held while a frame is written
	encoder *hpack.Encoder
	block   bytes.Buffer

	streams map[uint32]*stream2 // used only by the goroutine that reads
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

// serveHTTP2 answers the requests of a connection concurrently.
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

// write calls frame, which writes one frame, with mu held. Once the connection is closed, frame only returns an error.
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
		const largest = 16 << 10 // bytes in a frame: every peer accepts this many
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
