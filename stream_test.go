package illumichat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/buffer"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/internal/sse"
	"github.com/illumichat/caddy-illumichat/internal/sse/ssetest"
	"github.com/illumichat/caddy-illumichat/internal/upstream"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

func TestStreamArrivesByteForByte(t *testing.T) {
	for name, answer := range sitetest.Streams {
		for _, size := range []int{1, 2, 3, 7, 100, 4095, 4096, 1 << 20} {
			if size < 100 && len(answer) > 50_000 {
				continue // slow, and the small answers are cut in the same ways
			}
			t.Run(fmt.Sprintf("%s in pieces of %d", name, size), func(t *testing.T) {
				c := fakeChat{steps: pieces(answer, size)}
				c.run(t)
				if got := c.visitor.got(); got != answer {
					t.Errorf("got %s", sitetest.FirstDifference(got, answer))
				}
			})
		}
	}
}

// pieces returns the steps of an upstream that sends an answer in pieces of size bytes.
func pieces(answer string, size int) []step {
	var steps []step
	for len(answer) > 0 {
		n := min(size, len(answer))
		steps = append(steps, step{data: answer[:n]})
		answer = answer[n:]
	}
	return steps
}

// An answer of 1,000 events arrives whole if it is cut between every two bytes. Each event is one write.
func TestStreamCutAtEveryByte(t *testing.T) {
	var answer strings.Builder
	for i := range 999 {
		fmt.Fprintf(&answer, "data: {\"type\":\"text-delta\",\"textDelta\":\"piece %d, grüße\"}\n\n", i)
	}
	answer.WriteString(sitetest.Finish)
	c := fakeChat{steps: pieces(answer.String(), 1)}
	c.run(t)
	if got := c.visitor.got(); got != answer.String() {
		t.Errorf("got %s", sitetest.FirstDifference(got, answer.String()))
	}
	if n := len(c.visitor.chunks); n != 1000 {
		t.Errorf("the 1000 events came in %d writes", n)
	}
}

// Before the relay reads from the upstream again, the visitor has got all events that the last read completed.
func TestStreamFlushesAtOnce(t *testing.T) {
	events := []string{sitetest.Delta, "data: a\r\n\r\n", "data: b\r\r", sitetest.Delta + sitetest.Delta, sitetest.Finish}
	c := fakeChat{}
	var due string
	for _, e := range events {
		c.steps = append(c.steps, step{data: e[:4]}, step{data: e[4:]})
	}
	reads := 0
	c.reads = func() {
		if reads > 0 && reads%2 == 0 {
			due += events[reads/2-1]
			if got := c.visitor.got(); got != due || len(c.visitor.pending) > 0 {
				t.Errorf("before read %d the visitor has %q, want %q", reads, got, due)
			}
		}
		reads++
	}
	c.run(t)
}

func TestStreamWritesEndWithEvents(t *testing.T) {
	for name, answer := range sitetest.Streams {
		if name == "too large" || name == "large finish" {
			continue // these have events that are sent in parts
		}
		c := fakeChat{steps: pieces(answer, 5)}
		c.run(t)
		for _, chunk := range c.visitor.chunks {
			var s sse.Scanner
			p := []byte(chunk.data)
			if whole, _, _ := s.Blocks(p, sse.HasCR(p)); whole != len(p) {
				t.Errorf("%s: a write ends with %q", name, p[whole:])
			}
		}
	}
}

