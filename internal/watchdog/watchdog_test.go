package watchdog

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// fakeOutput records when it is asked to do something, and fails or panics as a test says.
type fakeOutput struct {
	start     time.Time
	patience  time.Duration
	interval  time.Duration // between heartbeats
	committed []time.Duration
	beats     []time.Duration
	fail      error // returned by Heartbeat
	panics    any   // of Heartbeat
}

func (o *fakeOutput) Commit() error {
	if len(o.committed) == 0 { // further calls do nothing, as those of a response
		o.committed = append(o.committed, time.Since(o.start))
	}
	return nil
}

func (o *fakeOutput) EndStalled(now time.Duration) time.Duration { return now + o.patience }

func (o *fakeOutput) Heartbeat() (time.Duration, error) {
	if o.panics != nil {
		panic(o.panics)
	}
	now := time.Since(o.start)
	if o.fail != nil || len(o.committed) == 0 {
		return Never, o.fail
	}
	o.beats = append(o.beats, now)
	return now + o.interval, nil
}

func (o *fakeOutput) Patience() time.Duration { return o.patience }

// start returns a watchdog with the limits 100 s, 5 s and 10 s, its output, and the contexts of the exchange and of an attempt
// with a limit of 30 s.
func start(t *testing.T) (w *Watchdog, o *fakeOutput, exchange, attempt context.Context) {
	t.Helper()
	o = &fakeOutput{start: time.Now(), patience: time.Hour, interval: time.Hour}
	exchange, cancel := context.WithCancelCause(t.Context())
	attempt, cancelAttempt := context.WithCancelCause(exchange)
	w = new(Watchdog)
	w.Init(o, cancel, Options{Start: o.start, End: 100 * time.Second, CommitAfter: 5 * time.Second, Idle: 10 * time.Second})
	w.StartTry(30*time.Second, cancelAttempt)
	t.Cleanup(w.Stop)
	return w, o, exchange, attempt
}

// wantEnd waits for the end of a context, and checks when it comes and why.
func wantEnd(t *testing.T, ctx context.Context, o *fakeOutput, at time.Duration, cause error) {
	t.Helper()
	<-ctx.Done()
	if took := time.Since(o.start); took != at {
		t.Errorf("it ended after %s, want %s", took, at)
	}
	if got := context.Cause(ctx); !errors.Is(got, cause) {
		t.Errorf("it ended because of %v, want %v", got, cause)
	}
}

func TestResponseTimeoutEndsTheAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, o, exchange, attempt := start(t)
		wantEnd(t, attempt, o, 30*time.Second, apierror.ResponseTimeout)
		if exchange.Err() != nil {
			t.Error("the exchange ended, too")
		}
		wantEnd(t, exchange, o, 100*time.Second, apierror.MaxDuration)
	})
}

// A pause between two attempts is nobody's silence, and the next attempt has the whole time limit.
func TestEachAttemptHasItsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o, exchange, first := start(t)
		time.Sleep(20 * time.Second)
		w.EndTry()
		time.Sleep(40 * time.Second)
		if first.Err() != nil {
			t.Error("an attempt that was over was canceled")
		}
		second, cancel := context.WithCancelCause(exchange)
		w.StartTry(30*time.Second, cancel)
		wantEnd(t, second, o, 90*time.Second, apierror.ResponseTimeout)
	})
}

func TestSilenceEndsAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o, exchange, _ := start(t)
		w.Accept()
		w.BeginRead()
		time.Sleep(3 * time.Second)
		w.EndRead()
		w.Begin()
		// Each read may take as long as the limit allows.
		for range 3 {
			w.BeginRead()
			time.Sleep(9 * time.Second)
			w.EndRead()
		}
		// A visitor who reads slowly is not the upstream's silence.
		time.Sleep(25 * time.Second)
		if exchange.Err() != nil {
			t.Fatal("a slow visitor ended the exchange")
		}
		w.BeginRead()
		wantEnd(t, exchange, o, (3+3*9+25+10)*time.Second, apierror.Stalled)
	})
}

func TestHeadIsCommittedWhenNoEventComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o, _, attempt := start(t)
		time.Sleep(2 * time.Second)
		w.Accept()
		w.BeginRead()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if want := []time.Duration{7 * time.Second}; !slices.Equal(o.committed, want) {
			t.Errorf("it was committed at %v, want %v", o.committed, want)
		}
		// The attempt still has its time limit. The response headers were a sign of life.
		wantEnd(t, attempt, o, 32*time.Second, apierror.ResponseTimeout)
	})
}

