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

// Follow sends a stream to a visitor, and counts in p. It waits until the stream is open. It returns nil at the end of
// the stream, otherwise why it stopped before. If ctx ends, it stops after the write in progress and returns the cause. It cancels ctx when the
// visitor's time is over, with the cause apierror.MaxDuration, and when a heartbeat fails.
func Follow(ctx context.Context, t Time, visitor Visitor, listener store.Listener, p Progress) error {
	f := &follower{ctx: ctx, time: t, visitor: visitor, listener: listener, progress: p}
	f.alarm.Init(t.Start, f.fire)
	defer f.alarm.Stop()
	now := f.alarm.Now()
	f.isOver(now) // so that nothing is sent if it is
	f.alarm.NoLaterThan(min(now+visitor.Patience(), t.End))
	for {
		switch err := f.passPiece(); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

// follower passes a stream on to a visitor. Its alarm is the only timer.
type follower struct {
	ctx      context.Context
	time     Time
	visitor  Visitor
	listener store.Listener
	progress Progress
	alarm    watchdog.Alarm
	begun    bool // the visitor has the response headers
}

// fire is what the alarm calls. Once ctx has ended, it sends no heartbeat, but still checks for a stalled write.
func (f *follower) fire(now time.Duration) (next time.Duration) {
	next = f.visitor.EndStalled(now)
	if f.ctx.Err() != nil || f.isOver(now) {
		return next
	}
	beat, err := watchdog.Guard(f.visitor.Heartbeat)
	if err != nil {
		f.time.Cancel(err)
	}
	return min(next, beat, f.time.End)
}

// isOver reports whether the visitor's time is over at now. If so, it ends ctx.
func (f *follower) isOver(now time.Duration) bool {
	over := now >= f.time.End
	if over {
		f.time.Cancel(apierror.MaxDuration)
	}
	return over
}

// passPiece sends the next piece of the stream. If there is none yet, it sends the response headers and waits for one.
// If the stream is not open yet, it waits for that. It returns io.EOF at the stream's end.
func (f *follower) passPiece() error {
	if f.ctx.Err() != nil {
		return context.Cause(f.ctx)
	}
	piece, err := f.listener.Read()
	if header := f.listener.Header(); !f.begun && header != nil { // after Read, because no piece comes before the header
		f.visitor.Begin(header)
		f.begun = true
		f.alarm.NoLaterThan(f.alarm.Now() + f.visitor.Patience()) // heartbeats count from here
	}
	switch {
	case err != nil:
		return err
	case len(piece.Data) > 0:
		if *f.progress.FirstEvent == 0 && piece.Events > 0 {
			*f.progress.FirstEvent = time.Since(f.time.Start)
		}
		if err := f.visitor.WriteEvents(piece.Data, !piece.Torn, true); err != nil {
			return err
		}
		*f.progress.Events += int64(piece.Events)
		return nil
	}
	if f.begun {
		if err := f.visitor.Commit(); err != nil {
			return err
		}
	}
	return f.listener.Wait(f.ctx)
}
