package store

import "time"

// Counter counts the requests of all instances that share a scope. A [Store] may implement it. The handler then asks it
// whether a request has room in `limit` and `max_streams_per_client`. The handler also asks whether a cool-down holds
// the request back.
//
// The methods of a Counter are safe for concurrent use. A visitor waits for the methods of a Counter and a
// [Reservation]. So none of them may wait longer than a quarter of a second for anything outside this process. If an
// instance dies, its reservations should become free after a few seconds.
type Counter interface {
	// Reserve asks for room for a request. It grants a reservation if no cool-down of its assistant holds it back. All limits
	// of the request must have room, and so must its client. A granted request counts in all its limits and among the
	// requests of its client. A refused one counts in none.
	//
	// An error means that there is no decision. The caller then counts the request at its own instance alone. The
	// counter frees the room that it may have reserved for the request. The request may nevertheless count in its
	// limits.
	Reserve(Request) (Decision, error)

	// CoolDown begins an assistant's cool-down: no instance sends a request for this assistant upstream for the given
	// time. Each assistant has a cool-down of its own. CoolDown does not shorten one that lasts longer. If the counter
	// cannot be reached, the cool-down holds only at the caller's instance.
	//
	// When the cool-down has elapsed, the next request for the assistant goes upstream alone, as a probe. The others
	// are refused until the probe's turn has ended. If the instance of the probe dies, another request must become the
	// probe after a while.
	//
	// Visitors may choose the assistant where the operator allows any. So a counter must forget a cool-down some time
	// after its end, even if no request has probed.
	CoolDown(assistant string, wait time.Duration)
}

// Request is a request that asks for a reservation.
type Request struct {
	ID           string  // unique; the id of the stream, if the answer becomes one
	Client       string  // the client that sent the request; may be an IP address
	Assistant    string  // the assistant that is asked, in at most 256 bytes: its cool-down matters; empty for a listener
	MaxPerClient int     // how many requests of the client may be open at once; 0: they are not counted
	Limits       []Limit // the request needs room in each of them; none for a listener

	Listens bool // the request listens to a stream and is not sent upstream, so no cool-down matters

	// Follows is the id of the stream that the request listens to. It is empty unless another instance writes that
	// stream. Up to two such listeners of a stream need no room of their own. That holds while the request that the
	// stream answers counts among the requests of the same client.
	Follows string
}

// Limit bounds how many requests are admitted within a sliding window. The handler's windows last 1 second to 366 days,
// and admit 1 to 1,000,000,000 requests.
type Limit struct {
	Key      string // requests with the same Key and Window share one count, whatever their Requests are
	Window   time.Duration
	Requests int
}

// Decision is the answer to a request for a reservation. A refusal has one reason: the first that applies. A cool-down
// comes first (CoolDown or Probe is set), then a limit that is used up (as Usage shows). Otherwise the client's other
// requests are the reason.
type Decision struct {
	Reservation Reservation   // nil: the request is refused
	Usage       []Usage       // one for each limit, in order, with this request if it is granted; none if a cool-down is the reason
	CoolDown    time.Duration // how long the cool-down still lasts; 0: it is not the reason
	Probe       bool          // a cool-down has elapsed, and one request is the probe: this one if it is granted, else another
}

// Usage is what counts against a limit at one moment. Fixed windows of the limit's length follow one another. The
// previous one counts in proportion to the part that the sliding window still covers. There is room for one more
// request while
//
//	Prev · (1 − Elapsed/Limit.Window) + Now + 1 ≤ Limit.Requests
type Usage struct {
	Now, Prev uint64        // requests in the current window, and in the previous one
	Elapsed   time.Duration // since the current window began; less than Limit.Window in whole microseconds
}

// Reservation is the room of an admitted request. One goroutine at a time calls its methods. The caller calls Release
// once, and no other method afterwards.
type Reservation interface {
	// NextTurn asks whether the request may be sent upstream for another attempt. Only a cool-down can refuse that, by
	// the same rules as in Reserve; the request is not counted again. The Decision has this same Reservation if the
	// attempt is granted, and no Usage. After an error, the caller decides by the cool-down of its own instance.
	NextTurn() (Decision, error)

	// EndTurn ends the turn of a probe; for any other request it does nothing. If the upstream answered, the cool-down
	// is over for all requests to the assistant, unless the answer has prolonged it. If not, the next request becomes the probe.
	EndTurn(answered bool)

	// Release frees the room of the request. If the request is still the probe, Release ends its turn without an
	// answer. If the request has not reached the upstream, it no longer counts in its limits. Release then returns
	// their usage, one for each limit, in order, or nil if the usage is unknown. Otherwise it returns nil, and may return
	// before the room is free at other instances: a visitor's finish must not wait for that.
	Release(reached bool) []Usage
}
