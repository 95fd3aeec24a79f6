package recording

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/watchdog"
	"github.com/illumichat/caddy-illumichat/store"
)

// Visitor is the part of a visitor's response that Follow needs.
type Visitor interface {
	// Begin notes the response headers of the answer. It is called once, before Commit and WriteEvents.
	Begin(http.Header)

	// Commit sends the response headers, if they are not sent yet.
	Commit() error

	// WriteEvents sends p, and flushes it if flush is true. If whole is false, p ends within an event.
	WriteEvents(p []byte, whole, flush bool) error

	// Heartbeat sends a comment if nothing was sent for long enough. It returns when the next comment may be due.
	Heartbeat() (next time.Duration, err error)

	// EndStalled makes a write fail if it has blocked for too long. It returns when to call it again.
	EndStalled(now time.Duration) (next time.Duration)

	// Patience returns the longest time that may pass before EndStalled and Heartbeat are first called.
	Patience() time.Duration
}

// Time is how long a visitor may listen.
type Time struct {
	Start  time.Time               // of the visitor's request
	End    time.Duration           // when the visitor's stream must end, from Start
	Cancel context.CancelCauseFunc // ends the context of Follow
}

// Progress points to where Follow counts while the visitor reads: Caddy's placeholders may be read in between.
type Progress struct {
	Events     *int64         // how many events were sent
	FirstEvent *time.Duration // when the first one was sent, from the request's start; 0: none was
}

// Follower sends a stream to a visitor. Its alarm is the only timer. One goroutine at a time calls its methods.
type Follower struct {
	ctx      context.Context
	time     Time
	visitor  Visitor
	listener store.Listener
	progress Progress
	alarm    watchdog.Alarm
	begun    bool // the visitor has the response headers
	ending   bool // nothing more needs to be flushed
}

// Init prepares a Follower that counts in p. The Follower must not be copied afterwards. It cancels ctx when the visitor's
// time is over, with the cause apierror.MaxDuration, and when a heartbeat fails. The caller must call Stop.
func (f *Follower) Init(ctx context.Context, t Time, visitor Visitor, listener store.Listener, p Progress) {
	f.ctx, f.time, f.visitor, f.listener, f.progress = ctx, t, visitor, listener, p
	f.alarm.Init(t.Start, f.fire)
	now := f.alarm.Now()
	f.cancelIfOver(now) // so that nothing is sent then
	f.alarm.NoLaterThan(min(now+visitor.Patience(), t.End))
}

// Stop ends the heartbeats and the watch over writes.
func (f *Follower) Stop() { f.alarm.Stop() }

// HasBegun reports whether the stream was open when it was last read.
func (f *Follower) HasBegun() bool { return f.begun }

// EndFlushing makes the Follower flush nothing more. The caller ends the response soon, because all of the stream is
// there.
func (f *Follower) EndFlushing() { f.ending = true }

// Follow sends the stream to its end. It waits until the stream is open, and whenever there is nothing to be sent. It
// returns nil at the end of the stream, otherwise why it stopped before. If ctx ends, it stops after the write in
// progress and returns the cause.
func (f *Follower) Follow() error {
	for {
		more, err := f.passPiece()
		if err == nil && !more {
			err = f.wait()
		}
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

// slowCheck is how soon the alarm looks at a write of SendHeld that blocks. It makes the alarm ring once in that time at
// most, however many events there are.
const slowCheck = 5 * time.Second

// SendHeld sends what there is of the stream. It waits for nothing but the response headers, which a store may give out a
// moment after the stream was opened. It returns io.EOF at the end of the stream. Any other error is one of Follow. A caller
// with other work learns of a write that blocks by Visitor.EndStalled, which is called within slowCheck.
func (f *Follower) SendHeld() error {
	f.alarm.NoLaterThan(f.alarm.Now() + slowCheck)
	if !f.begun {
		if err := f.listener.Wait(f.ctx); err != nil {
			return err
		}
	}
	for {
		if more, err := f.passPiece(); err != nil || !more {
			return err
		}
	}
}

// fire is what the alarm calls. Once ctx has ended, it sends no heartbeat, but still checks for a stalled write.
func (f *Follower) fire(now time.Duration) (next time.Duration) {
	next = f.visitor.EndStalled(now)
	if f.ctx.Err() != nil || f.cancelIfOver(now) {
		return next
	}
	beat, err := watchdog.Guard(f.visitor.Heartbeat)
	if err != nil {
		f.time.Cancel(err)
	}
	return min(next, beat, f.time.End)
}

// cancelIfOver ends ctx if the visitor's time is over at now, and reports whether it is.
func (f *Follower) cancelIfOver(now time.Duration) bool {
	over := now >= f.time.End
	if over {
		f.time.Cancel(apierror.MaxDuration)
	}
	return over
}

// passPiece sends the next piece of the stream. It returns false if there is none yet, and io.EOF at the stream's end.
func (f *Follower) passPiece() (more bool, err error) {
	if f.ctx.Err() != nil {
		return false, context.Cause(f.ctx)
	}
	piece, err := f.listener.Read()
	if !f.begun {
		f.begin()
	}
	if err != nil || len(piece.Data) == 0 {
		return false, err
	}
	if *f.progress.FirstEvent == 0 && piece.Events > 0 {
		*f.progress.FirstEvent = time.Since(f.time.Start)
	}
	if err := f.visitor.WriteEvents(piece.Data, !piece.Torn, !f.ending); err != nil {
		return false, err
	}
	*f.progress.Events += int64(piece.Events)
	return true, nil
}

// begin notes the response headers, if the stream is open. It is called after Read, because no piece comes before them.
func (f *Follower) begin() {
	header := f.listener.Header()
	if header == nil {
		return
	}
	f.visitor.Begin(header)
	f.begun = true
	f.alarm.NoLaterThan(f.alarm.Now() + f.visitor.Patience()) // heartbeats count from here
}

// wait sends the response headers, if there are any yet, and waits until there may be something to be sent.
func (f *Follower) wait() error {
	if f.begun {
		if err := f.visitor.Commit(); err != nil {
			return err
		}
	}
	return f.listener.Wait(f.ctx)
}
