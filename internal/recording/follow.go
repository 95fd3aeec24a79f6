package recording

import (
	"context"
	"io"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/watchdog"
	"github.com/illumichat/caddy-illumichat/store"
)

// Visitor is what following a recording needs of the response to a visitor.
type Visitor interface {
	// Commit sends the head, if it is not sent yet.
	Commit() error

	// WriteEvents sends p, at once if it is to be flushed. What p ends with is the end of an event, or where whole is false, a
	// part of one.
	WriteEvents(p []byte, whole, flush bool) error

	// Heartbeat sends a comment if nothing was sent for long enough. It returns when the next may be due.
	Heartbeat() (next time.Duration, err error)

	// EndStalled ends a write that has taken too long. It returns when it may be time to look again.
	EndStalled(now time.Duration) (next time.Duration)

	// Patience is after how long to look at the response at the latest.
	Patience() time.Duration
}

// Progress is how far a visitor has followed a recording.
type Progress struct {
	Events     int64         // that were sent
	FirstEvent time.Duration // when the first one was, from the start; 0: none was
}

// Follow has a visitor, whose request began at start, listen to a stream, and notes in p how far they come. It returns nil at the
// end of the stream, and otherwise why they did not come that far.
func Follow(ctx context.Context, start time.Time, visitor Visitor, listener store.Listener, p *Progress) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var beat watchdog.Alarm
	beat.Init(start, func(now time.Duration) time.Duration {
		next, err := watchdog.Guard(visitor.Heartbeat)
		if err != nil {
			cancel(err)
		}
		return min(next, visitor.EndStalled(now))
	})
	defer beat.Stop()
	beat.NoLaterThan(beat.Now() + visitor.Patience())
	for {
		switch err := passPiece(ctx, visitor, listener, start, p); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

// passPiece passes on what is there next. It returns io.EOF at the stream's end.
func passPiece(ctx context.Context, visitor Visitor, listener store.Listener, start time.Time, p *Progress) error {
	piece, err := listener.Read()
	switch {
	case err != nil:
		return err
	case len(piece.Data) > 0:
		if p.FirstEvent == 0 && piece.Events > 0 {
			p.FirstEvent = time.Since(start)
		}
		if err := visitor.WriteEvents(piece.Data, !piece.Torn, true); err != nil {
			return err
		}
		p.Events += int64(piece.Events)
		return nil
	}
	if err := visitor.Commit(); err != nil {
		return err
	}
	return listener.Wait(ctx)
}
