package illumichat

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/internal/upstream"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// step is one step of an upstream's body: it waits, and then returns data, an error, or both.
type step struct {
	wait time.Duration
	data string
	err  error
}

// script is a body that follows its steps and then ends. Closing it ends a read.
type script struct {
	ctx   context.Context
	close context.CancelFunc // of ctx; nil: no step waits
	steps []step
	reads func() // called before each read, if set
}

func (s *script) Read(p []byte) (int, error) {
	if s.reads != nil {
		s.reads()
	}
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	if len(s.steps) == 0 {
		return 0, io.EOF
	}
	next := &s.steps[0]
	if next.wait > 0 {
		select {
		case <-time.After(next.wait):
			next.wait = 0
		case <-s.ctx.Done():
			return 0, s.ctx.Err()
		}
	}
	n := copy(p, next.data)
	next.data = next.data[n:]
	err := next.err
	if next.data == "" {
		s.steps = s.steps[1:]
	} else {
		err = nil
	}
	return n, err
}

func (s *script) Close() error {
	if s.close != nil {
		s.close()
	}
	return nil
}

// fakeVisitor is a ResponseWriter that records what is written, when it is flushed, and in which pieces.
type fakeVisitor struct {
	header http.Header
	start  time.Time
	block  func(p []byte) error // called before each write, if set

	mu      sync.Mutex
	status  int
	chunks  []chunk
	pending []byte // written but not flushed
}

type chunk struct {
	at   time.Duration
	data string
}

func (v *fakeVisitor) Header() http.Header { return v.header }

func (v *fakeVisitor) WriteHeader(status int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.status = status
}

func (v *fakeVisitor) Write(p []byte) (int, error) {
	if v.block != nil {
		if err := v.block(p); err != nil {
			return 0, err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.status == 0 {
		v.status = http.StatusOK
	}
	v.pending = append(v.pending, p...)
	return len(p), nil
}

func (v *fakeVisitor) FlushError() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.chunks = append(v.chunks, chunk{time.Since(v.start), string(v.pending)})
	v.pending = nil
	return nil
}

// got returns everything that was written, flushed or not.
func (v *fakeVisitor) got() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all strings.Builder
	for _, c := range v.chunks {
		all.WriteString(c.data)
	}
	return all.String() + string(v.pending)
}

// timeline returns what was flushed and when, one piece per line.
func (v *fakeVisitor) timeline() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var lines strings.Builder
	for _, c := range v.chunks {
		fmt.Fprintf(&lines, "%v %q\n", c.at, c.data)
	}
	return lines.String()
}

// fakeChat is one chat without a network. Its handler has the given subdirectives. Its upstream accepts the chat and follows
// the steps, or gives the answers. Time is real, unless the chat runs in a synctest bubble.
type fakeChat struct {
	subdirectives string
	steps         []step
	answers       []fakeAnswer    // one for each attempt, if set; steps after the last one
	reads         func()          // called before each read of the upstream's body, if set
	ctx           context.Context // of the visitor, if set
	body          io.Reader       // of the visitor's request, if set
	limiter       *limit.Limiter  // shared with others, if set
	handler       *Handler        // shared with others, including its limiter, if set
	visitor       fakeVisitor

	tries []fakeTry // the attempts so far
}

// fakeAnswer is an upstream's answer to one attempt.
type fakeAnswer struct {
	wait   time.Duration // before the response headers
	err    error         // instead of a response
	status int           // 0: 200, with an event stream
	header http.Header
	steps  []step
}

// fakeTry is one attempt: a request that the upstream got.
type fakeTry struct {
	at     time.Duration
	header http.Header
	body   string
}

type fakeChatKey struct{}

func (c *fakeChat) run(t testing.TB) {
	t.Helper()
	h := c.handler
	if h == nil {
		h = newHandler(t, c.subdirectives)
		switch {
		case c.limiter == nil:
			h.limiter = newFakeLimiter(h)
			defer func() { _ = h.limiter.Close() }()
		case h.limiter != c.limiter: // chats at once must not write
			h.limiter = c.limiter
		}
	}
	ctx := c.ctx
	if ctx == nil {
		ctx = t.Context()
	}
	if c.body == nil {
		c.body = strings.NewReader(sitetest.Hello)
	}
	r := httptest.NewRequestWithContext(context.WithValue(ctx, fakeChatKey{}, c), http.MethodPost, sitetest.ChatPath, c.body)
	r.Header.Set("Content-Type", "application/json")
	c.visitor.header = make(http.Header)
	c.visitor.start = time.Now()
	if err := h.ServeHTTP(&c.visitor, r, nil); err != nil {
		t.Errorf("the handler returned %v", err)
	}
}