// At whichever byte the upstream ends a stream, the visitor gets the whole events and one finish.
func TestStreamTornAtEveryByte(t *testing.T) {
	for name, answer := range sitetest.Streams {
		if len(answer) > 50_000 || name == "goes on" {
			continue
		}
		for end := range len(answer) {
			for _, err := range []error{io.EOF, io.ErrUnexpectedEOF} {
				c := fakeChat{subdirectives: sitetest.Once, steps: []step{{data: answer[:end], err: err}}}
				c.run(t)
				whole := answer[:end]
				if strings.HasSuffix(whole, "\n") || strings.HasSuffix(whole, "\r") {
					whole += "\n\n" // an event may lack only its blank line
				}
				want := ssetest.Data(whole)
				if len(want) == 0 {
					if c.visitor.status != http.StatusBadGateway {
						t.Fatalf("%s to byte %d: got status %d: %s", name, end, c.visitor.status, c.visitor.got())
					}
					continue
				}
				got := ssetest.Data(c.visitor.got())
				if last := sitetest.OnlyFinish(t, c.visitor.got()); last.FinishReason == "error" {
					if last.Code != "closed:upstream" {
						t.Fatalf("%s to byte %d: got %+v", name, end, last)
					}
					got = got[:len(got)-1]
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%s to byte %d: got %q, want %q", name, end, got, want)
				}
			}
		}
	}
}

func TestStreamEnds(t *testing.T) {
	huge := "data: " + strings.Repeat("x", 2*buffer.Max)
	for _, test := range []struct {
		name       string
		steps      []step
		want       string // the stream before the module's own finish
		wantPrefix string
		code       string // of the module's own finish; "": the finish is the upstream's
		status     int    // of the error instead of a stream
	}{
		{name: "EOF", steps: []step{{data: sitetest.Delta}}, want: sitetest.Delta, code: "closed:upstream"},
		{name: "reset", steps: []step{{data: sitetest.Delta}, {err: errors.New("connection reset")}}, want: sitetest.Delta, code: "closed:upstream"},
		{name: "a torn event", steps: []step{{data: sitetest.Delta + "data: x"}}, want: sitetest.Delta, code: "closed:upstream"},
		{name: "an event without its blank line", steps: []step{{data: sitetest.Delta + "data: x\n"}}, want: sitetest.Delta + "data: x\n\n", code: "closed:upstream"},
		{name: "the same with CRLF", steps: []step{{data: sitetest.Delta + "data: x\r\n"}}, want: sitetest.Delta + "data: x\r\n\n", code: "closed:upstream"},
		{name: "the same with CR", steps: []step{{data: sitetest.Delta + "data: x\r"}}, want: sitetest.Delta + "data: x\r\r", code: "closed:upstream"},
		{name: "a comment without its blank line", steps: []step{{data: sitetest.Delta + ": x\n"}}, want: sitetest.Delta, code: "closed:upstream"},
		{name: "a finish without its blank line", steps: []step{{data: sitetest.Delta + sitetest.Finish[:len(sitetest.Finish)-1]}}, want: sitetest.Delta + sitetest.Finish},
		{name: "nothing but a finish without its blank line", steps: []step{{data: sitetest.Finish[:len(sitetest.Finish)-1]}}, want: sitetest.Finish},
		{name: "a quoted finish", steps: []step{{data: sitetest.Streams["quotes"][:len(sitetest.Streams["quotes"])-len(sitetest.Finish)]}},
			want: sitetest.Streams["quotes"][:len(sitetest.Streams["quotes"])-len(sitetest.Finish)], code: "closed:upstream"},
		{name: "a torn event of which parts are gone", steps: []step{{data: huge}}, code: "closed:upstream"},
		{name: "the same after its line", steps: []step{{data: huge + "\r"}}, want: huge + "\r\r", code: "closed:upstream"},
		{name: "a second finish", steps: []step{{data: sitetest.Finish + sitetest.Delta + sitetest.Finish + sitetest.Delta}}, want: sitetest.Finish + sitetest.Delta + sitetest.Delta},
		{name: "a second finish, too large to be held", steps: []step{{data: sitetest.Finish + sitetest.Streams["large finish"]}}, want: sitetest.Finish + sitetest.Delta},
		{name: "a torn rest after the finish", steps: []step{{data: sitetest.Finish + "data: x\n"}}, want: sitetest.Finish},
		{name: "a token after the finish", steps: []step{{data: sitetest.Finish + sitetest.Delta + "data: " + sandbox.Token + "\n\n" + sitetest.Delta}}, want: sitetest.Finish + sitetest.Delta},
		{name: "the same in a read of its own", steps: []step{{data: sitetest.Finish}, {data: "data: " + sandbox.Token + "\n\n"}}, want: sitetest.Finish},
		{name: "the same in an event too large to be held", steps: []step{{data: sitetest.Finish}, {data: huge + sandbox.Token + "\n\n"}}, wantPrefix: sitetest.Finish},
		{name: "an error's finish", steps: []step{{data: `data: {"type":"finish","finishReason":"error"}` + "\n\n"}},
			want: `data: {"type":"finish","finishReason":"error"}` + "\n\n"},
		{name: "nothing", status: http.StatusBadGateway},
		{name: "nothing but comments", steps: []step{{data: ": a\n\n: b\n\n"}}, status: http.StatusBadGateway},
		{name: "nothing but many comments", steps: []step{{data: strings.Repeat(": keep-alive\n\n", 1000)}}, status: http.StatusBadGateway},
		{name: "more comments than can be held", steps: []step{{data: strings.Repeat(": keep-alive\n\n", 10_000)}},
			want: strings.Repeat(": keep-alive\n\n", 10_000), code: "closed:upstream"},
		{name: "nothing but a torn event", steps: []step{{data: "data: x"}}, status: http.StatusBadGateway},
		{name: "a reset before the first event", steps: []step{{err: errors.New("connection reset")}}, status: http.StatusBadGateway},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := fakeChat{subdirectives: sitetest.Once, steps: test.steps}
			c.run(t)
			got := c.visitor.got()
			if test.status != 0 {
				if c.visitor.status != test.status {
					t.Errorf("got status %d: %s", c.visitor.status, got)
				}
				return
			}
			if test.code != "" {
				if last := sitetest.OnlyFinish(t, got); last.FinishReason != "error" || last.Code != test.code || last.Error == "" {
					t.Errorf("got finish %+v, want the code %s", last, test.code)
				}
				ours := bytes.LastIndex([]byte(got), []byte("data: {\"type\":\"finish\""))
				got = got[:ours]
			}
			if finishes := strings.Count(got, `"type":"finish"`); test.wantPrefix != "" && (!strings.HasPrefix(got, test.wantPrefix) || finishes != 1) {
				t.Errorf("got %d finishes and %.100q", finishes, got)
			}
			if test.want != "" && got != test.want {
				t.Errorf("got %s", sitetest.FirstDifference(got, test.want))
			}
		})
	}
}

