package recording

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/sse"
	"github.com/illumichat/caddy-illumichat/internal/watchdog"
	"github.com/illumichat/caddy-illumichat/store"
)

const testID = "AAAAAAAAAAAAAAAAAAAAAA"

// fakeSlot is the slot of a stream.
type fakeSlot struct {
	mu           sync.Mutex
	begun, ended int
	listener     bool
}

func (s *fakeSlot) BeginStream() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun++
}

func (s *fakeSlot) EndStream() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended++
}

func (s *fakeSlot) HasListener() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listener
}

// fakeExchange is an exchange that has asked twice, and got a 200.
type fakeExchange struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func newFakeExchange(t *testing.T) *fakeExchange {
	ctx, cancel := context.WithCancelCause(t.Context())
	return &fakeExchange{ctx, cancel}
}

func (e *fakeExchange) Context() context.Context      { return e.ctx }
func (e *fakeExchange) Cancel(cause error)            { e.cancel(cause) }
func (e *fakeExchange) HowAsked() (tries, status int) { return 2, http.StatusOK }

// fakeVisitor is the response to a visitor who follows a recording.
type fakeVisitor struct {
	head      http.Header
	committed bool
	got       strings.Builder
	failAt    int // the write that fails; 0: none
	writes    int
	beat      error // of a heartbeat
}

var errLeft = errors.New("the visitor left")

func (v *fakeVisitor) Begin(head http.Header) { v.head = head }

func (v *fakeVisitor) Commit() error {
	v.committed = true
	return nil
}

func (v *fakeVisitor) WriteEvents(p []byte, _, _ bool) error {
	if v.writes++; v.writes == v.failAt {
		return errLeft
	}
	v.got.Write(p)
	return nil
}

func (v *fakeVisitor) Heartbeat() (time.Duration, error)             { return watchdog.Never, v.beat }
func (v *fakeVisitor) EndStalled(time.Duration) (next time.Duration) { return watchdog.Never }
func (v *fakeVisitor) Patience() time.Duration                       { return 10 * time.Second }

// recorder is a Recorder, with the listener of the visitor who asked.
type recorder struct {
	Recorder
	first store.Listener
}

// record returns a recorder of an exchange into a memory store.
func record(t *testing.T) (*recorder, *fakeExchange, *fakeSlot, store.Store) {
	t.Helper()
	kept, err := new(store.Memory).Open(t.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	})
	slot := new(fakeSlot)
	terms := store.Terms{Grace: time.Second, Keep: time.Minute, MaxSize: 1 << 20, MaxTotal: 1 << 20}
	source, first := kept.Create(testID, store.Meta{Owner: "owner", Assistant: "assistant"}, terms)
	r := &recorder{first: first}
	r.Init(Config{ID: testID, Source: source, Shared: kept.Shared, Slot: slot, Opens: func() {}, Waits: func() {}})
	exchange := newFakeExchange(t)
	r.Attach(exchange)
	return r, exchange, slot, kept
}

