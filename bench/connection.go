package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
)

// protocol is how visitors connect to a site.
type protocol int

const (
	http1     protocol = iota // HTTP/1.1 without TLS
	http2TLS                  // HTTP/2 over TLS
	http3QUIC                 // HTTP/3
)

// connection carries the chats of one visitor, one after another.
type connection interface {
	// post sends a chat. It returns the response as soon as its headers have arrived.
	post(body []byte) (*http.Response, error)
	Close() error
}

// serverName is the name in the certificate of upstreams and sites.
const serverName = "localhost"

// connect opens a connection to the site.
func (s *site) connect() (connection, error) {
	ctx, cancel := context.WithTimeout(context.Background(), longestRun)
	defer cancel()
	switch s.protocol {
	case http2TLS:
		return dialHTTP2(ctx, s)
	case http3QUIC:
		return dialHTTP3(ctx, s)
	default:
		return dialHTTP1(s)
	}
}

// roots has the rig's own certificate.
var roots = sync.OnceValue(func() *x509.CertPool {
	cert, _ := localhost.PEM()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool
})

// trusted returns a TLS configuration that trusts the rig's own certificate.
func trusted(protocols ...string) *tls.Config {
	return &tls.Config{RootCAs: roots(), ServerName: serverName, NextProtos: protocols}
}

// plainConnection speaks just enough HTTP/1.1, so that visitors leave most of the machine to the proxy.
type plainConnection struct {
	net.Conn
	site   *site
	reader *bufio.Reader
}

func dialHTTP1(s *site) (connection, error) {
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(longestRun))
	return &plainConnection{conn, s, bufio.NewReaderSize(conn, 4096)}, nil
}

func (c *plainConnection) post(body []byte) (*http.Response, error) {
	request := fmt.Appendf(nil, "POST /api/chat-proxy HTTP/1.1\r\nHost: %s\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		c.site.address, c.site.header, len(body), body)
	if _, err := c.Write(request); err != nil {
		return nil, err
	}
	return http.ReadResponse(c.reader, nil)
}

// clientConnection is a connection of net/http or quic-go.
type clientConnection struct {
	http.RoundTripper
	ctx    context.Context // ends with the connection
	cancel context.CancelFunc
	close  func() error
}

func newClientConnection(client http.RoundTripper, closeConn func() error) *clientConnection {
	ctx, cancel := context.WithTimeout(context.Background(), longestRun)
	return &clientConnection{client, ctx, cancel, closeConn}
}

func (c *clientConnection) post(body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(c.ctx, http.MethodPost, "https://"+serverName+"/api/chat-proxy", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return c.RoundTrip(req)
}

func (c *clientConnection) Close() error {
	c.cancel()
	return c.close()
}

func dialHTTP2(ctx context.Context, s *site) (connection, error) {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	transport := &http.Transport{
		TLSClientConfig: trusted(), Protocols: protocols, DisableCompression: true, ReadBufferSize: 4096, WriteBufferSize: 4096,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.address)
		},
	}
	conn, err := transport.NewClientConn(ctx, "https", serverName+":443")
	if err != nil {
		return nil, err
	}
	return newClientConnection(conn, conn.Close), nil
}

func dialHTTP3(ctx context.Context, s *site) (connection, error) {
	conn, err := quic.DialAddr(ctx, s.address, trusted(http3.NextProtoH3), nil)
	if err != nil {
		return nil, err
	}
	client := (&http3.Transport{DisableCompression: true}).NewClientConn(conn)
	return newClientConnection(client, func() error { return conn.CloseWithError(0, "") }), nil
}

// checkAnswer returns an error if the response is not an answer.
func checkAnswer(resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 300))
	return errors.Join(fmt.Errorf("%s: %s", resp.Status, text), err)
}
