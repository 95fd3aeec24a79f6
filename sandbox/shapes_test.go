package sandbox_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

// threeEvents is what /events 2 answers, without the chat's id.
const threeEvents = `data: {"type":"text-delta","textDelta":"event 1\n"}

data: {"type":"text-delta","textDelta":"event 2\n"}

data: {"type":"finish","finishReason":"stop"}

`

// withoutID takes the chat's id out of an answer.
func withoutID(w *recording) string {
	return strings.ReplaceAll(w.body(), `,"chatId":"`+w.header.Get("X-Chat-Id")+`"`, "")
}

func TestLineEnds(t *testing.T) {
	for message, end := range map[string]string{
		"/events 2":       "\n",
		"/crlf /events 2": "\r\n",
		"/cr /events 2":   "\r",
		"/events 2 /cr":   "\r",
	} {
		w := ask(t, message)
		if got, want := withoutID(w), strings.ReplaceAll(threeEvents, "\n", end); got != want {
			t.Errorf("%s: got %q, want %q", message, got, want)
		}
		if len(w.writes) != 3 {
			t.Errorf("%s: got %d writes, want 3", message, len(w.writes))
		}
	}
}

func TestChunk(t *testing.T) {
	for _, size := range []int{1, 2, 7, 1000} {
		w := ask(t, fmt.Sprintf("/chunk %d /events 2", size))
		if got := withoutID(w); got != threeEvents {
			t.Errorf("got %q", got)
		}
		for i, write := range w.writes {
			if last := i == len(w.writes)-1; len(write) > size || len(write) < size && !last {
				t.Errorf("write %d of %d is %d bytes long, want %d", i, len(w.writes), len(write), size)
			}
		}
	}
}

func TestDrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := ask(t, "/drip 10 3s /events 2")
		if got := withoutID(w); got != threeEvents {
			t.Errorf("got %q", got)
		}
		for i := range len(w.writes) - 1 {
			if len(w.writes[i]) != 10 {
				t.Errorf("write %d is %q", i, w.writes[i])
			}
			// The first time is the head's.
			if pause := w.times[i+2].Sub(w.times[i+1]); pause != 3*time.Second {
				t.Errorf("after write %d came a pause of %v", i, pause)
			}
		}
	})
}

func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sandbox.New(sandbox.Options{Pace: time.Second})
		w := answer(api, chatRequest(t, saying("/burst 3 /events 4")))
		if len(w.writes) != 2 || strings.Count(w.writes[0], "data: ") != 3 || strings.Count(w.writes[1], "data: ") != 2 {
			t.Errorf("got the writes %q", w.writes)
		}
		if took := w.times[2].Sub(w.times[0]); took != 2*time.Second {
			t.Errorf("the two bursts took %v, want a pause before each", took)
		}
	})
	if w := ask(t, "/burst 0 /events 4"); len(w.writes) != 5 {
		t.Errorf("got %d bursts of one event, want 5", len(w.writes))
	}
}

func TestComments(t *testing.T) {
	comments := strings.Repeat(": keep-alive\n\n", 2)
	want := strings.ReplaceAll(threeEvents, "}\n\nd", "}\n\n"+comments+"d")
	if got := withoutID(ask(t, "/comments 2 /events 2")); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestGzip(t *testing.T) {
	w := ask(t, "/gzip /events 2")
	if got := w.header.Get("Content-Encoding"); got != "gzip" {
		t.Errorf("got Content-Encoding %q", got)
	}
	// Each event can be decoded when it is flushed.
	r, err := gzip.NewReader(strings.NewReader(w.writes[0] + w.writes[1]))
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len(`data: {"type":"text-delta","textDelta":"event 1\n"}`))
	if _, err := io.ReadFull(r, line); err != nil || !strings.HasSuffix(string(line), `event 1\n"}`) {
		t.Errorf("the first flushes bring %q, %v", line, err)
	}
	if r, err = gzip.NewReader(strings.NewReader(w.body())); err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r)
	if err != nil || len(decodeEvents(t, string(body))) != 3 {
		t.Errorf("got %q, %v", body, err)
	}
}

func TestType(t *testing.T) {
	for message, want := range map[string]string{
		"/type text/plain /events 1":                "text/plain",
		"/type text/plain; charset=utf-8 /events 1": "text/plain; charset=utf-8",
		"/type /events 1":                           "",
	} {
		w := ask(t, message)
		if got := w.header.Get("Content-Type"); got != want {
			t.Errorf("%s: got %q, want %q", message, got, want)
		}
		if got := len(decodeEvents(t, w.body())); got != 2 {
			t.Errorf("%s: got %d events", message, got)
		}
	}
}

// Without the command net/http would say what it takes the answer for.
func TestTypeNoneOverHTTP(t *testing.T) {
	res := send(t, newServer(t), "/type")
	if got, ok := res.Header["Content-Type"]; ok {
		t.Errorf("got Content-Type %q", got)
	}
}

func TestSlow(t *testing.T) {
	for message, want := range map[string]struct{ head, first time.Duration }{
		"/slow 2s /events 1":                {2 * time.Second, 2 * time.Second},
		"/slow-first 2s /events 1":          {0, 2 * time.Second},
		"/slow 1s /slow-first 2s /events 1": {time.Second, 3 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			w := ask(t, message)
			if head, first := w.times[0].Sub(start), w.times[1].Sub(start); head != want.head || first != want.first {
				t.Errorf("%s: the head came after %v, the first event after %v", message, head, first)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if w := ask(t, "/slow 2s /status 500"); w.status != http.StatusInternalServerError || time.Since(start) != 2*time.Second {
			t.Errorf("got %d after %v", w.status, time.Since(start))
		}
	})
}