// find returns the stream, or nil.
func find(t *testing.T, kept store.Store) store.Stream {
	t.Helper()
	stream, err := kept.Find(t.Context(), testID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// A stream is there from the beginning. It opens with the first event, or when the watchdog commits the response headers.
func TestRecordingOpens(t *testing.T) {
	for name, open := range map[string]func(*recorder) error{
		"with an event": func(r *recorder) error { return r.WriteEvents([]byte("data: a\n\n"), true, true) },
		"by the watch":  func(r *recorder) error { return r.Commit() },
	} {
		t.Run(name, func(t *testing.T) {
			r, _, slot, kept := record(t)
			if want := (store.Meta{Owner: "owner", Assistant: "assistant"}); find(t, kept).Meta() != want || slot.begun != 1 {
				t.Errorf("at the beginning, got %+v and %d slots", find(t, kept).Meta(), slot.begun)
			}
			r.Prepare(http.Header{"X-Chat-Id": {"c1"}}, sse.MediaType)
			if r.IsCommitted() || r.first.Header() != nil {
				t.Error("it opened with the response headers")
			}
			if err := open(r); err != nil {
				t.Fatal(err)
			}
			head := r.first.Header()
			if !r.IsCommitted() || head.Get(Header) != testID || head.Get("X-Chat-Id") != "c1" || head.Get("Content-Type") != sse.MediaType {
				t.Errorf("it opened with the header %v", head)
			}
			if tries, status := r.Asked(); tries != 2 || status != http.StatusOK {
				t.Errorf("the upstream was asked %d times, and answered %d", tries, status)
			}
			r.first.Close()
			r.Close("stop", "")
			if slot.ended != 1 {
				t.Error("it did not end")
			}
		})
	}
}

// If an exchange fails before its stream opens, all who wait get the error.
func TestRecordingFails(t *testing.T) {
	r, _, slot, kept := record(t)
	defer r.first.Close()
	failure := &apierror.Error{Status: http.StatusServiceUnavailable, Code: apierror.CodeOverloaded, Text: "busy"}
	r.Fail(failure)
	r.Close("", "")
	_, err := r.first.Read()
	failed, ok := errors.AsType[*store.Failed](err)
	if !ok || apierror.Decode(failed.Reason).Text != "busy" || find(t, kept) != nil || slot.ended != 1 {
		t.Errorf("got %v", err)
	}
}

// Followers get the events with their numbers, whether they come from the beginning or go on, and learn how it ended.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, _, kept := record(t)
		r.Prepare(nil, sse.MediaType)
		// A byte order mark would be no longer the first bytes after a heartbeat.
		if err := r.WriteEvents([]byte("\uFEFFdata: a\n\n: comment\n\n"), true, true); err != nil {
			t.Fatal(err)
		}
		const one, two = "data: a\nid: " + testID + ":1\n\n: comment\n\n", "data: b\nid: " + testID + ":2\n\n"
		last := "data: bye\nid: " + testID + ":3\n\n"

		var first, second fakeVisitor
		var events [2]int64
		var firsts [2]time.Duration
		listeners := [2]store.Listener{r.first}
		var err error
		if listeners[1], err = find(t, kept).Listen(1); err != nil {
			t.Fatal(err)
		}
		start := time.Now().Add(-time.Millisecond)
		var followers sync.WaitGroup
		for i, visitor := range []*fakeVisitor{&first, &second} {
			followers.Go(func() {
				defer listeners[i].Close()
				if err := follow(t.Context(), start, visitor, listeners[i], Progress{&events[i], &firsts[i]}); err != nil {
					t.Errorf("following ended with %v", err)
				}
			})
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if events[0] != 1 || firsts[0] != time.Millisecond {
			t.Errorf("while the stream goes on, %d events are counted, the first after %v", events[0], firsts[0])
		}
		if err := r.WriteEvents([]byte("data: b\n\n"), true, true); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if err := r.Finish([]byte("data: bye\n\n")); err != nil {
			t.Error(err)
		}
		r.Close("error", "closed:upstream")
		followers.Wait()

		if got := first.got.String(); got != one+two+last {
			t.Errorf("the first visitor got %q", got)
		}
		if !strings.HasSuffix(second.got.String(), two+last) || strings.Contains(second.got.String(), "data: a") {
			t.Errorf("the second visitor got %q", second.got.String())
		}
		if want := [2]int64{3, 2}; events != want {
			t.Errorf("%d events were counted, want %d", events, want)
		}
		if want := [2]time.Duration{time.Millisecond, 3001 * time.Millisecond}; firsts != want {
			t.Errorf("the first events came after %v, want %v", firsts, want)
		}
		if want := (store.End{Reason: "error", Cause: "closed:upstream"}); listeners[0].End() != want {
			t.Errorf("it ended with %+v", listeners[0].End())
		}
	})
}

// follow calls Follow for a visitor who may listen for an hour.
func follow(ctx context.Context, start time.Time, visitor Visitor, listener store.Listener, p Progress) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var f Follower
	f.Init(ctx, Time{Start: start, End: time.Hour, Cancel: cancel}, visitor, listener, p)
	defer f.Stop()
	return f.Follow()
}

func newProgress() Progress { return Progress{new(int64), new(time.Duration)} }

// An event that was torn is ended before our own finish.
func TestFinishEndsATornEvent(t *testing.T) {
	r, _, _, _ := record(t)
	r.Prepare(nil, sse.MediaType)
	if err := r.WriteEvents([]byte("data: tor"), false, true); err != nil {
		t.Fatal(err)
	}
	if err := r.Finish([]byte("data: bye\n\n")); err != nil {
		t.Fatal(err)
	}
	r.Close("error", "closed:upstream")
	var v fakeVisitor
	defer r.first.Close()
	if err := follow(t.Context(), time.Now(), &v, r.first, newProgress()); err != nil {
		t.Fatal(err)
	}
	if want := "data: tor\nid: " + testID + ":1\n\ndata: bye\nid: " + testID + ":2\n\n"; v.got.String() != want {
		t.Errorf("got %q, want %q", v.got.String(), want)
	}
}

