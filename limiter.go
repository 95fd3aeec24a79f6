package illumichat

import (
	"net/http"
	"time"

	"github.com/illumichat/caddy-illumichat/store"
)

// limiterConfig is what a limiter is made of.
type limiterConfig struct {
	key          stateKey // of the state that it shares
	endpoint     string   // as anybody may see it
	rules        []rule
	maxStreams   int           // 0: no limit
	maxPerClient int           // 0: no limit
	counter      store.Counter // of all instances; nil: this one counts for itself

	// release is called when nobody uses the limiter any more; nil: there is nothing to release.
	release func() error

	// usedUp is told of a rule that many visitors have used up together, of whether its key is empty, and of how long it takes
	// until there is room.
	usedUp func(r rule, emptyKey bool, wait time.Duration)

	// failed is told of what could not be released after a request.
	failed func(error)
}

// rule bounds how many requests are let in for one key in a window of time.
type rule struct {
	requests int
	window   time.Duration
	key      string // as it is configured: what is counted apart
	byClient bool   // each client is counted apart, so that it may know its count
	forMany  bool   // the key is a word, so that one count is for all
}

// limiter decides whether there is room for a request. It has a part in a state that all limiters of the process share which
// ask one endpoint with one token.
type limiter struct {
	limiterConfig
	state  *sharedState
	limits []*limit
	refs   int // of the state: the config's, and those of open chats; guarded by the state's lock
}

// limit is a rule in use.
type limit struct {
	rule
	window *window
}

func (l *limit) n() uint64 { return uint64(l.requests) }

// admissionRequest is a request that wants to be let in.
type admissionRequest struct {
	id     string   // which no other has; the id of the stream that the answer may become
	client string   // who sends it
	keys   []string // what each rule counts it under
}

// newLimiter takes part in the state. It has to be closed.
func newLimiter(config limiterConfig) *limiter {
	state, _ := sharedStates.LoadOrStore(config.key, &sharedState{endpoint: config.endpoint})
	l := &limiter{limiterConfig: config, state: state.(*sharedState), refs: 1}
	for _, r := range config.rules {
		shared, _ := sharedWindows.LoadOrStore(config.key.windowKey(r), newWindow(r.window))
		l.limits = append(l.limits, &limit{rule: r, window: shared.(*window)})
	}
	return l
}

// close gives up the config's part in the state. Open chats keep theirs.
func (l *limiter) close() error { return l.releaseRef() }

// use keeps the state until what it returns is called.
func (l *limiter) use() (release func()) {
	l.state.mu.Lock()
	defer l.state.mu.Unlock()
	if !l.retain() {
		return func() {}
	}
	return l.releaseLate
}

// releaseLate gives up the part of a request, which nobody waits for.
func (l *limiter) releaseLate() {
	if err := l.releaseRef(); err != nil {
		l.failed(err)
	}
}

// admit lets a request in if there is room for it, and tells its client in header how much it has left.
func (l *limiter) admit(header http.Header, r admissionRequest) (*admission, error) {
	a := &admission{limiter: l, header: header, id: r.id, client: r.client}
	for i, limit := range l.limits {
		a.charges = append(a.charges, charge{limit: limit, key: r.keys[i]})
	}
	if err := a.enter(); err != nil {
		a.release()
		return nil, err
	}
	return a, nil
}
