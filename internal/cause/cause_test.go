package cause

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/http2"
)

// private stands for what the other side sent. No text of Of may hold it.
const private = "private words"

// quoting is an error of another package that quotes the other side.
type quoting struct{}

func (quoting) Error() string { return private }

// Each kind of error has a text from which an operator learns what to do.
func TestOf(t *testing.T) {
	certificate := &x509.Certificate{DNSNames: []string{private}}
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 81}, Err: err}
	}
	read := func(err error) error {
		return &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2)}, Err: err}
	}
	for want, err := range map[string]error{
		"context canceled":                                       fmt.Errorf(private+": %w", context.Canceled),
		"context deadline exceeded":                              context.DeadlineExceeded,
		"EOF":                                                    io.EOF,
		"unexpected EOF":                                         fmt.Errorf(private+": %w", io.ErrUnexpectedEOF),
		"read: use of closed network connection":                 read(net.ErrClosed),
		"read: i/o timeout":                                      read(os.ErrDeadlineExceeded),
		"read: connection reset by peer":                         read(os.NewSyscallError("read", syscall.ECONNRESET)),
		"dial tcp 127.0.0.1:81: connection refused":              dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)),
		"dial: no such host":                                     &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Name: private, Err: private, IsNotFound: true}},
		"the DNS server does not answer":                         &net.DNSError{Name: private, IsTimeout: true},
		"the DNS lookup failed":                                  &net.DNSError{Name: private, Err: private},
		"remote error: tls: handshake failure":                   &net.OpError{Op: "remote error", Err: tls.AlertError(40)},
		"tls: no application protocol":                           tls.AlertError(120),
		"the certificate has expired or is not yet valid":        verification(x509.CertificateInvalidError{Cert: certificate, Reason: x509.Expired, Detail: private}),
		"the certificate is not valid (reason 3 of crypto/x509)": verification(x509.CertificateInvalidError{Cert: certificate, Reason: x509.TooManyIntermediates, Detail: private}),
		"the certificate is for another name":                    verification(x509.HostnameError{Certificate: certificate, Host: private}),
		"the certificate is signed by an unknown authority":      verification(x509.UnknownAuthorityError{Cert: certificate}),
		"the certificate cannot be verified":                     verification(errors.New(private)),
		"this machine has no CA certificates":                    x509.SystemRootsError{Err: errors.New(private)},
		"the other side does not speak TLS":                      tls.RecordHeaderError{Msg: private},
		"malformed status line":                                  errors.New("malformed HTTP response \"" + private + "\""),
		"malformed header":                                       fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", textproto.ProtocolError("malformed MIME header line: "+private)),
		"malformed trailer":                                      errors.New("bad trailer key \"" + private + "\""),
		"HTTP/2 protocol error":                                  errors.New("http2: " + private),
		"HTTP/2 GOAWAY: ENHANCE_YOUR_CALM":                       fmt.Errorf("http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=ENHANCE_YOUR_CALM, debug=%q", private),
		"HTTP/2 GOAWAY: NO_ERROR":                                fmt.Errorf("http2: Transport: cannot retry err [http2: server sent GOAWAY and closed the connection; LastStreamID=0, ErrCode=NO_ERROR, debug=%q] after Request.Body was written", private),
		"HTTP/2 GOAWAY with an unknown code":                     errors.New("http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=PRIVATE, debug="),
		"HTTP/2 stream error: INTERNAL_ERROR":                    http2.StreamError{StreamID: 1, Code: http2.ErrCodeInternal, Cause: errors.New(private)},
		"HTTP/2 stream error with an unknown code":               http2.StreamError{StreamID: 1, Code: 99},
		"HTTP/2 connection error: COMPRESSION_ERROR":             http2.ConnectionError(http2.ErrCodeCompression),
		"timeout": timeout{},
		"an error of an unknown kind (cause.quoting)":       errors.Join(fmt.Errorf(private+": %w", quoting{}), errors.New(private)),
		"an error of an unknown kind (*errors.errorString)": errors.New(private),
	} {
		got := Of(err)
		if got.Error() != want || !errors.Is(got, err) && !errors.As(got, new(tls.RecordHeaderError)) {
			t.Errorf("%T %v: got %q, want %q", err, err, got, want)
		}
		if text := fmt.Sprintf("%v %+v %s %q", got, got, got, got); strings.Contains(text, "private") || strings.Contains(text, "192.0.2") {
			t.Errorf("the text quotes the other side: %s", text)
		}
		if Of(got) != got {
			t.Errorf("%v: the second call changes it", got)
		}
	}
	if err := Of(nil); err != nil {
		t.Errorf("nil becomes %v", err)
	}
}

// The kind of a failed dial is the same for all addresses. All other kinds are the texts.
func TestKind(t *testing.T) {
	for text, want := range map[string]string{
		"dial tcp 192.0.2.7:443: connection refused":     "dial: connection refused",
		"dial tcp [2001:db8::1]:443: connection refused": "dial: connection refused",
		"dial unix /run/api.sock: connection refused":    "dial: connection refused",
		"dial: no such host":                             "dial: no such host",
		"read: connection reset by peer":                 "read: connection reset by peer",
		"status 404":                                     "status 404",
	} {
		if got := Kind(errors.New(text)); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	if got := Kind(nil); got != "" {
		t.Errorf("got %q for nil", got)
	}
}

// verification returns err as crypto/tls returns the failure of a certificate.
func verification(err error) error {
	return &tls.CertificateVerificationError{UnverifiedCertificates: []*x509.Certificate{{DNSNames: []string{private}}}, Err: err}
}

type timeout struct{}

func (timeout) Error() string   { return private }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return false }

// An alert over TCP has a type that crypto/tls does not export.
func TestOfAlert(t *testing.T) {
	client, server := net.Pipe()
	go func() {
		_ = tls.Server(server, &tls.Config{}).Handshake() // it has no certificate, so it sends an alert
	}()
	err := tls.Client(client, &tls.Config{ServerName: private}).Handshake()
	if got := Of(err).Error(); !strings.HasPrefix(got, "remote error: tls: ") {
		t.Errorf("%v: got %q", err, got)
	}
}

// dialError hides the type of its error, as Caddy's does.
type dialError struct{ error }

func TestOfHiddenDial(t *testing.T) {
	for text, want := range map[string]string{
		"dial tcp 127.0.0.1:81: connect: connection refused":              "dial tcp 127.0.0.1:81: connection refused",
		"dial tcp [::1]:81: i/o timeout":                                  "dial tcp [::1]:81: i/o timeout",
		"dial tcp: lookup " + private + " on 127.0.0.53:53: no such host": "dial: no such host",
		"dial unix /" + private + ": connect: no such file or directory":  "dial: no such file or directory",
		"dial tcp 127.0.0.1:81: " + private:                               "dial tcp 127.0.0.1:81: an error of an unknown kind",
		"dialled " + private:                                              "an error of an unknown kind (cause.dialError)",
	} {
		if got := Of(dialError{errors.New(text)}).Error(); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// A panic's text has no value of a foreign type.
func TestOfPanic(t *testing.T) {
	var index any = func() (p any) {
		defer func() { p = recover() }()
		return []int{}[len(private)]
	}()
	for want, value := range map[string]any{
		"runtime error: index out of range [13] with length 0": index,
		"an error of an unknown kind (*errors.errorString)":    errors.New(private),
		"a value of type string":                               private,
		"a value of type []uint8":                              []byte(private),
	} {
		if got := OfPanic(value); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
