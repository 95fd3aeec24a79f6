package cause

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"slices"
	"syscall"
)

// named is an error with a text of ours.
type named struct {
	text string
	err  error
}

// Error returns the kind of the error.
func (n *named) Error() string { return n.text }

// Unwrap returns the error itself, for errors.Is and errors.As. Its text must not be logged.
func (n *named) Unwrap() error { return n.err }

// Of returns err with a text that names its kind and quotes nothing of the other side. errors.Is and errors.As still
// find what err holds. Of returns nil for nil.
//
// The text is made of constants, numbers, and the address that was dialed. An error of a kind that Of does not know
// gets a text that names only its Go type.
func Of(err error) error {
	switch err := err.(type) {
	case nil:
		return nil
	case *named:
		return err
	}
	return &named{text: where(err) + kind(err), err: err}
}

// As returns err with the given text, which must quote nothing of the other side. errors.Is and errors.As still find what
// err holds.
func As(text string, err error) error { return &named{text: text, err: err} }

// steps are the values of net.OpError.Op that net, net/http and crypto/tls use.
var steps = []string{"close", "dial", "local error", "proxyconnect", "read", "remote error", "set", "socks connect", "write"}

// where returns which step of a connection failed, as a prefix. For a dial, it has the address, which is never a
// visitor's.
func where(err error) string {
	e, ok := errors.AsType[*net.OpError](err)
	if !ok || !slices.Contains(steps, e.Op) {
		return ""
	}
	if e.Op != "dial" {
		return e.Op + ": "
	}
	switch address := e.Addr.(type) {
	case *net.TCPAddr:
		return "dial tcp " + address.String() + ": "
	case *net.UnixAddr:
		return "dial unix " + address.Name + ": "
	}
	return "dial: "
}

// kind returns the kind of err, without the step in which it occurred.
func kind(err error) string {
	for _, of := range []func(error) string{constant, ofLookup, ofSystem, ofTLS, ofHTTP, ofTimeout, ofEnd, ofDial} {
		if text := of(err); text != "" {
			return text
		}
	}
	return fmt.Sprintf("an error of an unknown kind (%T)", innermost(err))
}

// constant returns the text of an error whose text is a constant of the standard library.
func constant(err error) string {
	for _, known := range []error{context.Canceled, context.DeadlineExceeded, os.ErrDeadlineExceeded, net.ErrClosed, io.ErrClosedPipe, io.ErrShortWrite} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return ""
}

// ofLookup returns the kind of an error of DNS. Its own text has the name, which may come from a placeholder.
func ofLookup(err error) string {
	e, ok := errors.AsType[*net.DNSError](err)
	switch {
	case !ok:
		return ""
	case e.IsNotFound:
		return "no such host"
	case e.IsTimeout:
		return "the DNS server does not answer"
	}
	return "the DNS lookup failed"
}

// ofSystem returns the text of an error of the operating system, which is a constant.
func ofSystem(err error) string {
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e.Error()
	}
	return ""
}

// ofTLS returns the kind of an error of a TLS handshake.
func ofTLS(err error) string {
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired {
			return "the certificate has expired or is not yet valid"
		}
		return fmt.Sprintf("the certificate is not valid (reason %d of crypto/x509)", e.Reason)
	}
	switch {
	case has[x509.HostnameError](err):
		return "the certificate is for another name"
	case has[x509.UnknownAuthorityError](err):
		return "the certificate is signed by an unknown authority"
	case has[x509.SystemRootsError](err):
		return "this machine has no CA certificates"
	case has[*tls.CertificateVerificationError](err):
		return "the certificate cannot be verified"
	case has[tls.RecordHeaderError](err):
		return "the other side does not speak TLS"
	}
	if alert, ok := alertOf(err); ok {
		return alert.Error()
	}
	return ""
}

func has[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// alertOf returns the TLS alert in err. crypto/tls does not export the type of an alert over TCP.
func alertOf(err error) (tls.AlertError, bool) {
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		return alert, true
	}
	value := reflect.ValueOf(innermost(err))
	if value.Kind() == reflect.Uint8 && value.Type().PkgPath() == "crypto/tls" {
		return tls.AlertError(value.Uint()), true
	}
	return 0, false
}

// ofTimeout returns "timeout" for any other timeout.
func ofTimeout(err error) string {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return "timeout"
	}
	return ""
}

// ofEnd returns how the bytes ended. It is the last resort, because more telling errors wrap io.EOF as well.
func ofEnd(err error) string {
	for _, known := range []error{io.ErrUnexpectedEOF, io.EOF} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return ""
}

// innermost returns the last error of err's chain. Where the chain branches, it follows the first branch.
func innermost(err error) error {
	last := err
	for err := range chain(err) {
		last = err
	}
	return last
}

// chain yields err and the errors that it wraps. Where the chain branches, it follows the first branch.
func chain(err error) func(yield func(error) bool) {
	return func(yield func(error) bool) {
		for err != nil && yield(err) {
			switch e := err.(type) {
			case interface{ Unwrap() error }:
				err = e.Unwrap()
			case interface{ Unwrap() []error }:
				all := e.Unwrap()
				if len(all) == 0 {
					return
				}
				err = all[0]
			default:
				return
			}
		}
	}
}