// newFakeLimiter returns a limiter for a handler. It shares no state with other limiters.
func newFakeLimiter(h *Handler) *limit.Limiter {
	config := h.limiterConfig()
	config.Key = limit.NewKey("https://"+rand.Text()+".example.com/", "")
	return limit.New(config)
}

// RoundTrip answers r as the upstream of the fakeChat in r's context.
func (fakeChatKey) RoundTrip(r *http.Request) (*http.Response, error) {
	c := r.Context().Value(fakeChatKey{}).(*fakeChat)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	c.tries = append(c.tries, fakeTry{time.Since(c.visitor.start), r.Header, string(body)})
	answer := fakeAnswer{steps: c.steps}
	if n := len(c.tries); c.answers != nil && n <= len(c.answers) {
		answer = c.answers[n-1]
	}
	if answer.wait > 0 {
		select {
		case <-time.After(answer.wait):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if answer.err != nil {
		return nil, answer.err
	}
	header := answer.header.Clone()
	if answer.status == 0 && header == nil {
		header = http.Header{"Content-Type": {"text/event-stream"}}
	}
	answered := &script{ctx: r.Context(), steps: slices.Clone(answer.steps), reads: c.reads}
	if slices.ContainsFunc(answer.steps, func(s step) bool { return s.wait > 0 }) { // else no read waits
		answered.ctx, answered.close = context.WithCancel(r.Context())
	}
	return &http.Response{StatusCode: cmp.Or(answer.status, http.StatusOK), Header: header, Body: answered}, nil
}

// handlers caches the handlers of newHandler by their subdirectives, because provisioning one takes longer than a chat.
var handlers = make(map[string]*Handler)

// newHandler returns a handler that asks the upstream of a fakeChat. All tests share the handler of the same subdirectives.
func newHandler(tb testing.TB, subdirectives string) *Handler {
	tb.Helper()
	if h, ok := handlers[subdirectives]; ok {
		return h
	}
	h := loadHandler(tb, subdirectives)
	handlers[subdirectives] = h
	return h
}

// newHandlerOfItsOwn is like newHandler, but the handler is new and is cleaned up when the test ends. It is for tests of
// limits, whose counts begin and end with the handler.
func newHandlerOfItsOwn(tb testing.TB, subdirectives string) *Handler {
	tb.Helper()
	h := loadHandler(tb, subdirectives)
	tb.Cleanup(func() {
		if err := h.Cleanup(); err != nil {
			tb.Error(err)
		}
	})
	return h
}

func loadHandler(tb testing.TB, subdirectives string) *Handler {
	tb.Helper()
	h := provisionHandler(tb, subdirectives)
	h.exchanges.client = upstream.New(h.exchanges.endpoint, fakeChatKey{}, 0)
	return h
}

// provisionHandler returns a handler that asks its configured endpoint.
func provisionHandler(tb testing.TB, subdirectives string) *Handler {
	tb.Helper()
	tb.Setenv("SANDBOX_TOKEN", sandbox.Token)
	h := new(Handler)
	d := caddyfile.NewTestDispenser(fmt.Sprintf("illumichat {\n token {env.SANDBOX_TOKEN}\n assistants %s\n %s\n}",
		sandbox.Assistant, subdirectives))
	if err := h.UnmarshalCaddyfile(d); err != nil {
		tb.Fatal(err)
	}
	ctx, _ := caddy.NewContext(caddy.Context{Context: context.Background()}) // lasts as long as the tests run
	if err := h.Provision(ctx); err != nil {
		tb.Fatal(err)
	}
	if err := h.Validate(); err != nil {
		tb.Fatal(err)
	}
	h.log = telemetry.NewLog(zap.NewNop())
	h.exchanges.log = h.log
	if h.resumer != nil {
		h.resumer.log = h.log
	}
	return h
}
