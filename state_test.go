package illumichat

import (
	"net/http"
	"testing"
	"time"
)

// newTestLimiter returns a limiter whose state no other test shares.
func newTestLimiter(t *testing.T, rules ...rule) *limiter {
	t.Helper()
	return newLimiter(limiterConfig{
		key:    newStateKey("https://example.com/"+t.Name(), "{env.TOKEN}"),
		rules:  rules,
		usedUp: func(rule, bool, time.Duration) {},
		failed: func(err error) { t.Error(err) },
	})
}

// sharedBy returns how many limiters share the state of one, and whether the windows of its rules are kept.
func sharedBy(l *limiter) (users int, windows bool) {
	users, _ = sharedStates.References(l.key)
	for _, r := range l.rules {
		_, kept := sharedWindows.References(l.key.windowKey(r))
		windows = windows || kept
	}
	return users, windows
}

func wantShared(t *testing.T, when string, l *limiter, users int) {
	t.Helper()
	if got, windows := sharedBy(l); got != users || windows != (users > 0) {
		t.Errorf("%s: the state has %d users, want %d; there are windows: %v", when, got, users, windows)
	}
}

func closeLimiter(t *testing.T, l *limiter) {
	t.Helper()
	if err := l.close(); err != nil {
		t.Error(err)
	}
}

func admitOne(t *testing.T, l *limiter) *admission {
	t.Helper()
	request := admissionRequest{client: "client"}
	for _, r := range l.rules {
		request.keys = append(request.keys, r.key)
	}
	a, err := l.admit(make(http.Header), request)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// What limiters share is forgotten when the last one is closed, but not before its last chat is over.
func TestStateIsForgotten(t *testing.T) {
	rules := []rule{{requests: 3, window: time.Hour, byClient: true}, {requests: 9, window: time.Hour, key: "everyone", forMany: true}}
	l, other := newTestLimiter(t, rules...), newTestLimiter(t, rules[0])
	wantShared(t, "at first", l, 2)
	open := admitOne(t, l)
	closeLimiter(t, l)
	closeLimiter(t, other)
	wantShared(t, "with an open chat", l, 1)
	next := newTestLimiter(t, rules...)
	if got := next.status(); got.open != 1 || *got.limits[1].left != 8 {
		t.Errorf("the next limiter sees %+v", got)
	}
	closeLimiter(t, next)
	open.leave()
	wantShared(t, "in the end", l, 0)
}

// A request that comes to a limiter which is closed already lets go of nothing that another one uses.
func TestLateRequestsLeaveTheStateAlone(t *testing.T) {
	r := rule{requests: 3, window: time.Hour, byClient: true}
	l, next := newTestLimiter(t, r), newTestLimiter(t, r)
	closeLimiter(t, l)
	late := admitOne(t, l)
	wantShared(t, "with a late request", next, 1)
	late.nowReached()
	late.leave()
	wantShared(t, "after it", next, 1)
	closeLimiter(t, next)
	wantShared(t, "in the end", next, 0)
}
