package limit

import (
	"net/http"
	"time"

	"github.com/illumichat/caddy-illumichat/store"
)

// Config is what a limiter is made of.
type Config struct {
	Key          Key    // of the state that it shares
	Endpoint     string // as anybody may see it
	Rules        []Rule
	MaxStreams   int           // 0: no limit
	MaxPerClient int           // 0: no limit
	Counter      store.Counter // of all instances; nil: this one counts for itself

	// Release is called when nobody uses the limiter any more; nil: there is nothing to release.
	Release func() error

	// UsedUp is told of a rule that many visitors have used up together, of whether its key is empty, and of how long it takes
	// until there is room.
	UsedUp func(r Rule, emptyKey bool, wait time.Duration)

	// Failed is told of what could not be released after a request.
	Failed func(error)
}

// Rule bounds how many requests are let in for one key in a window of time.
type Rule struct {
	Requests int
	Window   time.Duration
	Key      string // as it is configured: what is counted apart
	ByClient bool   // each client is counted apart, so that it may know its count
	ForMany  bool   // the key is a word, so that one count is for all
}

// Limiter decides whether there is room for a request. It has a part in a state that all limiters of the process share which
// ask one endpoint with one token.
type Limiter struct {
	config Config
	state  *sharedState
	limits []*activeRule
	refs   int // of the state: the config's, and those of open chats; guarded by the state's lock
}

// activeRule is a rule in use.
type activeRule struct {
	Rule
	window *window
}

func (l *activeRule) n() uint64 { return uint64(l.Requests) }

// Request is a request that wants to be let in.
type Request struct {
	ID     string // which no other has; the id of the stream that the answer may become
	Client string // who sends it
}

// New takes part in the state. It has to be closed.
func New(config Config) *Limiter {
	state, _ := sharedStates.LoadOrStore(config.Key, &sharedState{endpoint: config.Endpoint})
	l := &Limiter{config: config, state: state.(*sharedState), refs: 1}
	for _, r := range config.Rules {
		shared, _ := sharedWindows.LoadOrStore(config.Key.windowKey(r), newWindow(r.Window))
		l.limits = append(l.limits, &activeRule{Rule: r, window: shared.(*window)})
	}
	return l
}

// Close gives up the config's part in the state. Open chats keep theirs.
func (l *Limiter) Close() error { return l.releaseRef() }

// Use keeps the state until what it returns is called.
func (l *Limiter) Use() (release func()) {
	l.state.mu.Lock()
	defer l.state.mu.Unlock()
	if !l.retain() {
		return func() {}
	}
	return l.releaseLate
}

// releaseLate gives up the part of a request, which nobody waits for.
func (l *Limiter) releaseLate() {
	if err := l.releaseRef(); err != nil {
		l.config.Failed(err)
	}
}

// Admit lets a request in if there is room for it, and tells its client in header how much it has left. keys has what each rule
// counts the request under.
func (l *Limiter) Admit(header http.Header, r Request, keys []string) (*Admission, error) {
	a := &Admission{limiter: l, header: header, ID: r.ID, client: r.Client}
	if len(l.limits) > 0 {
		a.charges = make([]charge, len(l.limits))
	}
	for i, limit := range l.limits {
		a.charges[i] = charge{limit: limit, key: keys[i]}
	}
	if err := a.enter(); err != nil {
		a.release()
		return nil, err
	}
	return a, nil
}
