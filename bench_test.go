package illumichat

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/illumichat/caddy-illumichat/internal/buffer"
	"github.com/illumichat/caddy-illumichat/internal/recording"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/internal/visitor"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// events is a body that returns the same bytes n times, once per read.
type events struct {
	data string
	n    int
}

func (e *events) Read(p []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	e.n--
	return copy(p, e.data), nil
}

// discard is a ResponseWriter that discards everything.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header              { return d.header }
func (d *discard) WriteHeader(int)                  {}
func (d *discard) Write(p []byte) (int, error)      { return len(p), nil }
func (d *discard) FlushError() error                { return nil }
func (d *discard) SetWriteDeadline(time.Time) error { return nil }

// benchRequest is shared, because net/http makes the request: its cost is not the module's.
var benchRequest = httptest.NewRequestWithContext(context.Background(), http.MethodPost, sitetest.ChatPath, nil)

// openExchange admits benchRequest and opens its exchange. The caller has to close the exchange and leave the admission.
func openExchange(tb testing.TB, h *Handler, w http.ResponseWriter) *exchange {
	tb.Helper()
	admission, err := h.admit(w.Header(), benchRequest, sandbox.Assistant, recording.NewID())
	if err != nil {
		tb.Fatal(err)
	}
	c := &telemetry.Record{Start: time.Now()}
	return h.exchanges.open(benchRequest.Context(), h.exchanges.response(w, benchRequest, c.Start, ""), false, admission, c)
}

// newBenchRelay returns an exchange, with its timer running, and a relay for its stream.
func newBenchRelay(tb testing.TB, h *Handler) (*exchange, *relay) {
	tb.Helper()
	ex := openExchange(tb, h, &discard{make(http.Header)})
	var err error
	if ex.secret, err = h.exchanges.token.Get(); err != nil {
		tb.Fatal(err)
	}
	ex.watch.StartTry(ex.watch.Left(), ex.cancel)
	return ex, newRelay(ex.secret, ex.output, &ex.watch)
}

// BenchmarkRelay measures what the module does for each event, without the connections.
func BenchmarkRelay(b *testing.B) {
	event := `data: {"type":"text-delta","textDelta":"` + strings.Repeat("x", 56) + "\"}\n\n"
	for _, bench := range []struct {
		name  string
		event string
		batch int // events per read
	}{
		{"an event a read", event, 1},
		{"32 events a read", event, 32},
		{"640 events a read", event, 640},
		{"32 events of prose a read", strings.Replace(event, strings.Repeat("x", 56), `, if it is in our list of prices.\n\nDid I find it, I think`, 1), 32},
		{"events that quote the word", strings.Replace(event, "xxxxxx", "finish", 1), 1},
		{"large events", `data: "` + strings.Repeat("x", 3000) + "\"\n\n", 1},
	} {
		b.Run(bench.name, func(b *testing.B) {
			ex, relay := newBenchRelay(b, newHandler(b, "max_duration 1h"))
			defer ex.admission.Leave()
			defer ex.close()
			defer relay.release()
			data := strings.Repeat(bench.event, bench.batch)
			if len(data) > buffer.Max {
				b.Fatalf("%d bytes are more than a read", len(data))
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(bench.event)))
			b.ResetTimer()
			if err := relay.copy(&events{data, (b.N + bench.batch - 1) / bench.batch}); err != io.EOF {
				b.Fatal(err)
			}
		})
	}
}

// An event is relayed without an allocation, whatever it contains.
func TestRelayDoesNotAllocatePerEvent(t *testing.T) {
	ex, relay := newBenchRelay(t, newHandler(t, "max_duration 1h"))
	defer ex.admission.Leave()
	defer ex.close()
	defer relay.release()
	body := &events{data: `data: {"type":"text-delta","textDelta":"when we finish"}` + "\n\n"}
	run := func() {
		body.n = 1000
		relay.ended, relay.err = false, nil
		if err := relay.copy(body); err != io.EOF || body.n != 0 {
			t.Fatalf("%v with %d events left", err, body.n)
		}
	}
	run() // allocates what the stream keeps to its end
	// The rest of the process counts as well, so the smallest of several measurements is the most accurate.
	least := math.Inf(1)
	for tries := 0; least > 0 && tries < 100; tries++ {
		least = min(least, testing.AllocsPerRun(10, run))
	}
	if least > 0 {
		t.Errorf("1000 events took %.0f allocations", least)
	}
}