// Time is virtual, so the times are exact.
func TestStreamInTime(t *testing.T) {
	const second = time.Second
	for _, test := range []struct {
		name          string
		subdirectives string
		steps         []step
		want          string // what arrives, and when; "ours" is the module's own finish
		status        int
	}{
		{
			name:  "the head comes with the first event",
			steps: []step{{wait: 4 * second, data: sitetest.Delta}, {data: sitetest.Finish}},
			want:  "4s delta\n4s finish\n",
		}, {
			name:  "a silent upstream's head comes after commit_after",
			steps: []step{{wait: 7 * second, data: sitetest.Delta}, {data: sitetest.Finish}},
			want:  "5s \n7s delta\n7s finish\n",
		}, {
			name:  "a comment is no first event",
			steps: []step{{wait: second, data: ":\n\n"}, {wait: 6 * second, data: sitetest.Finish}},
			want:  "5s \n7s :..finish\n",
		}, {
			name:          "commit_after may be off",
			subdirectives: "commit_after off",
			steps:         []step{{wait: 29 * second, data: sitetest.Finish}},
			want:          "29s finish\n",
		}, {
			name:          "a silent upstream without a head is a timeout",
			subdirectives: "commit_after off",
			steps:         []step{{wait: 61 * second, data: sitetest.Finish}},
			status:        http.StatusGatewayTimeout,
		}, {
			name:  "and with a head, a finish that says so",
			steps: []step{{wait: 61 * second, data: sitetest.Finish}},
			want:  "5s \n20s :..\n35s :..\n50s :..\n1m0s ours timeout:upstream\n",
		}, {
			name:          "comments of the upstream are signs of life",
			subdirectives: "heartbeat off",
			steps:         append(every(40*second, ":\n\n", 2), step{wait: 39 * second, data: sitetest.Finish}),
			want:          "5s \n1m59s :..:..finish\n",
		}, {
			name:  "silence is filled",
			steps: []step{{data: sitetest.Delta}, {wait: 29 * second, data: sitetest.Delta}, {wait: 16 * second, data: sitetest.Finish}},
			want:  "0s delta\n15s :..\n29s delta\n44s :..\n45s finish\n",
		}, {
			name:          "as often as heartbeat says",
			subdirectives: "heartbeat 3s",
			steps:         []step{{data: sitetest.Delta}, {wait: 7 * second, data: sitetest.Finish}},
			want:          "0s delta\n3s :..\n6s :..\n7s finish\n",
		}, {
			name:          "or not at all",
			subdirectives: "heartbeat off",
			steps:         []step{{data: sitetest.Delta}, {wait: 29 * second, data: sitetest.Finish}},
			want:          "0s delta\n29s finish\n",
		}, {
			name:  "bytes that complete no event are no silence of the upstream, but to the visitor they are",
			steps: []step{{data: sitetest.Delta}, {wait: 20 * second, data: "dat"}, {wait: 20 * second, data: "a: x\n\n"}, {data: sitetest.Finish}},
			want:  "0s delta\n15s :..\n30s :..\n40s data: x..\n40s finish\n",
		}, {
			name:          "a stalled upstream is given up",
			subdirectives: "heartbeat off",
			steps:         []step{{data: sitetest.Delta}, {wait: 61 * second, data: sitetest.Finish}},
			want:          "0s delta\n1m0s ours stalled:upstream\n",
		}, {
			name:          "within an event, too",
			subdirectives: "idle_timeout 30s",
			steps:         []step{{wait: second, data: sitetest.Delta + "data: tor"}, {wait: time.Hour}},
			want:          "1s delta\n16s :..\n31s ours stalled:upstream\n",
		}, {
			name:          "and counted from its last byte",
			subdirectives: "heartbeat off",
			steps:         []step{{data: sitetest.Delta}, {wait: 10 * second, data: "data: tor"}, {wait: time.Hour}},
			want:          "0s delta\n1m10s ours stalled:upstream\n",
		}, {
			name:  "a byte order mark after a heartbeat would hide the first event",
			steps: []step{{wait: 21 * second, data: "\uFEFF" + sitetest.Finish}},
			want:  "5s \n20s :..\n21s finish\n",
		}, {
			name:          "an answer without end is ended",
			subdirectives: "max_duration 10s",
			steps:         every(4*second, sitetest.Delta, 10),
			want:          "4s delta\n8s delta\n10s ours max_duration:upstream\n",
		}, {
			name:          "and one that never begins",
			subdirectives: "max_duration 3s",
			steps:         []step{{wait: time.Hour}},
			status:        http.StatusGatewayTimeout,
		}, {
			name:  "what follows a finish is passed on for two seconds",
			steps: []step{{data: sitetest.Finish}, {wait: second, data: sitetest.Delta}, {wait: 2 * second, data: sitetest.Delta}},
			want:  "0s finish\n1s delta\n",
		}, {
			name:  "a finish that ends a step is no end",
			steps: []step{{data: stepFinish}, {wait: 40 * second, data: sitetest.Delta}, {wait: 5 * second, data: sitetest.Finish}},
			want:  "0s step\n15s :..\n30s :..\n40s delta\n45s finish\n",
		}, {
			name:          "unless nothing follows, which is no silence",
			subdirectives: "idle_timeout 10s",
			steps:         []step{{data: stepFinish}, {wait: time.Hour}},
			want:          "0s step\n10s ours stalled:upstream\n",
		}, {
			name:  "a heartbeat never stands within an event that goes in pieces",
			steps: []step{{data: "data: " + strings.Repeat("x", buffer.Max)}, {wait: 25 * second, data: "\n\n"}, {wait: 20 * second, data: sitetest.Finish}},
			want:  "0s data: xx…\n25s xx…\n40s :..\n45s finish\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := fakeChat{subdirectives: test.subdirectives, steps: test.steps}
				c.run(t)
				if test.status != 0 {
					if c.visitor.status != test.status {
						t.Errorf("got status %d: %s", c.visitor.status, c.visitor.got())
					}
					return
				}
				if got := inShort(c.visitor.timeline()); got != test.want {
					t.Errorf("got\n%swant\n%s", got, test.want)
				}
			})
		})
	}
}

