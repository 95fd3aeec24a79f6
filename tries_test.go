package illumichat

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// fakeAsker fails with the errors of a test, one per attempt, and then succeeds.
type fakeAsker struct {
	errs      []error
	turns     []time.Duration // the waits before further attempts
	committed bool

	start time.Time
	tried []time.Duration
}

func (a *fakeAsker) try() error {
	a.tried = append(a.tried, time.Since(a.start))
	if n := len(a.tried); n <= len(a.errs) {
		return a.errs[n-1]
	}
	return nil
}

func (a *fakeAsker) nextTurn() (wait time.Duration) {
	if len(a.turns) > 0 {
		wait, a.turns = a.turns[0], a.turns[1:]
	}
	return wait
}

func (a *fakeAsker) isCommitted() bool                  { return a.committed }
func (a *fakeAsker) logPause(int, time.Duration, error) {}

// Whether there is another attempt, and after which pause, depends only on the error and not on the asker.
func TestTriesOfAnAsker(t *testing.T) {
	limited := apierror.FromStatus(429)
	limited.Upstream, limited.RetryAfter = 429, 3*time.Second
	tooLong := apierror.FromStatus(429)
	tooLong.Upstream, tooLong.RetryAfter = 429, time.Hour
	failed := apierror.FromStatus(500)
	failed.Upstream = 500
	wrong := apierror.FromStatus(400)
	wrong.Upstream = 400
	for name, test := range map[string]struct {
		asker fakeAsker
		tries int
		after time.Duration // the earliest time of the last attempt
		err   error
	}{
		"a success":                        {fakeAsker{}, 1, 0, nil},
		"a connection that breaks":         {fakeAsker{errs: []error{apierror.Closed}}, 2, 500 * time.Millisecond, nil},
		"connections that break":           {fakeAsker{errs: []error{apierror.Closed, apierror.Unreachable, apierror.Closed}}, 3, 1500 * time.Millisecond, apierror.Closed},
		"a status that is repeated":        {fakeAsker{errs: []error{failed}}, 2, 500 * time.Millisecond, nil},
		"a status that is not":             {fakeAsker{errs: []error{wrong}}, 1, 0, wrong},
		"a stall":                          {fakeAsker{errs: []error{apierror.Stalled}}, 1, 0, apierror.Stalled},
		"a leak":                           {fakeAsker{errs: []error{apierror.Leak}}, 1, 0, apierror.Leak},
		"Retry-After":                      {fakeAsker{errs: []error{limited}}, 2, 3 * time.Second, nil},
		"Retry-After beyond the cap":       {fakeAsker{errs: []error{tooLong}}, 1, 0, tooLong},
		"a visitor who was sent something": {fakeAsker{errs: []error{apierror.Closed}, committed: true}, 1, 0, apierror.Closed},
		"a cool-down takes no attempt":     {fakeAsker{errs: []error{apierror.Closed, apierror.Closed}, turns: []time.Duration{time.Second, 2 * time.Second}}, 3, 3 * time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				retry := new(Retry)
				retry.setDefaults()
				a := test.asker
				a.start = time.Now()
				err := retry.run(context.Background(), time.Minute, &a)
				if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
					t.Errorf("got %v, want %v", err, test.err)
				}
				if len(a.tried) != test.tries || a.tried[len(a.tried)-1] < test.after {
					t.Errorf("the attempts came at %v, want %d, the last one not before %s", a.tried, test.tries, test.after)
				}
				if !slices.IsSorted(a.tried) {
					t.Errorf("the attempts came at %v", a.tried)
				}
			})
		})
	}
}

// Attempts end when the caller gives up. No pause is longer than the time that is left.
func TestTriesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retry := &Retry{Attempts: 100, Backoff: caddy.Duration(time.Second), BackoffCap: caddy.Duration(time.Second)}
		retry.setDefaults()
		always := slices.Repeat([]error{apierror.Closed}, 100)
		a := fakeAsker{errs: always, start: time.Now()}
		if err := retry.run(context.Background(), 10*time.Second, &a); !errors.Is(err, apierror.Closed) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(a.start); took > 10*time.Second || len(a.tried) < 7 {
			t.Errorf("there were %d attempts in %s", len(a.tried), took)
		}

		ctx, leave := context.WithTimeout(context.Background(), 3*time.Second)
		defer leave()
		a = fakeAsker{errs: always, start: time.Now()}
		if err := retry.run(ctx, time.Hour, &a); err == nil {
			t.Error("there was no error")
		}
		if took := time.Since(a.start); took != 3*time.Second {
			t.Errorf("it took %s after the caller had given up after 3 s", took)
		}
	})
}
