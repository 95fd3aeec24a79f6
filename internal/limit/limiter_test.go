package limit

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

// newTestLimiter returns a limiter whose state no other test shares.
func newTestLimiter(t *testing.T, rules ...Rule) *Limiter {
	t.Helper()
	return New(Config{
		Key:    NewKey("https://example.com/"+t.Name(), "{env.TOKEN}"),
		Rules:  rules,
		Failed: func(err error) { t.Error(err) },

		UsedUp:   func(Rule, bool, time.Duration) {},
		NoClient: func() {},
	})
}

// sharedBy returns how many limiters share the state of l, and whether the windows of its rules are kept.
func sharedBy(l *Limiter) (users int, windows bool) {
	users, _ = sharedStates.References(l.config.Key)
	for _, r := range l.config.Rules {
		_, kept := sharedWindows.References(l.config.Key.windowKey(r))
		windows = windows || kept
	}
	return users, windows
}

func wantShared(t *testing.T, when string, l *Limiter, users int) {
	t.Helper()
	if got, windows := sharedBy(l); got != users || windows != (users > 0) {
		t.Errorf("%s: the state has %d users, want %d; there are windows: %v", when, got, users, windows)
	}
}

func closeLimiter(t *testing.T, l *Limiter) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func admitOne(t *testing.T, l *Limiter) *Admission {
	t.Helper()
	var keys []string
	for _, r := range l.config.Rules {
		keys = append(keys, r.Key)
	}
	a, err := l.Admit(make(http.Header), Request{Client: "client"}, keys)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The shared state is dropped when the last limiter is closed, but not before its last chat has ended.
func TestStateIsForgotten(t *testing.T) {
	rules := []Rule{{Requests: 3, Window: time.Hour, ByClient: true}, {Requests: 9, Window: time.Hour, Key: "everyone", ForMany: true}}
	l, other := newTestLimiter(t, rules...), newTestLimiter(t, rules[0])
	wantShared(t, "at first", l, 2)
	open := admitOne(t, l)
	closeLimiter(t, l)
	closeLimiter(t, other)
	wantShared(t, "with an open chat", l, 1)
	next := newTestLimiter(t, rules...)
	if got := next.Status(); got.Open != 1 || *got.Limits[1].Left != 8 {
		t.Errorf("the next limiter sees %+v", got)
	}
	closeLimiter(t, next)
	open.Leave()
	wantShared(t, "in the end", l, 0)
}

// A request to a closed limiter releases nothing that another limiter uses.
func TestLateRequestsLeaveTheStateAlone(t *testing.T) {
	r := Rule{Requests: 3, Window: time.Hour, ByClient: true}
	l, next := newTestLimiter(t, r), newTestLimiter(t, r)
	closeLimiter(t, l)
	late := admitOne(t, l)
	wantShared(t, "with a late request", next, 1)
	late.Reached()
	late.Leave()
	wantShared(t, "after it", next, 1)
	closeLimiter(t, next)
	wantShared(t, "in the end", next, 0)
}

// The key of a state does not show the token.
func TestStateKeyHoldsNoSecret(t *testing.T) {
	for _, token := range []string{sandbox.Token, "Bearer-" + sandbox.Token, sandbox.Token[:20] + "{env.REST}"} {
		if key := fmt.Sprintf("%+v", NewKey("https://example.com", token)); strings.Contains(key, "sandbox") {
			t.Errorf("the key is %s", key)
		}
	}
	if NewKey("https://example.com", sandbox.Token) == NewKey("https://example.com", strings.ReplaceAll(sandbox.Token, "0", "2")) {
		t.Error("two tokens have one key")
	}
}
