package upstream

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/cause"
)

// causeOf returns err, an error of the transport, without what the upstream sent. If a request failed because ctx has
// ended, causeOf returns the reason why ctx has ended. The watchdog or the exchange gave that reason.
func causeOf(ctx context.Context, err error) error {
	if ended := context.Cause(ctx); ended != nil && errors.Is(err, ended) {
		return ended
	}
	return cause.Of(err)
}

// answerBody is the body of a response. The errors of its Read quote nothing of the upstream.
type answerBody struct {
	io.ReadCloser
	ctx context.Context // of the request
}

// Read reads from the body. Like that of net/http, it returns io.EOF itself at the end.
func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = causeOf(b.ctx, err)
	}
	return n, err
}

// maxWord bounds the name of a header field that may be logged, in bytes. A token of the documented form is
// longer.
const maxWord = 40

// printableField returns the name of a header field as it may be logged. net/http changes the case of a name.
func printableField(name string, token Token) string {
	odd := func(c rune) bool {
		return (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-'
	}
	if len(name) > maxWord || strings.ContainsFunc(name, odd) || strings.Contains(strings.ToLower(name), strings.ToLower(string(token.value))) {
		return "unknown"
	}
	return name
}
