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

// Defaults of options that the operator left out.
const (
	defaultAttempts   = 3
	defaultBackoff    = caddy.Duration(time.Second)
	defaultBackoffCap = caddy.Duration(8 * time.Second)
)

// Retry sets when a chat is sent upstream again. That happens only as long as nothing has been sent to the visitor, and
// within `max_duration`. An attempt is repeated if the status of its answer is in `on`, or its connection is refused or
// breaks. So is an attempt whose stream ends before its first event. An attempt that runs into `response_timeout` is not
// repeated, because the upstream may already charge for it. All attempts of a chat have the same `Idempotency-Key`.
type Retry struct {
	// The maximum number of attempts, including the first; 1 turns retrying off. Default: 3.
	Attempts int `json:"attempts,omitempty"`

	// The pause before the second attempt. It doubles with each further attempt, and varies at random by up to a
	// half in either direction. Default: `1s`.
	Backoff caddy.Duration `json:"backoff,omitempty"`

	// The longest pause. If the upstream asks for a longer one with `Retry-After`, there is no further attempt. Default:
	// `8s`, or `backoff` if that is longer.
	BackoffCap caddy.Duration `json:"backoff_cap,omitempty"`

	// The statuses of an answer that are worth another attempt, out of 425, 429 and 500 to 599. Default: 429, 500, 502,
	// 503, 504, 520 to 523 and 529.
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
			520, 521, 522, 523, // a CDN cannot reach the upstream, or gets a broken answer
			529, // the upstream is overloaded
		}
	}
}

func (c *Retry) validate() error {
	if c.Attempts < 0 {
		return fmt.Errorf("attempts: %d is negative", c.Attempts)
	}
	if err := checkDuration(c.Backoff); err != nil {
		return fmt.Errorf("backoff: %w", err)
	}
	if err := checkDuration(c.BackoffCap); err != nil {
		return fmt.Errorf("backoff_cap: %w", err)
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

// checkBackoffCap returns an error if the first pause is longer than the cap.
func checkBackoffCap(first, longest caddy.Duration) error {
	if longest < first {
		return fmt.Errorf("backoff: the longest pause, %s, is shorter than the first, %s", time.Duration(longest), time.Duration(first))
	}
	return nil
}

// checkRetryStatus returns an error for a status that is not worth another attempt. A request that was itself wrong
// would be wrong again.
func checkRetryStatus(status int) error {
	switch {
	case status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		return nil
	case status >= 500 && status <= 599:
		return nil
	}
	return fmt.Errorf("status %d is not for retrying; only 425, 429 and 500 to 599 are", status)
}

// asker sends a chat upstream, once for each attempt.
type asker interface {
	// try makes one attempt. It returns nil if there is an answer to pass on.
	try() error

	// nextTurn returns how long a cool-down delays the next attempt. 0 means that the attempt can be made now.
	nextTurn() (wait time.Duration)

	// isOver reports whether there can be no further attempt: something was sent to the visitor, or the exchange has
	// ended.
	isOver() bool

	// logPause logs that another attempt follows after a pause. tries is the number of attempts so far, and cause says
	// why the last one failed.
	logPause(tries int, pause time.Duration, cause error)
}

// tries counts the attempts of one asker and computes the pauses between them.
type tries struct {
	config *Retry
	asker  asker

	made    int
	growing backoff.ExponentialBackOff
	asked   time.Duration // the pause that the last answer or a cool-down asked for; 0 means none
	pause   time.Duration // the last pause computed
}

// run makes attempts until one succeeds, another is not safe, or no attempts or time are left. It returns the last
// error, or the cause of ctx if ctx ends.
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

// next makes the next attempt, unless a cool-down is on. A cool-down is treated as a pause that the upstream asked for
// by Retry-After, and uses up no attempt. The first attempt needs no check, because the limiter gave the chat its turn.
func (t *tries) next() (struct{}, error) {
	if t.made > 0 {
		if wait := t.asker.nextTurn(); wait > 0 {
			t.asked = wait
			return struct{}{}, limit.CoolDownError(wait)
		}
	}
	t.made++
	err := t.asker.try()
	if err != nil && !t.repeatable(err) {
		err = backoff.Permanent(err)
	}
	return struct{}{}, err
}

// repeatable reports whether the attempt that failed with err may be repeated. It notes the pause that the upstream
// asked for.
func (t *tries) repeatable(err error) bool {
	if t.asker.isOver() {
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

// NextBackOff returns the pause before the next attempt, or backoff.Stop if there is none.
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

// Reset restarts the pauses from the first.
func (t *tries) Reset() { t.growing.Reset() }

func (t *tries) notify(err error, pause time.Duration) {
	if status, ok := errors.AsType[*apierror.Error](err); ok {
		err = status.Cause // leaves out the upstream's own words
	}
	t.asker.logPause(t.made, pause, err)
}

// withRetryAfter adds a Retry-After to a 429 that has none, because the upstream sent none. The visitor should come
// back after the pause that would have been next.
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
