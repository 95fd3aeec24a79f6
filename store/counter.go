package store

import "time"

// Counter counts the requests of all instances of a scope together. A [Store] may be one. None of its methods, nor of a
// [Reservation]'s, waits for longer than a quarter of a second for what is beyond this process.
type Counter interface {
	// Reserve lets a request in if no cool-down is on, and there is room for it in all its limits and among those of its
	// client; then it counts in all of them, else in none. After an error the caller has to count for itself: what may have
	// been taken up for the request is given back, but in the limits it may count.
	Reserve(Request) (Decision, error)

	// CoolDown has no instance ask the upstream before a time is over. What lasts longer already is left as it is.
	CoolDown(time.Duration)
}

// Request is a request that wants to be let in.
type Request struct {
	ID           string  // which no other has; the id of the stream, if the answer becomes one
	Client       string  // who sends it
	MaxPerClient int     // how many of the client's there may be; 0: they are not counted
	Limits       []Limit // of requests that are sent upstream

	Listens bool // to a stream: no cool-down matters
	// Follows is the stream that it listens to, if it is written elsewhere. Two such listeners take up nothing, as long as the
	// request that the stream answers takes up something of the same client's.
	Follows string
}

// Limit bounds how many requests are let in within a window of time that slides.
type Limit struct {
	Key      string // what is counted apart
	Window   time.Duration
	Requests int
}

// Decision tells whether a request is let in, and if not, why: because of a cool-down, or else because of a limit that the usage
// shows to be used up, or else because of its client's other requests.
type Decision struct {
	Reservation Reservation   // nil: it is not let in
	Usage       []Usage       // of each limit, this request included if it is let in; none during a cool-down
	CoolDown    time.Duration // how long that lasts
	Probe       bool          // a cool-down is over, and one request goes alone: this one, if it is let in
}

// Usage is what counts against a limit at one moment.
type Usage struct {
	Now, Prev uint64        // requests in the current window and in the one before
	Elapsed   time.Duration // of the current one
}

// Reservation is a request that was let in. Its methods are for one goroutine.
type Reservation interface {
	// NextTurn asks whether the request may be sent upstream once more, as Enter does for its first try.
	NextTurn() (Decision, error)

	// EndTurn lets others follow, if the request goes alone: the next one alone, or, if it was answered, all, unless the answer
	// has prolonged the cool-down.
	EndTurn(answered bool)

	// Release gives back what the request takes up. One that has not reached the upstream counts no longer; what is used of its
	// limits then is returned, if that is known.
	Release(reached bool) []Usage
}
