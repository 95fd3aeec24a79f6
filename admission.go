package illumichat

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/values"
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
func errLimit(l *limit, wait time.Duration) *apierror.Error {
	return &apierror.Error{
		Status: http.StatusTooManyRequests, Code: apierror.CodeRateLimit,
		Text:   "too many chats were sent; try again later",
		Header: apierror.RetryAfterHeader(wait),
		Cause:  fmt.Errorf("the limit of %d in %s is used up", l.Requests, time.Duration(l.Window)),
	}
}

// admission is the leave of one request to be sent upstream, and what it takes up for that. It has to be left.
type admission struct {
	handler *Handler
	header  http.Header // of the answer
	turn    turn        // of the cool-down, for the first try
	client  string
	charges []charge
	id      string      // of the stream that the answer may become; "" before there is need of one
	stream  *liveStream // that the answer is; nil: it is none that can be resumed
	stay    store.Stay  // among the requests of all instances; nil where this one counts for itself
	reached bool        // the upstream, maybe
	holds   bool        // the state
}

// charge is a request that counts against a limit.
type charge struct {
	limit  *limit
	key    string
	usage  usage
	window int64
}

// admit lets a request in if there is room for it, and tells a client in header how much it has left.
func (h *Handler) admit(header http.Header, r *http.Request) (*admission, error) {
	a := &admission{handler: h, header: header, client: clientOf(r)}
	for _, l := range h.limits {
		a.charges = append(a.charges, charge{limit: l, key: l.keyOf(r, a.client)})
	}
	if err := a.enter(); err != nil {
		a.letGo()
		return nil, err
	}
	return a, nil
}

// enter lets the request in as all instances have counted together, or else as this one has.
func (a *admission) enter() error {
	if a.handler.counter != nil {
		if known, err := a.enterAmongAll(); known {
			return err
		}
	}
	var wait time.Duration
	if a.turn, wait = a.handler.state.coolDown.turn(); wait > 0 {
		return errCoolDown(wait)
	}
	err := a.count()
	tellClient(a.header, a.charges)
	if err != nil {
		a.turn.end()
		a.handler.noteUsedUp(a.charges)
	}
	return err
}

// count counts the request in all its limits and gives it a slot, or neither if there is no room.
func (a *admission) count() error {
	state := a.handler.state
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
	a.holds = a.holds || a.handler.join()
}

func (a *admission) letGo() {
	if a.holds {
		_ = a.handler.letGo() // there is nobody to tell
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
	return a.handler.fullSlots(a.client)
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
	return errLimit(usedUp.limit, longest)
}

// fullSlots returns why a client gets no slot, if it gets none. It needs the state's lock.
func (h *Handler) fullSlots(client string) error {
	if h.MaxStreamsPerClient > 0 && h.state.slots.byClient[client] >= h.MaxStreamsPerClient {
		return errClientStreams
	}
	return h.full()
}

// full returns why nobody gets a slot, if nobody does. It needs the state's lock.
func (h *Handler) full() error {
	if h.MaxStreams > 0 && h.state.slots.taken >= h.MaxStreams {
		return errStreams
	}
	return nil
}

// wait returns how long it takes until the limit has room for one more.
func (c *charge) wait() time.Duration { return c.usage.wait(c.limit.n(), 1) }

// noteUsedUp tells the operator of limits that shut out more than one client.
func (h *Handler) noteUsedUp(charges []charge) {
	for _, c := range charges {
		l := c.limit
		wait := c.wait()
		if wait == 0 || c.key != "" && values.HasPlaceholder(l.Key) {
			continue
		}
		window := time.Duration(l.Window)
		h.log.Report(zapcore.WarnLevel, fmt.Sprintf("limit %s %s", window, l.Key), "a limit of many visitors together is used up",
			"raise the limit if the quota allows for more; where its key is empty, see whether the placeholder is right",
			zap.Int("requests", l.Requests), zap.Duration("window", window), zap.String("key", l.Key),
			zap.Bool("key_is_empty", c.key == ""), zap.Duration("wait", wait))
	}
}

// takeTurn hands the turn over to the first try.
func (a *admission) takeTurn() turn {
	t := a.turn
	a.turn = turn{}
	return t
}

// leave gives back what the request takes up. What did not reach the upstream does not count, and the client, who has
// no answer yet, is told that.
func (a *admission) leave() {
	a.turn.end()
	a.exit()
	if !a.reached {
		tellClient(a.header, a.charges)
	}
	a.letGo()
}

// exit undoes enter.
func (a *admission) exit() {
	a.uncount()
	if a.stay != nil && !a.handler.state.bequeath(a.stream, a.stay) {
		a.adopt(a.stay.Leave(a.reached))
	}
}

// uncount undoes count.
func (a *admission) uncount() {
	state := a.handler.state
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
