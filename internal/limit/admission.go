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
		Text:   "you have too many open chats; wait until one of them ends",
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

// errLimit returns the error for a request that a limit rejects. wait is how long it takes until there is room.
func errLimit(r Rule, wait time.Duration) *apierror.Error {
	return &apierror.Error{
		Status: http.StatusTooManyRequests, Code: apierror.CodeRateLimit,
		Text:   "too many chats were sent; try again later",
		Header: apierror.RetryAfterHeader(wait),
		Cause:  fmt.Errorf("the limit of %d in %s is used up", r.Requests, r.Window),
	}
}

// Admission is the permission to send one request upstream, and what the request occupies meanwhile. The caller must
// call Leave.
type Admission struct {
	limiter     *Limiter
	header      http.Header // of the response to the visitor
	turn        turn        // the cool-down's permission for the next attempt
	client      string
	assistant   string // the key of its cool-down
	charges     []charge
	ID          string            // of the stream that the answer may become
	stream      *liveStream       // the answer's, if it can be resumed; else nil
	reservation store.Reservation // in the shared counter; nil: this instance counts alone
	reached     bool              // the request may have reached the upstream
	holds       bool              // a reference to the shared state
}

// charge is what a request counts against one limit.
type charge struct {
	limit  *activeRule
	key    string
	usage  usage
	window int64 // the number of the window that counted the request
}

// enter admits the request by the shared counter. If there is none, or it cannot be reached, the counts of this
// instance decide.
func (a *Admission) enter() error {
	if a.limiter.config.Counter != nil {
		if known, err := a.admitShared(); known {
			return err
		}
	}
	var wait time.Duration
	if a.turn, wait = a.limiter.state.coolDowns.turn(a.assistant); wait > 0 {
		return CoolDownError(wait)
	}
	err := a.count()
	setHeader(a.header, a.charges)
	if err != nil {
		a.turn.end()
		a.limiter.reportUsedUp(a.charges)
	}
	return err
}

// count counts the request in all its limits and takes a slot. If there is no room, it does neither and returns the
// reason.
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

// charge adds the request to the windows of this instance. The caller holds the state's lock.
func (a *Admission) charge() {
	for i := range a.charges {
		c := &a.charges[i]
		c.window = c.limit.window.add(c.key)
	}
}

// retain takes a reference to the shared state, unless the admission has one. The caller holds the state's lock.
func (a *Admission) retain() {
	a.holds = a.holds || a.limiter.retain()
}

func (a *Admission) release() {
	if a.holds {
		a.limiter.releaseLate()
	}
}

// readUsage reads the usage of each limit from the windows of this instance. The caller holds the state's lock.
func (a *Admission) readUsage() {
	for i := range a.charges {
		c := &a.charges[i]
		c.usage = c.limit.window.usage(c.key)
	}
}

// checkRoom returns nil if this instance has room for the request, else the reason. The caller holds the state's lock.
func (a *Admission) checkRoom() error {
	if err := a.exhausted(); err != nil {
		return err
	}
	return a.limiter.checkClientSlots(a.client)
}

// exhausted returns the error of the used-up limit with the longest wait, or nil if all limits have room.
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

// checkClientSlots returns nil if this instance has a slot for the client, else the reason. The caller holds the
// state's lock.
func (l *Limiter) checkClientSlots(client string) error {
	if l.config.MaxPerClient > 0 && l.state.slots.byClient[client] >= l.config.MaxPerClient {
		return errClientStreams
	}
	return l.checkSlots()
}

// checkSlots returns nil if this instance has a slot for any client, else the reason. The caller holds the state's
// lock.
func (l *Limiter) checkSlots() error {
	if l.config.MaxStreams > 0 && l.state.slots.taken >= l.config.MaxStreams {
		return errStreams
	}
	return nil
}

// wait returns how long it takes until the limit has room for one more request.
func (c *charge) wait() time.Duration { return c.usage.wait(c.limit.n(), 1) }

// reportUsedUp reports the used-up limits that reject more than one client. These are limits with a count that many
// visitors share, and limits for which the request's key is empty.
func (l *Limiter) reportUsedUp(charges []charge) {
	for _, c := range charges {
		if wait := c.wait(); wait > 0 && (c.key == "" || c.limit.ForMany) {
			l.config.UsedUp(c.limit.Rule, c.key == "", wait)
		}
	}
}

// Reached notes that the request may have reached the upstream. From then on it counts, even after Leave.
func (a *Admission) Reached() { a.reached = true }

// CoolDown starts the assistant's cool-down at all instances, or prolongs it: none of them asks the upstream for this
// assistant before wait is over. It reports whether this instance had no such cool-down before.
func (a *Admission) CoolDown(wait time.Duration) (begun bool) {
	begun = a.limiter.state.coolDowns.start(a.assistant, wait)
	if a.limiter.config.Counter != nil {
		a.limiter.config.Counter.CoolDown(a.assistant, wait)
	}
	return begun
}

// Answered notes that the attempt has an answer. If the attempt was the probe, that ends the assistant's cool-down for
// all requests, unless the answer has prolonged it.
func (a *Admission) Answered() { a.turn.answered() }

// EndTurn notes that the attempt has ended. If it was the probe and had no answer, the next request probes.
func (a *Admission) EndTurn() { a.turn.end() }

// NextTurn permits one more attempt and returns 0, or returns how long the request has to wait for it.
func (a *Admission) NextTurn() (wait time.Duration) {
	a.turn, wait = a.furtherTurn()
	return wait
}

func (a *Admission) furtherTurn() (turn, time.Duration) {
	coolDowns := &a.limiter.state.coolDowns
	if a.reservation == nil || coolDowns.left(a.assistant) > 0 {
		return coolDowns.turn(a.assistant)
	}
	decision, err := a.reservation.NextTurn()
	switch {
	case err != nil:
		return coolDowns.turn(a.assistant)
	case decision.Reservation == nil:
		return turn{}, coolDowns.waitShared(a.assistant, decision)
	}
	return coolDowns.turnShared(a.assistant, decision), 0
}

// Leave releases what the request occupies. A request that did not reach the upstream does not count. Its client has no
// response yet, so Leave updates the RateLimit fields of the response.
func (a *Admission) Leave() {
	a.turn.end()
	a.exit()
	if !a.reached {
		setHeader(a.header, a.charges)
	}
	a.release()
}

// exit undoes enter, but leaves the shared reservation to the visitors who still listen to the answer. If the request did
// not reach the upstream, there is no answer, and the reservation must be released at once, so that it does not count.
func (a *Admission) exit() {
	a.uncount()
	if a.reservation != nil && !(a.reached && a.limiter.state.handOver(a.stream, a.reservation)) {
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
