// Package store keeps the streams of answers, so that visitors who have lost their connection can go on with one.
//
// A stream is written by one [Source] and read by any number of listeners. Its events are numbered from 1. What is appended
// may end within an event; a listener who comes back goes on after a whole one.
package store

import (
	"context"
	"errors"
	"net/http"
	"time"
)

var (
	// ErrNotFound is what there is to say of a stream that never was, or is no longer kept.
	ErrNotFound = errors.New("there is no such stream")

	// ErrStopped is the cause with which a source's context ends when a visitor has stopped the stream.
	ErrStopped = errors.New("the stream was stopped")

	// ErrAbandoned is the cause with which a source's context ends when nobody has listened for the time of grace, or
	// nobody listens and nobody can come back.
	ErrAbandoned = errors.New("nobody listens to the stream")

	// ErrLost is what a listener gets whose stream will have no end, because the instance that writes it, or what it is kept
	// in, is gone.
	ErrLost = errors.New("the rest of the stream is lost")
)

// Module is a Caddy module in the namespace http.handlers.illumichat.stores.
type Module interface {
	// Open returns the store of a scope: a stream that is claimed in one is not found in another. Whoever opens the same
	// scope in the same way before the others have closed it gets the same store, so that a reload loses no stream.
	Open(scope string) (Store, error)
}

// Store keeps streams.
type Store interface {
	// Claim begins a stream under a new id: the caller is the one who writes it, for somebody who listens from its
	// beginning. It does not wait for anything beyond this process.
	Claim(id string, meta Meta, terms Terms) (Source, Listener)

	// Find returns a stream, or ErrNotFound.
	Find(ctx context.Context, id string) (Stream, error)

	// Shared reports whether other instances find the streams of this one.
	Shared() bool

	// Close lets go of the store.
	Close() error
}

// Meta is what a stream is told with.
type Meta struct {
	Owner     string      // who may read and stop it; empty: whoever knows its id
	Assistant string      // for metrics
	Header    http.Header // of the answer
}

// Terms are how long and how much is kept of a stream.
type Terms struct {
	Grace    time.Duration // how long it goes on with nobody listening
	Keep     time.Duration // how long it can be read again once it has ended
	MaxSize  int64         // bytes that are kept of it
	MaxTotal int64         // bytes that an instance keeps of all streams of the scope
}

// Stream is a stream as listeners see it.
type Stream interface {
	Meta() Meta

	// Listen begins to read after the event of a number, 0 being before the first. It returns io.EOF where the stream has
	// ended and no event follows, and ErrNotFound where what follows is kept no longer.
	Listen(after int64) (Listener, error)

	// Stop ends the context of the stream's source. A stream that has ended is left as it is.
	Stop(ctx context.Context) error
}

// Source is a stream as its writer sees it. Its methods are for one goroutine.
type Source interface {
	Stream

	// Context ends when nobody wants the stream any more; its cause tells why.
	Context() context.Context

	// Append adds what follows. It keeps no reference to it. It waits while a listener is so far behind that no more can be
	// held for it. An error is the cause of the end of the stream's context, or of the one that is given, and means that
	// nothing was added.
	Append(context.Context, Chunk) error

	// Finish ends the stream with a last chunk, which may be empty. What listeners have not read yet they still can.
	Finish(Chunk, End)

	// Heard begins the time of grace anew: somebody listens of whom the store does not know. Any goroutine may say so.
	Heard()
}

// Chunk is some of a stream as it is written.
type Chunk struct {
	Data []byte
	Ends []int // how many bytes there are up to the end of each event
	Torn bool  // it ends within an event, and what follows must come next
}

// End is how a stream has ended.
type End struct {
	Reason string // the finishReason of its finish
	Cause  string // why it is not the upstream's; empty: it is
}

// Listener reads a stream. Its methods are for one goroutine.
type Listener interface {
	// Read returns what follows, if that is there already, and io.EOF at the stream's end, or ErrLost.
	Read() (Piece, error)

	// Wait returns when there may be something to read, or the context is over.
	Wait(ctx context.Context) error

	// End is how the stream has ended, after io.EOF.
	End() End

	// Close ends the listening.
	Close()
}

// Piece is some of a stream. It is not to be changed.
type Piece struct {
	Data   []byte
	Events int  // that end in it
	Torn   bool // it ends within an event
}