func every(wait time.Duration, data string, times int) []step {
	steps := make([]step, times)
	for i := range steps {
		steps[i] = step{wait: wait, data: data}
	}
	return steps
}

// stepFinish ends a step of an answer: the assistant calls a tool.
const stepFinish = "data: {\"type\":\"finish\",\"finishReason\":\"tool-calls\"}\n\n"

// inShort returns a timeline with the usual events by name, and with dots for line ends.
func inShort(timeline string) string {
	var short strings.Builder
	for line := range strings.Lines(timeline) {
		at, data, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		data = strings.Trim(data, `"`)
		data = strings.ReplaceAll(strings.ReplaceAll(data, `\"`, `"`), `\n`, "\n")
		data = strings.ReplaceAll(strings.ReplaceAll(data, sitetest.Delta, "delta"), sitetest.Finish, "finish")
		data = strings.ReplaceAll(data, stepFinish, "step")
		if i := strings.Index(data, `"code":"`); i >= 0 {
			code, _, _ := strings.Cut(data[i+len(`"code":"`):], `"`)
			data = "ours " + code
		}
		if x := strings.Index(data, "xxx"); x >= 0 {
			data = data[:x] + "xx…"
		}
		fmt.Fprintf(&short, "%s %s\n", at, strings.ReplaceAll(data, "\n", "."))
	}
	return short.String()
}

