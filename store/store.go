// Package store keeps the streams of answers, so that a visitor whose connection was lost can continue an answer.
//
// A stream is written through one [Source] and read through any number of [Listener]s. Its events are numbered from 1.
// A chunk may end within an event, but a new listener always begins after a whole event.
//
// [Memory] keeps streams in the memory of the process. Other packages can provide other stores, which a [Module] opens.
// A [Store] that is also a [Counter] counts the requests of several instances. The package storetest tests a store,
// and the cool-downs of a counter.
package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

var (
	// ErrNotFound means that the stream does not exist, or is no longer kept.
	ErrNotFound = errors.New("there is no such stream")

	// ErrStopped is the cause of a source's context after a visitor has stopped the stream by [Stream].Stop.
	ErrStopped = errors.New("the stream was stopped")

	// ErrAbandoned is the cause of a source's context after the stream had no listener for Terms.Grace. No visitor can
	// come back to a stream that is no longer kept. Such a stream is abandoned as soon as it has no listener.
	ErrAbandoned = errors.New("nobody listens to the stream")

	// ErrLost means that the rest of a stream will never come. The instance that writes the stream, or the place where
	// it is kept, is gone. A listener gets ErrLost instead of the stream's end.
	ErrLost = errors.New("the rest of the stream is lost")

	// ErrBehind is the ErrLost of a listener that has not read as fast as another one, when the stream had become too
	// long to be kept.
	ErrBehind = fmt.Errorf("%w: the visitor reads too slowly, and the answer is too long to be kept", ErrLost)
)

// Module is a Caddy module in the namespace http.handlers.illumichat.stores. The handler loads it as its `store`.
type Module interface {
	// Open returns the store of a scope. A scope is an opaque string that stands for one endpoint and one token. A
	// stream that is claimed in one scope is not found in another.
	//
	// A reload of Caddy's config opens the store of the new config before it closes that of the old one. For the same
	// config and scope, a module must return the open store, or one that finds the same streams. Otherwise, the reload
	// would lose streams. Each successful Open is followed by one Close.
	Open(scope string) (Store, error)
}

// Store keeps the streams of one scope. Its methods are safe for concurrent use.
type Store interface {
	// Create begins a stream under a new id, which no other stream has. The caller writes the stream through the Source,
	// and must end it by Finish or Fail. The Listener reads the stream from its beginning, for the visitor who sent the
	// chat. The caller must close the Listener.
	//
	// Create does not wait for anything outside this process, and does not fail. If the store cannot keep the stream,
	// the Source and the Listener work nevertheless, but Find returns ErrNotFound.
	Create(id string, meta Meta, terms Terms) (Source, Listener)

	// Claim begins a stream under an id that the page chose, as Create does. If there is a stream with that id already,
	// Claim returns it as taken, and neither a Source nor a Listener. A stream that is still written has its id even if
	// it is no longer kept, so that nobody can listen to it. If several callers claim one id at the same time,
	// at whichever instances, only one of them begins the stream.
	//
	// If Claim begins the stream, it calls begins before another caller at this instance finds the stream; nil: nothing is
	// called. begins must not call the store.
	//
	// Claim may wait a second for anything outside this process. If it gets no answer by then, it decides
	// for this instance alone.
	Claim(id string, meta Meta, terms Terms, begins func()) (source Source, first Listener, taken Stream)

	// Find returns the stream with an id, whether it is still being written or has ended. It returns ErrNotFound if
	// there is no such stream, if it has failed, or if it is no longer kept. Any other error means that the store could not look for the
	// stream, or that the context ended. If another instance has begun the stream, Find may need a moment to see it.
	// But Find sees it from the moment at which a listener gets its header.
	Find(ctx context.Context, id string) (Stream, error)

	// FindToStop is like Find, for a caller who only wants to stop the stream. It also finds a stream that is still being
	// written, but is no longer kept. No crowd of listeners delays it.
	FindToStop(ctx context.Context, id string) (Stream, error)

	// Shared reports whether other instances can find the streams of this instance at the moment. If so, a stream may
	// have listeners that this instance does not know.
	Shared() bool

	// Close ends one Open. The caller calls it after its last source has finished and its last listener was closed.
	// Other callers that have opened the same scope keep using the store.
	//
	// A late request to a replaced config may still use the store afterwards, so its methods must not panic. Claim
	// and Create must still return a working Source and Listener; Find may return any error.
	Close() error
}

// Failed is what a listener gets instead of a stream that has failed before it was opened.
type Failed struct {
	Reason []byte // what was given to Source.Fail
}

func (*Failed) Error() string { return "the stream failed before it was opened" }

// Meta describes a stream. The store returns it unchanged, and does not interpret it.
type Meta struct {
	Owner     string // who may read and stop the stream; empty: anybody who knows the id. The caller checks it
	Assistant string // the label of the assistant in metrics
}

// Terms say how long a stream is kept, and how much of it.
type Terms struct {
	Grace    time.Duration // how long the stream goes on without a listener
	Keep     time.Duration // how long the stream can be read again after its end
	MaxSize  int64         // in bytes; a longer stream goes on, but is no longer kept
	MaxTotal int64         // bytes that one instance keeps of all streams of the scope; ended ones make room, the oldest first
}

