package limit

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/store"
)

var (
	errClientStreams = &apierror.Error{
		Status: http.StatusTooManyRequests, Code: apierror.CodeRateLimit,
		Text:   "too many answers are being written for you; let one of them end",
		Header: apierror.RetryAfterHeader(time.Second),
		Cause:  errors.New("max_streams_per_client is reached"),
	}
	errStreams = &apierror.Error{
		Status: http.StatusServiceUnavailable, Code: apierror.CodeOverloaded,
		Text:   "too many people are chatting; try again in a moment",
		Header: apierror.RetryAfterHeader(time.Second),
		Cause:  errors.New("max_streams is reached"),
		Hint:   "raise max_streams if the machine and the quota allow for more",
	}
)

// errLimit is what a request gets that a limit does not let in.
func errLimit(r Rule, wait time.Duration) *apierror.Error {
	return &apierror.Error{
		Status: http.StatusTooManyRequests, Code: apierror.CodeRateLimit,
		Text:   "too many chats were sent; try again later",
		Header: apierror.RetryAfterHeader(wait),
		Cause:  fmt.Errorf("the limit of %d in %s is used up", r.Requests, r.Window),
	}
}

// Admission is the leave of one request to be sent upstream, and what it takes up for that. It has to be left.
type Admission struct {
	limiter     *Limiter
	header      http.Header // of the answer
	turn        turn        // of the cool-down, for the next try
	client      string
	charges     []charge
	ID          string            // of the stream that the answer may become
	stream      *liveStream       // that the answer is; nil: it is none that can be resumed
	reservation store.Reservation // among the requests of all instances; nil where this one counts for itself
	reached     bool              // the request has reached the upstream, maybe
	holds       bool              // the state
}

// charge is a request that counts against a limit.
type charge struct {
	limit  *activeRule
	key    string
	usage  usage
	window int64
}

// enter lets the request in as all instances have counted together, or else as this one has.
func (a *Admission) enter() error {
	if a.limiter.config.Counter != nil {
		if known, err := a.enterShared(); known {
			return err
		}
	}
	var wait time.Duration
	if a.turn, wait = a.limiter.state.coolDown.turn(); wait > 0 {
		return ErrCoolDown(wait)
	}
	err := a.count()
	setHeader(a.header, a.charges)
	if err != nil {
		a.turn.end()
		a.limiter.reportUsedUp(a.charges)
	}
	return err
}

// count counts the request in all its limits and gives it a slot, or neither if there is no room.
func (a *Admission) count() error {
	state := a.limiter.state
	state.mu.Lock()
	defer state.mu.Unlock()
	a.readUsage()
	if err := a.checkRoom(); err != nil {
		return err
	}
	a.charge()
	for i := range a.charges {
		a.charges[i].usage.now++
	}
	state.slots.take(a.client)
	a.retain()
	return nil
}

// charge counts the request in its limits, as far as this instance counts. It needs the state's lock.
func (a *Admission) charge() {
	for i := range a.charges {
		c := &a.charges[i]
		c.window = c.limit.window.add(c.key)
	}
}

// retain keeps the state, for which it needs its lock.
func (a *Admission) retain() {
	a.holds = a.holds || a.limiter.retain()
}

func (a *Admission) release() {
	if a.holds {
		a.limiter.releaseLate()
	}
}

// readUsage notes what is used of the limits.
func (a *Admission) readUsage() {
	for i := range a.charges {
		c := &a.charges[i]
		c.usage = c.limit.window.usage(c.key)
	}
}

// checkRoom returns why there is no room, if there is none.
func (a *Admission) checkRoom() error {
	if err := a.exhausted(); err != nil {
		return err
	}
	return a.limiter.checkClientSlots(a.client)
}

// exhausted returns which limit has no room, if one has none: that with the longest wait.
func (a *Admission) exhausted() error {
	var usedUp *charge
	var longest time.Duration
	for i := range a.charges {
		if wait := a.charges[i].wait(); wait > longest {
			usedUp, longest = &a.charges[i], wait
		}
	}
	if usedUp == nil {
		return nil
	}
	return errLimit(usedUp.limit.Rule, longest)
}

// checkClientSlots returns why a client gets no slot, if it gets none. It needs the state's lock.
func (l *Limiter) checkClientSlots(client string) error {
	if l.config.MaxPerClient > 0 && l.state.slots.byClient[client] >= l.config.MaxPerClient {
		return errClientStreams
	}
	return l.checkSlots()
}

// checkSlots returns why nobody gets a slot, if nobody does. It needs the state's lock.
func (l *Limiter) checkSlots() error {
	if l.config.MaxStreams > 0 && l.state.slots.taken >= l.config.MaxStreams {
		return errStreams
	}
	return nil
}

// wait returns how long it takes until the limit has room for one more.
func (c *charge) wait() time.Duration { return c.usage.wait(c.limit.n(), 1) }

// reportUsedUp tells of limits that shut out more than one client.
func (l *Limiter) reportUsedUp(charges []charge) {
	for _, c := range charges {
		if wait := c.wait(); wait > 0 && (c.key == "" || c.limit.ForMany) {
			l.config.UsedUp(c.limit.Rule, c.key == "", wait)
		}
	}
}

// Reached notes that the request may have reached the upstream: then it counts.
func (a *Admission) Reached() { a.reached = true }

// CoolDown keeps requests from the upstream for a time, of all instances. It reports whether that is new.
func (a *Admission) CoolDown(wait time.Duration) (begun bool) {
	begun = a.limiter.state.coolDown.start(wait)
	if a.limiter.config.Counter != nil {
		a.limiter.config.Counter.CoolDown(wait)
	}
	return begun
}

// Answered notes that the try has an answer, which ends a cool-down for the others, too.
func (a *Admission) Answered() { a.turn.answered() }

// EndTurn notes that the try is over.
func (a *Admission) EndTurn() { a.turn.end() }

// Leave gives back what the request takes up. What did not reach the upstream does not count, and the client, who has
// no answer yet, is told that.
func (a *Admission) Leave() {
	a.turn.end()
	a.exit()
	if !a.reached {
		setHeader(a.header, a.charges)
	}
	a.release()
}

// exit undoes enter.
func (a *Admission) exit() {
	a.uncount()
	if a.reservation != nil && !a.limiter.state.handOver(a.stream, a.reservation) {
		a.noteUsage(a.reservation.Release(a.reached))
	}
}

// uncount undoes count.
func (a *Admission) uncount() {
	state := a.limiter.state
	state.mu.Lock()
	defer state.mu.Unlock()
	state.slots.giveBack(a.client)
	if a.reached {
		return
	}
	for _, c := range a.charges {
		c.limit.window.takeBack(c.key, c.window)
	}
	if a.reservation == nil {
		a.readUsage()
	}
}
