package upstream

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// If the exchange has ended an attempt, the reason for that is the cause.
func TestCauseOfAnEndedAttempt(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	failed := errors.New("private")
	if got := causeOf(ctx, failed); strings.Contains(got.Error(), "private") || !errors.Is(got, failed) {
		t.Errorf("got %v", got)
	}
	cancel(apierror.Stalled)
	if got := causeOf(ctx, apierror.Stalled); got != error(apierror.Stalled) {
		t.Errorf("got %v", got)
	}
	if got := causeOf(ctx, failed); strings.Contains(got.Error(), "private") {
		t.Errorf("got %v", got)
	}
}

// A body ends with io.EOF itself. Any other error has the text of its cause.
func TestAnswerBody(t *testing.T) {
	whole := &answerBody{io.NopCloser(strings.NewReader("")), t.Context()}
	if _, err := whole.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v", err)
	}
	broken := &answerBody{io.NopCloser(iotest.ErrReader(errors.New("private"))), t.Context()}
	if _, err := broken.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "private") {
		t.Errorf("got %v", err)
	}
}

func TestPrintableField(t *testing.T) {
	odd := newToken([]byte("an-odd-token-of-words"))
	for name, want := range map[string]string{
		"X-Token":               "X-Token",
		"An-Odd-Token-Of-Words": "unknown",
		"A_b":                   "unknown",
		sandbox.Token:           "unknown",
		strings.Repeat("x", 41): "unknown",
	} {
		if got := printableField(name, odd); got != want {
			t.Errorf("%s: got %s", name, got)
		}
	}
}