// Stream is a stream as its listeners see it. Its methods are safe for concurrent use.
type Stream interface {
	// Meta returns what was given to Create or Claim.
	Meta() Meta

	// Listen begins to read after the event with the given number; 0 is the beginning of the stream. The stream need
	// not be opened yet. The caller must close the Listener. While there is a Listener, the stream is not abandoned.
	//
	// The number may be greater than that of the last event so far. The Listener then gets only events that are added
	// later. A store that learns of events late must skip those up to the given number.
	//
	// Listen returns exactly io.EOF, which is not wrapped, if the stream has ended and no event follows. It returns
	// ErrNotFound if the stream is no longer kept. Any other error means that the store could not read the stream.
	Listen(after int64) (Listener, error)

	// Stop asks the stream's writer to stop: the context of the Source ends with the cause ErrStopped. Stop may return
	// before that. It does nothing, and returns nil, if the stream has ended. It returns an error if it cannot reach
	// the writer.
	Stop(ctx context.Context) error
}

// Source is a stream as its writer sees it. The writer opens it, appends to it, and finishes it; or it fails the stream
// before it was opened. One goroutine at a time calls Open, Append, Finish and Fail. All other methods are safe for
// concurrent use.
type Source interface {
	Stream

	// Context returns a context that ends when nobody wants the rest of the stream. Its cause is then ErrStopped or
	// ErrAbandoned, or wraps one of them. The writer then calls Finish or Fail, which end the context as well.
	Context() context.Context

	// Open gives listeners the response headers of the answer, which must not be nil or change afterwards. Until then,
	// listeners wait. Open does not wait for anything, but listeners may get the header a moment later: not before
	// Find sees the stream at every instance that can be reached. The writer calls it once.
	Open(http.Header)

	// Append adds a chunk to a stream that is open. It keeps no reference to the slices of the chunk. If the store can
	// hold no more, Append blocks until one of the listeners has read enough. Listeners that are too far behind that one
	// get ErrLost. Append stops waiting when the stream's context or the given one ends.
	//
	// An error means that nothing was added. It is the cause of the context that has ended.
	Append(context.Context, Chunk) error

	// Finish adds a last chunk, which may be empty, and ends a stream that is open. It keeps no reference to the slices of
	// the chunk. The writer calls it once, and no other method of a writer afterwards. It must work, and add the chunk, even after the stream's context has ended.
	// Listeners can still read everything that they have not read yet, and Finish does not wait for them. It may wait a
	// moment for the place where the stream is kept, but only if the process is exiting.
	Finish(Chunk, End)

	// Fail ends a stream that was not opened, instead of Finish. All listeners get Failed with the given reason, and
	// the stream's id is free again.
	Fail(reason []byte)

	// OnListener sets a function that is called, in any goroutine, whenever the stream gets a listener besides the first
	// one, or the store learns that it still has one at another instance. If there is such a listener already, it is
	// called at once. The writer calls OnListener once, before Open. The store forgets the function when the stream ends.
	OnListener(func())

	// Heard restarts the grace period (Terms.Grace), because the stream has a listener that the store does not know. It
	// is for a store that is built on another one, and has listeners at other instances.
	Heard()
}

// Chunk is a part of a stream as its writer appends it.
type Chunk struct {
	Data []byte
	Ends []int // for each event that ends in Data, the number of bytes up to its end, in ascending order
	Torn bool  // Data ends within an event, which the next chunk continues
}

// End says how a stream ended. The store returns it unchanged.
type End struct {
	Reason string // the finishReason of the stream's finish event
	Cause  string // why that finish is not the upstream's own; empty: it is
}

// Listener reads a stream. One goroutine at a time calls its methods.
type Listener interface {
	// Header returns what was given to Source.Open, or nil if the stream is not open yet. The caller must not modify it.
	Header() http.Header

	// Read returns the next piece of the stream. It does not wait: the piece is empty if nothing is there yet, and as
	// long as Header returns nil.
	//
	// At the end of the stream, Read returns exactly io.EOF, which is not wrapped. If the stream has failed, it returns
	// a *Failed. If the rest of the stream is lost, it returns ErrLost or an error that wraps it. The piece is empty if
	// there is an error, and all further calls return the same error.
	Read() (Piece, error)

	// Wait blocks until there may be something new: a header, bytes, io.EOF or an error. It then returns nil. It may
	// return nil too early. If the context ends first, Wait returns its cause.
	Wait(ctx context.Context) error

	// End returns how the stream ended. It is valid only after Read has returned io.EOF.
	End() End

	// Close ends the listening. It must be called; further calls do nothing. The grace period (Terms.Grace) begins
	// when the stream has no other listener.
	Close()
}

// Piece is a part of a stream as a listener reads it. Data stays valid, and must not be modified: listeners may share
// it.
type Piece struct {
	Data   []byte
	Events int  // how many events end in Data
	Torn   bool // Data ends within an event, which the next piece continues; nothing may be sent in between
}
