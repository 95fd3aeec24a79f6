package limit

import (
	"errors"
	"net/http"
	"time"

	"github.com/illumichat/caddy-illumichat/store"
)

// Config is the configuration of a [Limiter].
type Config struct {
	Key          Key // of the shared state
	Rules        []Rule
	MaxStreams   int           // 0: no limit
	MaxPerClient int           // 0: no limit
	Counter      store.Counter // shared by all instances; nil: this instance counts alone

	// Release is called when the last reference to the limiter is released; nil: there is nothing to release.
	Release func() error

	// UsedUp must be set. It is called when visitors have used up a rule together. emptyKey says whether the
	// request's key is empty, wait how long it takes until there is room.
	UsedUp func(r Rule, emptyKey bool, wait time.Duration)

	// NoClient must be set. It is called when all clients without an address have reached MaxPerClient together, so that
	// one of them is refused.
	NoClient func()

	// Failed must be set. It is called with the error if something cannot be released after a request.
	Failed func(error)
}

// Rule bounds how many requests are admitted for one key in a sliding window of time.
type Rule struct {
	Requests int
	Window   time.Duration
	Key      string // as configured: requests are counted apart by its value
	ByClient bool   // each client is counted apart, so that it may see its count
	ForMany  bool   // many visitors share a count, because the key does not tell them apart
}

// Limiter decides whether there is room for a request. All limiters of the process for the same endpoint and token
// share their state.
type Limiter struct {
	config Config
	state  *sharedState
	limits []*activeRule
	refs   int // the config's, and those of open chats and listeners; guarded by the state's lock
}

// activeRule is a rule with its window.
type activeRule struct {
	Rule
	window *window
}

func (l *activeRule) n() uint64 { return uint64(l.Requests) }

// Request is a request that asks for admission.
type Request struct {
	ID     string // unique; the id of the stream that the answer may become
	Client string // the key of the client that sends it

	// Assistant is the id of the assistant that the request is for. It is empty for a listener.
	Assistant string
}

// New returns a Limiter with a reference to the shared state of config.Key. The caller must call Close.
func New(config Config) *Limiter {
	state, _ := sharedStates.LoadOrStore(config.Key, new(sharedState))
	l := &Limiter{config: config, state: state.(*sharedState), refs: 1}
	for _, r := range config.Rules {
		shared, _ := sharedWindows.LoadOrStore(config.Key.windowKey(r), newWindow(r.Window))
		l.limits = append(l.limits, &activeRule{Rule: r, window: shared.(*window)})
	}
	return l
}

// Close releases the config's reference to the shared state. Open chats keep theirs.
func (l *Limiter) Close() error { return l.releaseRef() }

// Use takes a reference to the shared state. The returned function releases it, and must be called.
func (l *Limiter) Use() (release func()) {
	l.state.mu.Lock()
	defer l.state.mu.Unlock()
	if !l.retain() {
		return func() {}
	}
	return l.releaseLate
}

// releaseLate releases the reference of a request. An error goes to Failed, because no caller can handle it.
func (l *Limiter) releaseLate() {
	if err := l.releaseRef(); err != nil {
		l.config.Failed(err)
	}
}

// Admit admits a request if there is room for it. Otherwise it returns the error for the visitor. It sets RateLimit
// fields in header, which tell the client how much is left. keys holds what each rule counts the request under, in the
// order of the rules.
func (l *Limiter) Admit(header http.Header, r Request, keys []string) (*Admission, error) {
	a := &Admission{limiter: l, header: header, ID: r.ID, client: r.Client, assistant: assistantKey(r.Assistant)}
	if len(l.limits) > 0 {
		a.charges = make([]charge, len(l.limits))
	}
	for i, limit := range l.limits {
		a.charges[i] = charge{limit: limit, key: keys[i]}
	}
	if err := a.enter(); err != nil {
		a.release()
		l.reportNoClient(r, err)
		return nil, err
	}
	return a, nil
}

// reportNoClient reports that a request without a client is refused because of MaxPerClient.
func (l *Limiter) reportNoClient(r Request, err error) {
	if r.Client == "" && errors.Is(err, errClientStreams) {
		l.config.NoClient()
	}
}
