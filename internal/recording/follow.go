package recording

import (
	"context"
	"io"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/watchdog"
	"github.com/illumichat/caddy-illumichat/store"
)

// Visitor is the part of a visitor's response that Follow needs.
type Visitor interface {
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

// Progress points to where Follow counts while the visitor reads: Caddy's placeholders may be read in between.
type Progress struct {
	Events     *int64         // how many events were sent
	FirstEvent *time.Duration // when the first one was sent, from the request's start; 0: none was
}

// Follow sends a stream to a visitor whose request began at start, and counts in p. It returns nil at the end
// of the stream, otherwise why it stopped before.
func Follow(ctx context.Context, start time.Time, visitor Visitor, listener store.Listener, p Progress) error {
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

// passPiece sends the next piece of the stream. If there is none yet, it sends the response headers and waits for one.
// It returns io.EOF at the stream's end.
func passPiece(ctx context.Context, visitor Visitor, listener store.Listener, start time.Time, p Progress) error {
	piece, err := listener.Read()
	switch {
	case err != nil:
		return err
	case len(piece.Data) > 0:
		if *p.FirstEvent == 0 && piece.Events > 0 {
			*p.FirstEvent = time.Since(start)
		}
		if err := visitor.WriteEvents(piece.Data, !piece.Torn, true); err != nil {
			return err
		}
		*p.Events += int64(piece.Events)
		return nil
	}
	if err := visitor.Commit(); err != nil {
		return err
	}
	return listener.Wait(ctx)
}
