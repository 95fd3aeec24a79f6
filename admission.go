package illumichat

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/illumichat/caddy-illumichat/internal/values"
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
		text:   "too many chats were sent; try again later",
		header: retryAfterHeader(wait),
		cause:  fmt.Errorf("the limit of %d in %s is used up", l.Requests, time.Duration(l.Window)),
	}
}

// admission is the leave of one request to be sent upstream, and what it takes up for that. It has to be left.
type admission struct {
	handler *Handler
	header  http.Header // of the answer
	turn    turn        // of the cool-down, for the first try
	client  string
	charges []charge
	reached bool // the upstream, maybe
	holds   bool // the state
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
	var wait time.Duration
	if a.turn, wait = h.state.coolDown.turn(); wait > 0 {
		return nil, errCoolDown(wait)
	}
	err := a.enter()
	tellClient(header, a.charges)
	if err != nil {
		a.turn.end()
		h.noteUsedUp(a.charges)
		return nil, err
	}
	return a, nil
}

// enter counts the request in all its limits and gives it a slot, or neither if there is no room.
func (a *admission) enter() error {
	state := a.handler.state
	state.mu.Lock()
	defer state.mu.Unlock()
	a.look()
	if err := a.refusal(); err != nil {
		return err
	}
	for i := range a.charges {
		c := &a.charges[i]
		c.window = c.limit.window.add(c.key)
		c.usage.now++
	}
	state.slots.take(a.client)
	// Requests come to a handler even when its config was replaced and nothing was open.
	if a.holds = a.handler.users > 0; a.holds {
		a.handler.users++
	}
	return nil
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
	var usedUp *charge
	var longest time.Duration
	for i := range a.charges {
		if wait := a.charges[i].wait(); wait > longest {
			usedUp, longest = &a.charges[i], wait
		}
	}
	if usedUp != nil {
		return errLimit(usedUp.limit, longest)
	}
	return a.handler.fullSlots(a.client)
}

// fullSlots returns why a client gets no slot, if it gets none. It needs the state's lock.
func (h *Handler) fullSlots(client string) error {
	slots := &h.state.slots
	switch {
	case h.MaxStreamsPerClient > 0 && slots.byClient[client] >= h.MaxStreamsPerClient:
		return errClientStreams
	case h.MaxStreams > 0 && slots.taken >= h.MaxStreams:
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
		h.troubles.tell(zapcore.WarnLevel, fmt.Sprintf("limit %s %s", window, l.Key), "a limit of many visitors together is used up",
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
	if a.holds {
		_ = a.handler.letGo() // there is nobody to tell
	}
}

// exit undoes enter.
func (a *admission) exit() {
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
	a.look()
}