// The time that a slow visitor takes does not count as the upstream's silence.
func TestStreamSlowVisitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakeChat{steps: []step{{data: sitetest.Delta}, {data: sitetest.Delta}, {data: sitetest.Finish}}}
		c.visitor.block = func([]byte) error {
			time.Sleep(29 * time.Second)
			return nil
		}
		c.subdirectives = "idle_timeout 1s"
		c.run(t)
		if got, want := c.visitor.got(), sitetest.Delta+sitetest.Delta+sitetest.Finish; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A failed write to the visitor ends the exchange, even if it is the write of a heartbeat.
func TestStreamVisitorWhoseWritesFail(t *testing.T) {
	for _, failing := range []string{sitetest.Delta, ":\n\n"} {
		synctest.Test(t, func(t *testing.T) {
			c := fakeChat{steps: []step{{data: sitetest.Finish[:5]}, {data: sitetest.Delta[5:]}, {wait: 20 * time.Second, data: sitetest.Delta}, {wait: time.Hour}}}
			var ended time.Duration
			c.visitor.block = func(p []byte) error {
				ended = time.Since(c.visitor.start)
				if string(p) == failing {
					return errors.New("broken pipe")
				}
				return nil
			}
			c.run(t)
			if took := time.Since(c.visitor.start); took != ended {
				t.Errorf("the exchange ended after %s, its last write was at %s", took, ended)
			}
			if strings.Contains(c.visitor.got(), "finish") {
				t.Errorf("the visitor got a finish: %q", c.visitor.got())
			}
		})
	}
}

func TestVisitorWhoLeaves(t *testing.T) {
	for name, steps := range map[string][]step{
		"before the first event": {{wait: time.Hour}},
		"in the stream":          {{data: sitetest.Delta}, {wait: 29 * time.Second, data: sitetest.Delta}, {wait: time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, leave := context.WithTimeout(t.Context(), 4*time.Second)
				defer leave()
				c := fakeChat{steps: steps, ctx: ctx}
				c.run(t)
				if took := time.Since(c.visitor.start); took != 4*time.Second {
					t.Errorf("the exchange took %s", took)
				}
				if strings.Contains(c.visitor.got(), "finish") {
					t.Errorf("the visitor got %q", c.visitor.got())
				}
				if name == "before the first event" && c.visitor.status != statusClientClosed {
					t.Errorf("got status %d", c.visitor.status)
				}
			})
		})
	}
}

