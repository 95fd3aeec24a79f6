package illumichat

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
func errLimit(r rule, wait time.Duration) *apierror.Error {
	return &apierror.Error{
		Status: http.StatusTooManyRequests, Code: apierror.CodeRateLimit,
		Text:   "too many chats were sent; try again later",
		Header: apierror.RetryAfterHeader(wait),
		Cause:  fmt.Errorf("the limit of %d in %s is used up", r.requests, r.window),
	}
}

// admission is the leave of one request to be sent upstream, and what it takes up for that. It has to be left.
type admission struct {
	limiter *limiter
	header  http.Header // of the answer
	turn    turn        // of the cool-down, for the next try
	client  string
	charges []charge
	id      string      // of the stream that the answer may become
	stream  *liveStream // that the answer is; nil: it is none that can be resumed
	stay    store.Stay  // among the requests of all instances; nil where this one counts for itself
	reached bool        // the request has reached the upstream, maybe
	holds   bool        // the state
}

// charge is a request that counts against a limit.
type charge struct {
	limit  *limit
	key    string
	usage  usage
	window int64
}

// enter lets the request in as all instances have counted together, or else as this one has.
func (a *admission) enter() error {
	if a.limiter.counter != nil {
		if known, err := a.enterAmongAll(); known {
			return err
		}
	}
	var wait time.Duration
	if a.turn, wait = a.limiter.state.coolDown.turn(); wait > 0 {
		return errCoolDown(wait)
	}
	err := a.count()
	tellClient(a.header, a.charges)
	if err != nil {
		a.turn.end()
		a.limiter.reportUsedUp(a.charges)
	}
	return err
}

// count counts the request in all its limits and gives it a slot, or neither if there is no room.
func (a *admission) count() error {
	state := a.limiter.state
	state.mu.Lock()
	defer state.mu.Unlock()
	a.look()
	if err := a.refusal(); err != nil {
		return err
	}
	a.charge()
	for i := range a.charges {
		a.charges[i].usage.now++
	}
	state.slots.take(a.client)
	a.hold()
	return nil
}

// charge counts the request in its limits, as far as this instance counts. It needs the state's lock.
func (a *admission) charge() {
	for i := range a.charges {
		c := &a.charges[i]
		c.window = c.limit.window.add(c.key)
	}
}

// hold keeps the state, for which it needs its lock.
func (a *admission) hold() {
	a.holds = a.holds || a.limiter.retain()
}

func (a *admission) release() {
	if a.holds {
		a.limiter.releaseLate()
	}
}

// look notes what is used of the limits.
func (a *admission) look() {
	for i := range a.charges {
		c := &a.charges[i]
		c.usage = c.limit.window.usage(c.key)
	}
}

// refusal returns why there is no room, if there is none.
func (a *admission) refusal() error {
	if err := a.usedUp(); err != nil {
		return err
	}
	return a.limiter.checkClientSlots(a.client)
}

// usedUp returns which limit has no room, if one has none: that with the longest wait.
func (a *admission) usedUp() error {
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
	return errLimit(usedUp.limit.rule, longest)
}

// checkClientSlots returns why a client gets no slot, if it gets none. It needs the state's lock.
func (l *limiter) checkClientSlots(client string) error {
	if l.maxPerClient > 0 && l.state.slots.byClient[client] >= l.maxPerClient {
		return errClientStreams
	}
	return l.checkSlots()
}

// checkSlots returns why nobody gets a slot, if nobody does. It needs the state's lock.
func (l *limiter) checkSlots() error {
	if l.maxStreams > 0 && l.state.slots.taken >= l.maxStreams {
		return errStreams
	}
	return nil
}

// wait returns how long it takes until the limit has room for one more.
func (c *charge) wait() time.Duration { return c.usage.wait(c.limit.n(), 1) }

// reportUsedUp tells of limits that shut out more than one client.
func (l *limiter) reportUsedUp(charges []charge) {
	for _, c := range charges {
		if wait := c.wait(); wait > 0 && (c.key == "" || c.limit.forMany) {
			l.usedUp(c.limit.rule, c.key == "", wait)
		}
	}
}

// nowReached notes that the request may have reached the upstream: then it counts.
func (a *admission) nowReached() { a.reached = true }

// coolDown keeps requests from the upstream for a time, of all instances. It reports whether that is new.
func (a *admission) coolDown(wait time.Duration) (begun bool) {
	begun = a.limiter.state.coolDown.start(wait)
	if a.limiter.counter != nil {
		a.limiter.counter.CoolDown(wait)
	}
	return begun
}

// answered notes that the try has an answer, which ends a cool-down for the others, too.
func (a *admission) answered() { a.turn.answered() }

// endTurn notes that the try is over.
func (a *admission) endTurn() { a.turn.end() }

// leave gives back what the request takes up. What did not reach the upstream does not count, and the client, who has
// no answer yet, is told that.
func (a *admission) leave() {
	a.turn.end()
	a.exit()
	if !a.reached {
		tellClient(a.header, a.charges)
	}
	a.release()
}

// exit undoes enter.
func (a *admission) exit() {
	a.uncount()
	if a.stay != nil && !a.limiter.state.bequeath(a.stream, a.stay) {
		a.adopt(a.stay.Leave(a.reached))
	}
}

// uncount undoes count.
func (a *admission) uncount() {
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
	if a.stay == nil {
		a.look()
	}
}
