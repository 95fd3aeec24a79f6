package illumichat

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"
)

var (
	errClientStreams = &chatError{
		status: http.StatusTooManyRequests, code: "rate_limit:chat",
		text:   "too many answers are being written for you; let one of them end",
		header: retryAfterHeader(time.Second),
		cause:  errors.New("max_streams_per_client is reached"),
	}
	errStreams = &chatError{
		status: http.StatusServiceUnavailable, code: "overloaded:chat",
		text:   "too many people are chatting; try again in a moment",
		header: retryAfterHeader(time.Second),
		cause:  errors.New("max_streams is reached"),
		hint:   "raise max_streams if the machine and the quota allow for more",
	}
)

// errLimit is what a request gets that a limit does not let in.
func errLimit(l *limit, wait time.Duration) *chatError {
	return &chatError{
		status: http.StatusTooManyRequests, code: "rate_limit:chat",
		text:   "you have sent too many chats; try again later",
		header: retryAfterHeader(wait),
		cause:  fmt.Errorf("the limit of %d in %s is used up", l.Requests, time.Duration(l.Window)),
	}
}

// admission is the leave of one request to be sent upstream, and what it takes up for that.
type admission struct {
	state   *sharedState
	turn    turn // of the cool-down, for the first try
	client  string
	charges []charge
	reached bool // the upstream, maybe
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
	turn, wait := h.state.coolDown.turn()
	if wait > 0 {
		return nil, errCoolDown(wait)
	}
	a := &admission{state: h.state, turn: turn, client: clientOf(r)}
	for _, l := range h.limits {
		a.charges = append(a.charges, charge{limit: l, key: l.keyOf(r, a.client)})
	}
	err := a.enter(h)
	tellClient(header, a.charges)
	if err != nil {
		a.turn.end()
		return nil, err
	}
	return a, nil
}

// enter counts the request in all its limits and and gives it a slot, or neither if there is no room.
func (a *admission) enter(h *Handler) error {
	a.state.mu.Lock()
	defer a.state.mu.Unlock()
	for i := range a.charges {
		c := &a.charges[i]
		c.usage = c.limit.window.usage(c.key)
	}
	if err := a.refusal(h); err != nil {
		return err
	}
	for i := range a.charges {
		c := &a.charges[i]
		c.window = c.limit.window.add(c.key)
		c.usage.now++
	}
	a.state.slots.take(a.client)
	return nil
}

// refusal returns why there is no room, if there is none.
func (a *admission) refusal(h *Handler) error {
	var usedUp *limit
	var longest time.Duration
	for _, c := range a.charges {
		if wait := c.usage.wait(c.limit.n(), 1); wait > longest {
			usedUp, longest = c.limit, wait
		}
	}
	slots := &a.state.slots
	switch {
	case usedUp != nil:
		h.noteUsedUp(usedUp, longest)
		return errLimit(usedUp, longest)
	case h.MaxStreamsPerClient > 0 && slots.byClient[a.client] >= h.MaxStreamsPerClient:
		return errClientStreams
	case h.MaxStreams > 0 && slots.taken >= h.MaxStreams:
		e := *errStreams
		e.quiet = !h.streamsTrouble.due(time.Minute)
		return &e
	}
	return nil
}

// noteUsedUp tells the operator of a limit that shuts all visitors out.
func (h *Handler) noteUsedUp(l *limit, wait time.Duration) {
	if !hasPlaceholder(l.Key) && l.usedUp.due(time.Minute) {
		h.logger.Warn("a limit of all visitors together is used up",
			zap.Int("requests", l.Requests),
			zap.Duration("window", time.Duration(l.Window)),
			zap.String("key", l.Key),
			zap.Duration("wait", wait))
	}
}

// takeTurn hands the turn over to the first try.
func (a *admission) takeTurn() turn {
	t := a.turn
	a.turn = turn{}
	return t
}

// leave gives back what the request takes up; what it counts, only if it did not reach the upstream.
func (a *admission) leave() {
	a.turn.end()
	a.state.mu.Lock()
	defer a.state.mu.Unlock()
	a.state.slots.giveBack(a.client)
	if a.reached {
		return
	}
	for _, c := range a.charges {
		c.limit.window.takeBack(c.key, c.window)
	}
}
