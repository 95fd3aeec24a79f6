package illumichat

import (
	"net/http"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// sharedBy returns how many users the state of a handler has, and whether the windows of its limits are kept.
func sharedBy(h *Handler) (users int, windows bool) {
	key := newStateKey(h.endpoint.String(), h.Token)
	users, _ = sharedStates.References(key)
	for _, l := range h.Limits {
		_, kept := sharedWindows.References(l.windowKey(key))
		windows = windows || kept
	}
	return users, windows
}

// loadForState returns a handler whose state no other test shares.
func loadForState(t *testing.T, subdirectives string) *Handler {
	t.Helper()
	return loadHandler(t, "endpoint https://"+t.Name()+".example.com/api/chat\n"+subdirectives)
}

// What handlers share is forgotten when the last config is gone, but not before its last chat is over.
func TestStateIsForgotten(t *testing.T) {
	h := loadForState(t, "limit 3 1h\nlimit 9 1h everyone")
	other := loadForState(t, "limit 3 1h")
	if users, windows := sharedBy(h); users != 2 || !windows {
		t.Fatalf("the state has %d users, and windows: %v", users, windows)
	}
	open := openExchange(t, h, &discard{make(http.Header)})
	for _, h := range []*Handler{h, other} {
		if err := h.Cleanup(); err != nil {
			t.Error(err)
		}
	}
	if users, windows := sharedBy(h); users != 1 || !windows {
		t.Errorf("with an open chat, the state has %d users, and windows: %v", users, windows)
	}
	open.close()
	open.admission.leave()
	if users, windows := sharedBy(h); users != 0 || windows {
		t.Errorf("in the end, the state has %d users, and windows: %v", users, windows)
	}
}

// A chat that comes to the handler of a replaced config lets go of nothing that the new one uses.
func TestLateChatsLeaveTheStateAlone(t *testing.T) {
	h := loadForState(t, "limit 3 1h")
	next := loadForState(t, "limit 3 1h")
	if err := h.Cleanup(); err != nil {
		t.Fatal(err)
	}
	c := fakeChat{handler: h, answers: []fakeAnswer{accepted()}}
	c.run(t)
	c.checkStream(t, sitetest.Delta+sitetest.Finish, "")
	if users, windows := sharedBy(next); users != 1 || !windows {
		t.Errorf("the state has %d users, and windows: %v", users, windows)
	}
	if err := next.Cleanup(); err != nil {
		t.Error(err)
	}
	if users, windows := sharedBy(next); users != 0 || windows {
		t.Errorf("in the end, the state has %d users, and windows: %v", users, windows)
	}
}
