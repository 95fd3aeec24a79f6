package illumichat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/limit"
)

// What an operator left out.
const (
	defaultAttempts   = 3
	defaultBackoff    = caddy.Duration(time.Second)
	defaultBackoffCap = caddy.Duration(8 * time.Second)
)

// Retry tells when a chat is sent upstream once more. That happens only while nothing has been sent to the
// visitor, and all of it within `max_duration`. Besides the statuses of `on`, a try is repeated whose
// connection is refused or breaks, which takes longer than `response_timeout`, or whose stream ends before its
// first event. All tries of a chat have the same `Idempotency-Key`.
type Retry struct {
	// How many tries there are in all; 1 turns retrying off. Default: 3.
	Attempts int `json:"attempts,omitempty"`

	// The pause before the second try. It doubles with each further one, and varies by a half in
	// either direction. Default: `1s`.
	Backoff caddy.Duration `json:"backoff,omitempty"`

	// The longest pause. An upstream that asks for a longer one, by `Retry-After`, is not asked again.
	// Default: `8s`, or `backoff` where that is longer.
	BackoffCap caddy.Duration `json:"backoff_cap,omitempty"`

	// The statuses of an answer that are worth another try, out of 408, 425, 429 and 500 to 599.
	// Default: 429, 500, 502, 503 and 504.
	On []int `json:"on,omitempty"`
}

func (c *Retry) setDefaults() {
	if c.Attempts == 0 {
		c.Attempts = defaultAttempts
	}
	if c.Backoff == 0 {
		c.Backoff = defaultBackoff
	}
	if c.BackoffCap == 0 {
		c.BackoffCap = max(defaultBackoffCap, c.Backoff)
	}
	if len(c.On) == 0 {
		c.On = []int{
			http.StatusTooManyRequests,
			http.StatusInternalServerError,
			http.StatusBadGateway,
			http.StatusServiceUnavailable,
			http.StatusGatewayTimeout,
		}
	}
}

func (c *Retry) validate() error {
	switch {
	case c.Attempts < 0:
		return fmt.Errorf("attempts: %d is negative", c.Attempts)
	case c.Backoff < 0:
		return fmt.Errorf("backoff: %s is negative", time.Duration(c.Backoff))
	}
	if err := checkBackoffCap(c.Backoff, c.BackoffCap); err != nil {
		return err
	}
	for _, status := range c.On {
		if err := checkRetryStatus(status); err != nil {
			return fmt.Errorf("on: %w", err)
		}
	}
	return nil
}

// checkBackoffCap refuses a cap that the first pause would exceed.
func checkBackoffCap(first, longest caddy.Duration) error {
	if longest < first {
		return fmt.Errorf("backoff: the longest pause, %s, is shorter than the first, %s", time.Duration(longest), time.Duration(first))
	}
	return nil
}

// checkRetryStatus refuses statuses that say that the request itself was wrong: it would be so again.
func checkRetryStatus(status int) error {
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		return nil
	case status >= 500 && status <= 599:
		return nil
	}
	return fmt.Errorf("status %d is not for retrying; only 408, 425, 429 and 500 to 599 are", status)
}

// asker is what can be asked again.
type asker interface {
	// try asks once.
	try() error

	// nextTurn returns how long to wait before a further try, because of a cool-down; 0 if it can be made.
	nextTurn() (wait time.Duration)

	// isCommitted reports whether there can be no further try.
	isCommitted() bool

	// logPause is told of a try that is to be repeated after a pause, the tries so far and why the last one failed.
	logPause(tries int, pause time.Duration, cause error)
}

// tries are those of one asker: how many there are, and how long to pause between two.
type tries struct {
	config *Retry
	asker  asker

	made    int
	growing backoff.ExponentialBackOff
	asked   time.Duration // the pause that the last answer asked for; 0: none
	pause   time.Duration // the last one that was computed
}

// run has the asker try, again where that is safe, for as long as there is time left.
func (c *Retry) run(ctx context.Context, left time.Duration, a asker) error {
	t := &tries{
		config: c,
		asker:  a,
		growing: backoff.ExponentialBackOff{
			InitialInterval:     time.Duration(c.Backoff),
			MaxInterval:         time.Duration(c.BackoffCap),
			Multiplier:          2,
			RandomizationFactor: 0.5,
		},
	}
	_, err := backoff.Retry(ctx, t.next,
		backoff.WithBackOff(t),
		backoff.WithMaxElapsedTime(left),
		backoff.WithNotify(t.notify))
	return t.withRetryAfter(err)
}

// next makes the next try, unless a cool-down is on: it waits for that as the upstream's own Retry-After would have
// it wait, and loses no try by it. The first try has its turn already.
func (t *tries) next() (struct{}, error) {
	if t.made > 0 {
		if wait := t.asker.nextTurn(); wait > 0 {
			t.asked = wait
			return struct{}{}, limit.ErrCoolDown(wait)
		}
	}
	t.made++
	err := t.asker.try()
	if err != nil && !t.repeatable(err) {
		err = backoff.Permanent(err)
	}
	return struct{}{}, err
}

// repeatable reports whether a try that failed may be repeated, and notes the pause that it asked for.
func (t *tries) repeatable(err error) bool {
	if t.asker.isCommitted() {
		return false
	}
	var status *apierror.Error
	if errors.As(err, &status) {
		t.asked = status.RetryAfter
		return slices.Contains(t.config.On, status.Upstream)
	}
	var broken *apierror.Interruption
	return errors.As(err, &broken) && broken.Retryable
}

// NextBackOff returns the pause before the next try, if there is one.
func (t *tries) NextBackOff() time.Duration {
	longest := time.Duration(t.config.BackoffCap)
	t.pause = min(t.growing.NextBackOff(), longest)
	if t.asked > 0 {
		t.pause, t.asked = t.asked, 0
	}
	if t.made >= t.config.Attempts || t.pause > longest {
		return backoff.Stop
	}
	return t.pause
}

// Reset makes the next pause the first.
func (t *tries) Reset() { t.growing.Reset() }

func (t *tries) notify(err error, pause time.Duration) {
	if status, ok := errors.AsType[*apierror.Error](err); ok {
		err = status.Cause // without the upstream's words
	}
	t.asker.logPause(t.made, pause, err)
}

// withRetryAfter tells a visitor who gets a 429 when to come back: where the upstream did not say so, after the
// pause that would have been next.
func (t *tries) withRetryAfter(err error) error {
	var e *apierror.Error
	if !errors.As(err, &e) || e.Status != http.StatusTooManyRequests || e.Header != nil {
		return err
	}
	if t.pause == 0 {
		t.NextBackOff()
	}
	e.Header = apierror.RetryAfterHeader(t.pause)
	return e
}

// Interface guard
var _ backoff.BackOff = (*tries)(nil)