// A ResponseWriter may panic in the timer's goroutine. If the panic did not reach the handler, it would end the process.
func TestPanicInTheTimerReachesTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakeChat{steps: []step{{data: sitetest.Delta}, {wait: time.Hour}}}
		c.visitor.block = func(p []byte) error {
			if string(p) == ":\n\n" {
				panic(http.ErrAbortHandler)
			}
			return nil
		}
		defer func() {
			if p := recover(); p != http.ErrAbortHandler {
				t.Errorf("recovered %v", p)
			}
		}()
		c.run(t)
		t.Error("the handler returned")
	})
}

// The memory of a large event is released as soon as the event has been sent.
func TestLargeEventGivesItsMemoryBack(t *testing.T) {
	ex, relay := newBenchRelay(t, newHandler(t, "max_duration 1h"))
	defer ex.admission.Leave()
	defer ex.close()
	defer relay.release()
	large := `data: {"type":"tool-result","result":"finish ` + strings.Repeat("x", 60_000) + "\"}\n\n"
	if err := relay.copy(strings.NewReader(large + sitetest.Delta)); err != io.EOF {
		t.Fatal(err)
	}
	if got := relay.buffer.Cap(); got != buffer.Min {
		t.Errorf("the buffer has %d bytes", got)
	}
}

// During a flood of events, the relay has a larger buffer, so it reads and writes more at once.
func TestFloodHasALargerRoom(t *testing.T) {
	ex, relay := newBenchRelay(t, newHandler(t, "max_duration 1h"))
	defer ex.admission.Leave()
	defer ex.close()
	defer relay.release()
	flood := strings.Repeat(sitetest.Delta, 1<<20/len(sitetest.Delta))
	body := io.MultiReader(strings.NewReader(flood), iotest.OneByteReader(strings.NewReader(sitetest.Delta)))
	for range 10 {
		relay.step(body)
	}
	if got, want := relay.buffer.Cap(), buffer.Max; got != want {
		t.Errorf("in a flood, the buffer has %d bytes, want %d", got, want)
	}
	if err := relay.copy(body); err != io.EOF {
		t.Fatal(err)
	}
	if got := relay.buffer.Cap(); got != buffer.Min {
		t.Errorf("after it, the buffer has %d bytes", got)
	}
	if got, want := relay.events, int64(strings.Count(flood, sitetest.Delta)+1); got != want {
		t.Errorf("%d events were sent, want %d", got, want)
	}
}

// maxFloods is how many streams can have the largest buffer for a flood at once.
const maxFloods = 64

// floodsInUse returns how many streams have the largest buffer for a flood. It finds that out by how many more can get one.
func floodsInUse() int {
	free := 0
	for range maxFloods {
		probe := buffer.New()
		defer probe.Release()
		if probe.Adapt(buffer.Min, true); probe.Cap() == buffer.Max {
			free++
		}
	}
	return maxFloods - free
}