// An answer that is no stream is recorded, without a number.
func TestJSONIsRecorded(t *testing.T) {
	r, _, _, _ := record(t)
	defer r.first.Close()
	r.Prepare(nil, "application/json")
	if err := r.WriteAll([]byte("{}")); err != nil {
		t.Fatal(err)
	}
	r.Close("", "")
	var v fakeVisitor
	if err := follow(t.Context(), time.Now(), &v, r.first, newProgress()); err != nil {
		t.Fatal(err)
	}
	if v.got.String() != "{}" || v.head.Get("Content-Type") != "application/json" || v.head.Get(Header) != testID {
		t.Errorf("got %q with the header %v", v.got.String(), v.head)
	}
}

// A write that the store refuses takes no number, so the finish gets the next one.
func TestNumbersHaveNoGap(t *testing.T) {
	r, _, _, kept := record(t)
	defer r.first.Close()
	r.Prepare(nil, sse.MediaType)
	if err := r.WriteEvents([]byte("data: a\n\n"), true, true); err != nil {
		t.Fatal(err)
	}
	if err := find(t, kept).Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteEvents([]byte("data: b\n\ndata: c\n\n"), true, true); !errors.Is(err, apierror.Stopped) {
		t.Fatal(err)
	}
	if err := r.Finish([]byte("data: bye\n\n")); err != nil {
		t.Fatal(err)
	}
	r.Close("stop", "stopped:visitor")
	var v fakeVisitor
	if err := follow(t.Context(), time.Now(), &v, r.first, newProgress()); err != nil {
		t.Fatal(err)
	}
	if want := "data: a\nid: " + testID + ":1\n\ndata: bye\nid: " + testID + ":2\n\n"; v.got.String() != want {
		t.Errorf("got %q, want %q", v.got.String(), want)
	}
}

// An exchange ends when nobody wants its answer any more, and the cause says why.
func TestUnwantedRecordingEndsTheExchange(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(*testing.T, *recorder, store.Store)
		want error
	}{
		"stopped": {func(t *testing.T, _ *recorder, kept store.Store) {
			if err := find(t, kept).Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}, apierror.Stopped},
		"abandoned": {func(_ *testing.T, r *recorder, _ store.Store) { r.first.Close() }, apierror.Abandoned},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, exchange, _, kept := record(t)
				r.Prepare(nil, sse.MediaType)
				if err := r.WriteEvents([]byte("data: a\n\n"), true, true); err != nil {
					t.Fatal(err)
				}
				test.end(t, r, kept)
				<-exchange.ctx.Done()
				if got := context.Cause(exchange.ctx); !errors.Is(got, test.want) {
					t.Errorf("it ended because of %v, want %v", got, test.want)
				}
				if err := r.WriteEvents([]byte("data: b\n\n"), true, true); !errors.Is(err, test.want) {
					t.Errorf("a further write got %v, want %v", err, test.want)
				}
				r.first.Close()
				r.Close("stop", "stopped:visitor")
			})
		})
	}
}

// A recording is heard as long as somebody listens in its slot.
func TestIsHeard(t *testing.T) {
	r, _, slot, _ := record(t)
	r.Prepare(nil, sse.MediaType)
	if err := r.Commit(); err != nil {
		t.Fatal(err)
	}
	if r.IsHeard() {
		t.Error("it is heard without a listener")
	}
	slot.listener = true
	if !r.IsHeard() {
		t.Error("it is not heard with one")
	}
	r.first.Close()
	r.Close("stop", "")
}

// Following ends with the visitor: when a write fails, when a heartbeat does, and when the request is over.
func TestFollowEndsWithTheVisitor(t *testing.T) {
	for name, test := range map[string]struct {
		visitor fakeVisitor
		leave   bool
		want    error
		events  int64
	}{
		"a write fails":     {fakeVisitor{failAt: 2}, false, errLeft, 1},
		"a heartbeat fails": {fakeVisitor{beat: errLeft}, false, errLeft, 1},
		"the request ends":  {fakeVisitor{}, true, context.Canceled, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _, _, _ := record(t)
				r.Prepare(nil, sse.MediaType)
				if err := r.WriteEvents([]byte("data: a\n\n"), true, true); err != nil {
					t.Fatal(err)
				}
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				ended := make(chan error)
				p := newProgress()
				go func() { ended <- follow(ctx, time.Now(), &test.visitor, r.first, p) }()
				synctest.Wait()
				switch {
				case test.leave:
					leave()
				case test.visitor.failAt > 0:
					if err := r.WriteEvents([]byte("data: b\n\n"), true, true); err != nil {
						t.Error(err)
					}
				}
				if err := <-ended; !errors.Is(err, test.want) || *p.Events != test.events {
					t.Errorf("it ended with %v after %d events, want %v after %d", err, *p.Events, test.want, test.events)
				}
				r.first.Close()
				r.Close("stop", "")
			})
		})
	}
}

