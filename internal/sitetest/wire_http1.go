package sitetest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
)

// resetTCP closes the connection with a TCP reset.
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
		go func() { // the next byte begins another request; an error is the end
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