// At most maxFloods streams have the largest buffer for a flood at once. Each releases it, however the stream ends.
func TestFloodsAreBounded(t *testing.T) {
	h := newHandler(t, "max_duration 1h")
	flood := strings.Repeat(sitetest.Delta, 1<<20/len(sitetest.Delta))
	begin := func(v *fakeVisitor) (*exchange, *relay) {
		ex := openExchange(t, h, v)
		ex.watch.StartTry(time.Hour, ex.cancel)
		ex.relay = newRelay(sandboxToken(t), ex.output, &ex.watch)
		return ex, ex.relay
	}
	end := func(ex *exchange) {
		ex.close()
		ex.admission.Leave()
	}

	var open []*exchange
	for i := range maxFloods + 10 {
		ex, relay := begin(&fakeVisitor{header: make(http.Header)})
		open = append(open, ex)
		body := strings.NewReader(flood)
		for range 5 {
			relay.step(body)
		}
		want := buffer.Max
		if i >= maxFloods {
			want = 16 << 10
		}
		if got := relay.buffer.Cap(); got != want {
			t.Errorf("flood %d has %d bytes, want %d", i, got, want)
		}
	}
	for _, ex := range open {
		end(ex)
	}
	if n := floodsInUse(); n != 0 {
		t.Fatalf("%d floods are left of those that were broken off", n)
	}

	for name, block := range map[string]func() error{
		"left":     func() error { return errReset },
		"panicked": func() error { panic("a writer around the handler") },
	} {
		blocked := false
		ex, relay := begin(&fakeVisitor{header: make(http.Header), block: func([]byte) error {
			if blocked {
				return block()
			}
			return nil
		}})
		func() {
			defer func() { _ = recover() }()
			body := strings.NewReader(flood)
			for range 5 {
				relay.step(body)
			}
			blocked = true
			_ = (&answer{ex: ex, ctx: ex.ctx, body: io.NopCloser(body), relay: relay}).relayToEnd()
		}()
		if floodsInUse() == 0 {
			t.Errorf("%s: there is no flood", name)
		}
		end(ex)
		if n := floodsInUse(); n != 0 {
			t.Errorf("%s: %d floods are left", name, n)
		}
	}
}

// sandboxToken returns the sandbox's token.
func sandboxToken(t *testing.T) upstream.Token {
	t.Helper()
	source, err := upstream.NewTokenSource(sandbox.Token)
	if err != nil {
		t.Fatal(err)
	}
	token, err := source.Get()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// The token is found wherever a large event is cut into parts. A finish ends what was sent.
func TestTokenInALargeEvent(t *testing.T) {
	for offset := -len(sandbox.Token) - 2; offset <= 2; offset++ {
		text := strings.Repeat("x", buffer.Max+buffer.Min+offset)
		answer := "data: " + text + sandbox.Token + text + "\n\n" + sitetest.Finish
		c := fakeChat{steps: pieces(answer, 1000)}
		c.run(t)
		got := c.visitor.got()
		if strings.Contains(got, sandbox.Token) {
			t.Fatalf("offset %d: the token got out", offset)
		}
		if last := sitetest.OnlyFinish(t, got); last.Code != "leak:upstream" {
			t.Errorf("offset %d: got finish %+v", offset, last)
		}
	}
}

// However a stream ends, its buffer goes back to the pool. The exception is a failed write to the visitor, because HTTP/2 may
// still read the bytes.
func TestBufferIsGivenBack(t *testing.T) {
	for name, test := range map[string]struct {
		body  io.Reader
		block error // of the visitor's writes
		kept  bool
	}{
		"with a finish":            {body: strings.NewReader(sitetest.Delta + sitetest.Finish)},
		"without":                  {body: strings.NewReader(sitetest.Delta)},
		"with the token":           {body: strings.NewReader(sitetest.Delta + "data: " + sandbox.Token + "\n\n")},
		"in a large event":         {body: strings.NewReader("data: " + strings.Repeat("x", 10*buffer.Max))},
		"with a visitor who left":  {body: strings.NewReader(sitetest.Delta + sitetest.Finish), block: errReset, kept: true},
		"with an upstream's error": {body: io.MultiReader(strings.NewReader(sitetest.Delta), iotest.ErrReader(errReset))},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHandler(t, "")
			v := &fakeVisitor{header: make(http.Header), block: func([]byte) error { return test.block }}
			ex := openExchange(t, h, v)
			defer ex.admission.Leave()
			defer ex.close()
			ex.secret = sandboxToken(t)
			ex.watch.StartTry(time.Hour, ex.cancel)
			a, err := ex.stream(ex.ctx, upstream.Answer{Body: io.NopCloser(test.body)})
			if err != nil {
				t.Fatal(err)
			}
			_ = a.relayToEnd()
			if kept := a.relay.buffer.Cap() != 0; kept != test.kept {
				t.Errorf("the buffer is kept: %v", kept)
			}
		})
	}
}