// Before the first event, too, only silence counts: each read that brings bytes is a sign of life.
func TestSignsOfLifeKeepAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o, exchange, attempt := start(t)
		time.Sleep(29 * time.Second)
		w.Accept()
		for range 2 {
			w.BeginRead()
			time.Sleep(29 * time.Second)
			w.EndRead()
		}
		if attempt.Err() != nil {
			t.Errorf("an upstream that sends comments was given up after %s", time.Since(o.start))
		}
		w.BeginRead()
		wantEnd(t, exchange, o, 100*time.Second, apierror.MaxDuration)
		if cause := context.Cause(attempt); !errors.Is(cause, apierror.MaxDuration) {
			t.Errorf("the attempt ended because of %v", cause)
		}
	})
}

// An attempt that has failed commits nothing any more.
func TestFailedAttemptCommitsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o, exchange, _ := start(t)
		w.Accept()
		time.Sleep(4 * time.Second)
		w.EndTry()
		wantEnd(t, exchange, o, 100*time.Second, apierror.MaxDuration)
		synctest.Wait()
		if len(o.committed) != 0 {
			t.Errorf("it was committed at %v", o.committed)
		}
	})
}

func TestHeartbeatsComeAsTheOutputSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o, _, _ := start(t)
		o.interval = 4 * time.Second
		o.committed = append(o.committed, 0)
		w.Begin()
		w.BeginRead()
		w.NoLaterThan(time.Second)
		time.Sleep(9500 * time.Millisecond)
		synctest.Wait()
		if want := []time.Duration{time.Second, 5 * time.Second, 9 * time.Second}; !slices.Equal(o.beats, want) {
			t.Errorf("heartbeats came at %v, want %v", o.beats, want)
		}
	})
}

// What follows a finish is passed on for a while. Its end is no interruption.
func TestFinishLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o, exchange, _ := start(t)
		w.Begin()
		time.Sleep(3 * time.Second)
		w.Finish()
		<-exchange.Done()
		if took := time.Since(o.start); took != 5*time.Second {
			t.Errorf("it ended after %s", took)
		}
		if reason, ok := errors.AsType[*apierror.Interruption](context.Cause(exchange)); ok {
			t.Errorf("it ended because of %v", reason)
		}
	})
}

func TestFailingOutputEndsTheExchange(t *testing.T) {
	failed := errors.New("the visitor is gone")
	synctest.Test(t, func(t *testing.T) {
		w, o, exchange, _ := start(t)
		o.fail = failed
		w.NoLaterThan(time.Second)
		wantEnd(t, exchange, o, time.Second, failed)
	})
	synctest.Test(t, func(t *testing.T) {
		w, o, exchange, _ := start(t)
		o.panics = "a writer around the handler"
		w.NoLaterThan(time.Second)
		<-exchange.Done()
		defer func() {
			if got := recover(); got != o.panics {
				t.Errorf("recovered %v", got)
			}
		}()
		Rethrow(context.Cause(exchange))
		t.Error("there was no panic")
	})
}

// After Stop, nothing is looked at and nothing is ended.
func TestStopEndsTheWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o, exchange, attempt := start(t)
		w.Accept()
		w.Stop()
		time.Sleep(time.Hour)
		synctest.Wait()
		if exchange.Err() != nil || attempt.Err() != nil || len(o.committed) != 0 {
			t.Errorf("after an hour: the exchange: %v, the attempt: %v, committed at %v", exchange.Err(), attempt.Err(), o.committed)
		}
		w.NoLaterThan(2 * time.Hour) // which starts no timer
		w.Begin()
	})
}

// An alarm that is asked to go off at once again and again still lets others run.
func TestAlarmRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a Alarm
		rang := 0
		a.Init(time.Now(), func(now time.Duration) time.Duration {
			rang++
			return now
		})
		a.NoLaterThan(0)
		time.Sleep(10 * time.Millisecond)
		a.Stop()
		if rang < 5 || rang > 11 {
			t.Errorf("it rang %d times in 10 ms", rang)
		}
	})
}