// Following ends when the visitor's time is over, and when the stream must end: after the write in progress, however
// much there is to read.
func TestFollowEndsInTime(t *testing.T) {
	shutdown := errors.New("the process exits")
	for name, test := range map[string]struct {
		pause  time.Duration // that each write takes
		end    time.Duration
		cancel time.Duration
		want   error
		after  time.Duration
	}{
		"while it waits":         {0, 3 * time.Second, time.Hour, apierror.MaxDuration, 3 * time.Second},
		"while it is behind":     {2 * time.Second, 3 * time.Second, time.Hour, apierror.MaxDuration, 4 * time.Second},
		"canceled while waiting": {0, time.Hour, 3 * time.Second, shutdown, 3 * time.Second},
		"canceled while behind":  {2 * time.Second, time.Hour, 3 * time.Second, shutdown, 4 * time.Second},
		"over at the start":      {0, 0, time.Hour, apierror.MaxDuration, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _, _, kept := record(t)
				r.Prepare(nil, sse.MediaType)
				event := "data: " + strings.Repeat("x", 20<<10) + "\n\n" // no two fit in a piece
				for range 10 {
					if err := r.WriteEvents([]byte(event), true, true); err != nil {
						t.Fatal(err)
					}
				}
				listener, err := find(t, kept).Listen(0)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				time.AfterFunc(test.cancel, func() { cancel(shutdown) })
				v := &slowVisitor{pause: test.pause}
				start := time.Now()
				var f Follower
				f.Init(ctx, Time{Start: start, End: test.end, Cancel: cancel}, v, listener, newProgress())
				err = f.Follow()
				f.Stop()
				if took := time.Since(start); !errors.Is(err, test.want) || took != test.after {
					t.Errorf("it ended with %v after %s, want %v after %s", err, took, test.want, test.after)
				}
				if sent := v.committed || v.writes > 0; sent != (test.after > 0) {
					t.Errorf("something was sent: %v", sent)
				}
				listener.Close()
				r.first.Close()
				r.Close("stop", "")
			})
		})
	}
}

// slowVisitor takes a while to read what is written.
type slowVisitor struct {
	fakeVisitor
	pause time.Duration
}

func (v *slowVisitor) WriteEvents(p []byte, whole, flush bool) error {
	time.Sleep(v.pause)
	return v.fakeVisitor.WriteEvents(p, whole, flush)
}

// A store may give out the response headers a moment after the stream was opened. SendHeld waits for them, but not for a
// visitor whose time is over.
func TestSendHeldWaitsForTheHeaders(t *testing.T) {
	const opens = 20 * time.Millisecond
	over := errors.New("the time is over")
	for name, test := range map[string]struct {
		ends, after time.Duration // ends 0: never
		begins      bool
		want        error
	}{
		"in time": {after: opens, begins: true},
		"over":    {ends: opens / 2, after: opens / 2, want: over},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _, _, _ := record(t)
				r.Prepare(nil, sse.MediaType)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				start := time.Now()
				var f Follower
				f.Init(ctx, Time{Start: start, End: time.Hour, Cancel: cancel}, new(fakeVisitor), r.first, newProgress())
				defer f.Stop()
				var done sync.WaitGroup
				done.Go(func() {
					time.Sleep(opens)
					if err := r.WriteEvents([]byte("data: a\n\n"), true, true); err != nil {
						t.Error(err)
					}
				})
				if test.ends > 0 {
					time.AfterFunc(test.ends, func() { cancel(over) })
				}
				err := f.SendHeld()
				if took := time.Since(start); err != test.want || took != test.after {
					t.Errorf("it ended with %v after %s, want %v after %s", err, took, test.want, test.after)
				}
				if f.HasBegun() != test.begins {
					t.Errorf("the response has begun: %v", f.HasBegun())
				}
				done.Wait()
				r.first.Close()
				r.Close("stop", "")
			})
		})
	}
}