// TestStreamMemory compares idle streams with goroutines that idle in the same way without a stream. The difference is the
// module's.
func TestStreamMemory(t *testing.T) {
	const streams = 500
	h := newHandler(t, "max_duration 1h")
	// The rest of the process counts as well, so the smallest of several measurements is the most accurate.
	per := math.MaxInt
	for range 5 {
		idle := memoryOf(t, streams, func(body io.Reader) {
			_, _ = body.Read(make([]byte, 1))
		})
		ours := memoryOf(t, streams, func(body io.Reader) {
			ex, relay := newBenchRelay(t, h)
			defer ex.admission.Leave()
			defer ex.close()
			defer relay.release()
			_ = relay.copy(body)
		})
		per = min(per, (ours-idle)/streams)
	}
	t.Logf("%d bytes a stream, of which %d are the relay's and %d the exchange's", per,
		unsafe.Sizeof(relay{})+buffer.Min, unsafe.Sizeof(exchange{})+unsafe.Sizeof(visitor.Response{}))
	if per > maxStreamMemory {
		t.Errorf("a stream takes %d bytes, more than %d", per, maxStreamMemory)
	}
}

// memoryOf returns how many bytes of heap and stack n streams use while they wait for their second event.
func memoryOf(t *testing.T, n int, stream func(io.Reader)) int {
	t.Helper()
	waiting, end := make(chan struct{}), make(chan struct{})
	done := make(chan struct{})
	before := sitetest.UsedMemory()
	for range n {
		go func() {
			defer func() { done <- struct{}{} }()
			stream(&idleBody{waiting: waiting, end: end})
		}()
	}
	for range n {
		<-waiting
	}
	used := sitetest.UsedMemory() - before
	close(end)
	for range n {
		<-done
	}
	return used
}

// idleBody returns one event, and then waits until end is closed.
type idleBody struct {
	begun        bool
	waiting, end chan struct{}
}

func (b *idleBody) Read(p []byte) (int, error) {
	if !b.begun && len(p) > 1 {
		b.begun = true
		return copy(p, sitetest.Delta), nil
	}
	b.waiting <- struct{}{}
	<-b.end
	return 0, io.EOF
}

// BenchmarkExchange measures what the module does for a short chat, without the connections.
func BenchmarkExchange(b *testing.B) {
	answer := strings.Repeat(sitetest.Delta, 19) + sitetest.Finish
	for _, bench := range []struct {
		name, subdirectives string
		status              int
	}{
		{"without limits", "", http.StatusOK},
		{"resumable", "resume", http.StatusOK},
		{"with limits", "limit 1000000000 1h\nlimit 1000000000 24h site\nmax_streams 1000\nmax_streams_per_client 1000", http.StatusOK},
		{"refused", "limit 1 366d", http.StatusTooManyRequests},
	} {
		b.Run(bench.name, func(b *testing.B) {
			h := newHandlerOfItsOwn(b, bench.subdirectives)
			chat := func() int {
				c := &fakeChat{steps: []step{{data: answer}}}
				c.visitor.header = make(http.Header)
				r := httptest.NewRequestWithContext(context.WithValue(context.Background(), fakeChatKey{}, c),
					http.MethodPost, sitetest.ChatPath, strings.NewReader(sitetest.Hello))
				r.Header.Set("Content-Type", "application/json")
				if err := h.ServeHTTP(&c.visitor, r, nil); err != nil {
					b.Fatal(err)
				}
				return c.visitor.status
			}
			chat() // may use the limit up
			b.ReportAllocs()
			for b.Loop() {
				if status := chat(); status != bench.status {
					b.Fatal(fmt.Sprint("status ", status))
				}
			}
		})
	}
}
