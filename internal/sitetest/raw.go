package sitetest

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// RawChat is the text of an HTTP/1.1 request with the chat.
func RawChat(chat string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", ChatPath, len(chat), chat)
}

// SendRaw connects to the site over TCP and sends text.
func SendRaw(tb testing.TB, s *Site, text string) net.Conn {
	tb.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.Plain, "http://"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		tb.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		tb.Fatal(err)
	}
	return conn
}
