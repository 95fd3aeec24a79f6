package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// stage is how far an answer goes before something happens.
type stage struct {
	name string
	head bool
	sent []string // of the body, in parts
	rest string   // of the body, if the answer goes on

	events string // the complete ones
	whole  bool   // the finish is among them
	part   string // the beginning of the part that is sent of an event too large to buffer
}

var stages = []stage{
	{name: "before the head", rest: sitetest.Delta + sitetest.Finish},
	{name: "after the head", head: true, rest: sitetest.Delta + sitetest.Finish},
	{name: "after a comment", head: true, sent: []string{": hello\n\n"}, rest: sitetest.Delta + sitetest.Finish},
	{name: "in the first event", head: true, sent: []string{sitetest.Delta[:20]}, rest: sitetest.Delta[20:] + sitetest.Finish},
	{name: "after an event", head: true, sent: []string{sitetest.Delta}, rest: sitetest.Finish, events: sitetest.Delta},
	{name: "after two events at once", head: true, sent: []string{sitetest.Delta + sitetest.Delta}, rest: sitetest.Finish, events: sitetest.Delta + sitetest.Delta},
	{name: "in a later event", head: true, sent: []string{sitetest.Delta + sitetest.Delta[:20]}, rest: sitetest.Delta[20:] + sitetest.Finish, events: sitetest.Delta},
	{name: "after an event that is no JSON", head: true, sent: []string{"data: {oops\n\n"}, rest: sitetest.Finish, events: "data: {oops\n\n"},
	{name: "in a line that does not end", head: true, sent: []string{sitetest.Delta, "data: ", strings.Repeat("x", 192<<10)}, rest: "\n\n" + sitetest.Finish, events: sitetest.Delta, part: "data: xxx"},
	{name: "after an event but for its blank line", head: true, sent: []string{sitetest.Delta + sitetest.Unended}, rest: "\n" + sitetest.Finish, events: sitetest.Delta + sitetest.Unended + "\n"},
	{name: "in the finish", head: true, sent: []string{sitetest.Delta, sitetest.Finish[:20]}, rest: sitetest.Finish[20:], events: sitetest.Delta},
	{name: "after the finish but for its blank line", head: true, sent: []string{sitetest.Delta, sitetest.Finish[:len(sitetest.Finish)-1]}, rest: "\n", events: sitetest.Delta + sitetest.Finish, whole: true},
	{name: "after the finish", head: true, sent: []string{sitetest.Delta, sitetest.Finish}, events: sitetest.Delta + sitetest.Finish, whole: true},
	{name: "in what follows the finish", head: true, sent: []string{sitetest.Finish, sitetest.Delta[:20]}, rest: sitetest.Delta[20:], events: sitetest.Finish, whole: true},
}

// play answers up to the stage.
func (s *stage) play(w *sitetest.Wire) {
	if s.head {
		_ = w.Head()
	}
	for _, part := range s.sent {
		_ = w.Send(part)
	}
}

// goOn sends the rest of the answer.
func (s *stage) goOn(w *sitetest.Wire) {
	if !s.head {
		_ = w.Head()
	}
	_ = w.Send(s.rest)
	w.End()
}

// theTries counts the attempts of each chat, by its text.
type theTries struct {
	mu   sync.Mutex
	made map[string]int
}

func (t *theTries) add(text string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.made == nil {
		t.made = make(map[string]int)
	}
	t.made[text]++
	return t.made[text]
}

func (t *theTries) of(text string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.made[text]
}

// chatText returns the text of the first message in a body that the upstream got.
func chatText(body string) string {
	var chat struct{ Messages []struct{ Content string } }
	if err := json.Unmarshal([]byte(body), &chat); err != nil {
		panic(err) // the module has checked it
	}
	return chat.Messages[0].Content
}

// stageChat is a chat whose answer the upstream plays up to a stage.
type stageChat struct {
	stage   *stage
	proto   string
	visitor http.RoundTripper
	text    string
	tries   *theTries
	played  chan *sitetest.Wire // receives the first attempt when it has reached the stage

	over   chan struct{} // closed when the visitor has the answer
	status int
	got    string
	err    error
}

// atEachStage runs a subtest for an upstream of each protocol, with a chat for each stage and each protocol of a
// visitor. When the first attempt of a chat has reached its stage, goOn decides what happens. Further attempts are
// answered in full. run has to serve the directive.
func atEachStage(t *testing.T, subdirectives string, goOn func(*stage, *sitetest.Wire), run func(t *testing.T, directive string, chats []*stageChat)) {
	t.Helper()
	for _, upstream := range sitetest.WireUpstreams {
		t.Run("upstream "+upstream.Proto, func(t *testing.T) {
			var tries theTries
			var chats []*stageChat
			byText := make(map[string]*stageChat)
			for proto, visitor := range sitetest.Protocols(t) {
				for i := range stages {
					c := &stageChat{
						stage: &stages[i], proto: proto, visitor: visitor, text: stages[i].name + ", " + proto, tries: &tries,
						played: make(chan *sitetest.Wire, 1), over: make(chan struct{}),
					}
					chats = append(chats, c)
					byText[c.text] = c
				}
			}
			u := upstream.Start(t, func(w *sitetest.Wire) {
				c := byText[chatText(w.Body)]
				if tries.add(c.text) > 1 {
					stages[0].goOn(w)
					return
				}
				c.stage.play(w)
				c.played <- w
				goOn(c.stage, w)
			})
			run(t, sitetest.ChatToURL(u.URL, subdirectives+"\n"+upstream.Transport), chats)
		})
	}
}

// ask sends the chat and reads the answer to its end.
func (c *stageChat) ask(ctx context.Context, tb testing.TB, s *sitetest.Site) {
	defer close(c.over)
	resp, err := c.visitor.RoundTrip(sitetest.ChatRequest(tb, s.Secure, sitetest.Saying(c.text)).WithContext(ctx))
	if err != nil {
		c.err = err
		return
	}
	defer resp.Body.Close()
	if resp.Proto != c.proto {
		tb.Errorf("the answer came over %s", resp.Proto)
	}
	var got []byte
	got, c.err = io.ReadAll(resp.Body)
	c.status, c.got = resp.StatusCode, sitetest.AnyID.ReplaceAllString(string(got), "")
}

// askAll sends all chats at once and waits until they are at their stages.
func askAll(ctx context.Context, t *testing.T, s *sitetest.Site, chats []*stageChat) map[*stageChat]*sitetest.Wire {
	t.Helper()
	for _, c := range chats {
		go c.ask(ctx, t, s)
	}
	wires := make(map[*stageChat]*sitetest.Wire)
	for _, c := range chats {
		select {
		case wires[c] = <-c.played:
		case <-time.After(sitetest.Patience):
			t.Fatalf("%s: the upstream was not asked", c.text)
		}
	}
	return wires
}

// eachAnswer waits for the answers and runs a subtest for each of them.
func eachAnswer(t *testing.T, chats []*stageChat, check func(t *testing.T, c *stageChat)) {
	t.Helper()
	for _, c := range chats {
		t.Run(c.text, func(t *testing.T) {
			select {
			case <-c.over:
			case <-time.After(sitetest.Patience):
				t.Fatal("the answer does not end")
			}
			check(t, c)
		})
	}
}

// checkBroken checks an answer that broke off at the stage: the visitor got its complete events and a finish with the
// code. If there was no complete event, the chat was sent upstream again.
func (c *stageChat) checkBroken(t *testing.T, code string) {
	t.Helper()
	if c.err != nil || c.status != http.StatusOK {
		t.Fatalf("got status %d, %v: %q", c.status, c.err, c.got)
	}
	got, want, tries := c.got, c.stage.events, 1
	switch {
	case want == "":
		want, tries = sitetest.Delta+sitetest.Finish, 2
	case !c.stage.whole:
		if last := sitetest.OnlyFinish(t, got); last.FinishReason != "error" || last.Code != code {
			t.Errorf("got the finish %+v, want the code %s", last, code)
		}
		got = got[:strings.LastIndex(got, `data: {"type":"finish"`)]
	}
	if c.stage.part != "" {
		part, begun := strings.CutPrefix(got, want)
		if !begun || !strings.HasPrefix(part, c.stage.part) || strings.ReplaceAll(part, "x", "") != "data: \n\n" {
			t.Errorf("the event that was torn is %.20q … %q", part, part[max(0, len(part)-20):])
		}
		got = want
	}
	if made := c.tries.of(c.text); got != want || made != tries {
		t.Errorf("got %q after %d tries, want %q after %d", got, made, want, tries)
	}
}

const quickRetry = "\nretry {\nbackoff 1ms\n}"

// Wherever the upstream breaks an answer off, the visitor gets the complete events and a finish that says why. If there
// is no event yet, the chat is sent upstream again.
func TestFaultsAtEachStage(t *testing.T) {
	for name, end := range map[string]func(*sitetest.Wire){
		"ends in order":         func(w *sitetest.Wire) { w.End() },
		"closes the connection": func(w *sitetest.Wire) { w.Fin() },
		"resets it":             func(w *sitetest.Wire) { w.Reset() },
		"breaks the protocol":   func(w *sitetest.Wire) { w.Spoil() },
	} {
		for resumable, subdirectives := range map[string]func(*testing.T) string{
			"":                     func(*testing.T) string { return "" },
			", resumable":          func(*testing.T) string { return "resume" },
			", resumable in Redis": resumableInRedis,
		} {
			t.Run(name+resumable, func(t *testing.T) {
				atEachStage(t, quickRetry+"\n"+subdirectives(t), func(_ *stage, w *sitetest.Wire) { end(w) }, func(t *testing.T, directive string, chats []*stageChat) {
					s := sitetest.Serve(t, directive)
					for _, c := range chats {
						c.ask(t.Context(), t, s) // one by one, because the end of an HTTP/2 connection ends all its streams
					}
					eachAnswer(t, chats, func(t *testing.T, c *stageChat) { c.checkBroken(t, "closed:upstream") })
				})
			})
		}
	}
}

// An upstream that closes an HTTP/2 connection in order says which requests it has not processed. Those are sent again,
// and the others are answered.
func TestHTTP2UpstreamCloses(t *testing.T) {
	for name, answer := range map[string]func(w *sitetest.Wire, number int){
		"and refuses the request": func(w *sitetest.Wire, number int) {
			if number == 1 {
				w.Refuse()
				return
			}
			stages[0].goOn(w)
		},
		"and has not looked at the request": func(w *sitetest.Wire, number int) {
			if number == 1 {
				w.GoAway(false)
				w.Stall()
				return
			}
			stages[0].goOn(w)
		},
		"and answers the request": func(w *sitetest.Wire, number int) {
			_ = w.Head()
			_ = w.Send(sitetest.Delta)
			w.GoAway(true)
			_ = w.Send(sitetest.Finish)
			w.End()
		},
	} {
		t.Run(name, func(t *testing.T) {
			var tries theTries
			u := sitetest.NewWireUpstream2(t, func(w *sitetest.Wire) { answer(w, tries.add("")) })
			s := sitetest.Serve(t, sitetest.ChatToURL(u.URL, quickRetry+"\ntransport http {\n"+sitetest.AnyCertificate+"\n}"))
			if got := sitetest.ReadAll(t, s.Ask(sitetest.Hello)); got != sitetest.Delta+sitetest.Finish {
				t.Errorf("got %q", got)
			}
			want := 2
			if strings.Contains(name, "answers") {
				want = 1
			}
			if made := tries.of(""); made != want {
				t.Errorf("there were %d tries, want %d", made, want)
			}
		})
	}
}

func stall(_ *stage, w *sitetest.Wire) { w.Stall() }

// Wherever the upstream falls silent, the visitor gets the complete events and a finish that says so. If there is no
// event yet, the visitor gets a 504. The chat is not sent upstream again, because it may be paid for.
func TestStallsAtEachStage(t *testing.T) {
	// response_timeout has to be long enough for all chats to get their events on a busy machine.
	atEachStage(t, "response_timeout 3s\nidle_timeout 1s"+quickRetry, stall, func(t *testing.T, directive string, chats []*stageChat) {
		askAll(t.Context(), t, sitetest.Serve(t, directive), chats)
		eachAnswer(t, chats, func(t *testing.T, c *stageChat) {
			if c.stage.events != "" {
				c.checkBroken(t, "stalled:upstream")
			} else {
				c.checkTimeout(t)
			}
		})
	})
}

// checkTimeout checks that the visitor got a 504 after one attempt.
func (c *stageChat) checkTimeout(t *testing.T) {
	t.Helper()
	if made := c.tries.of(c.text); c.status != http.StatusGatewayTimeout || !strings.Contains(c.got, `"code":"timeout:upstream"`) || made != 1 {
		t.Errorf("got status %d after %d tries: %s", c.status, made, c.got)
	}
}

// max_duration ends an exchange at every stage: with a finish after the first event, with a 504 before it. The chat is
// not sent upstream again.
func TestMaxDurationAtEachStage(t *testing.T) {
	atEachStage(t, "max_duration 3s"+quickRetry, stall, func(t *testing.T, directive string, chats []*stageChat) {
		askAll(t.Context(), t, sitetest.Serve(t, directive), chats)
		eachAnswer(t, chats, func(t *testing.T, c *stageChat) {
			if c.stage.events != "" {
				c.checkBroken(t, "max_duration:upstream")
			} else {
				c.checkTimeout(t)
			}
		})
	})
}

// When a visitor leaves, at whatever stage, the upstream request is canceled at once, and the chat is not sent again.
func TestVisitorLeavesAtEachStage(t *testing.T) {
	atEachStage(t, quickRetry, stall, func(t *testing.T, directive string, chats []*stageChat) {
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		wires := askAll(ctx, t, sitetest.Serve(t, directive), chats)
		leave()
		for c, w := range wires {
			select {
			case <-w.Gone:
			case <-time.After(sitetest.Patience):
				t.Errorf("%s: the upstream's request was not canceled", c.text)
			}
		}
		sitetest.Eventually(t, "the exchanges are closed", func() bool { return openExchangeCount() == 0 })
		eachAnswer(t, chats, func(t *testing.T, c *stageChat) {
			if sent := strings.Join(c.stage.sent, ""); !strings.HasPrefix(c.stage.events, c.got) && (c.stage.part == "" || !strings.HasPrefix(sent, c.got)) {
				t.Errorf("the visitor saw %.500q", c.got)
			}
			if made := c.tries.of(c.text); made != 1 {
				t.Errorf("there were %d tries", made)
			}
		})
	})
}

// A reload changes nothing for an answer, at whatever stage.
func TestReloadsAtEachStage(t *testing.T) {
	goOn := make(chan struct{}, 1000)
	atEachStage(t, "", func(s *stage, w *sitetest.Wire) {
		select {
		case <-goOn:
			s.goOn(w)
		case <-w.Gone: // the test has failed
		}
	}, func(t *testing.T, directive string, chats []*stageChat) {
		s := sitetest.ServeWith(t, "", directive)
		askAll(t.Context(), t, s, chats)
		for range 5 {
			s.Reload(directive)
		}
		for range chats {
			goOn <- struct{}{}
		}
		eachAnswer(t, chats, func(t *testing.T, c *stageChat) {
			if want := strings.Join(c.stage.sent, "") + c.stage.rest; c.err != nil || c.status != http.StatusOK || c.got != want {
				t.Errorf("got status %d, %v: %q, want %q", c.status, c.err, c.got, want)
			}
		})
	})
}

// At exit, every visitor gets a finish or an error that says so, at whatever stage of the answer.
func TestExitAtEachStage(t *testing.T) {
	atEachStage(t, "", stall, func(t *testing.T, directive string, chats []*stageChat) {
		s := sitetest.New(t, "grace_period 1s")
		process := sitetest.Run(t, s, directive)
		askAll(t.Context(), t, s, chats)
		process.Exit(t)
		eachAnswer(t, chats, func(t *testing.T, c *stageChat) {
			if c.stage.events != "" {
				c.checkBroken(t, "shutting_down:proxy")
			} else if c.status != http.StatusServiceUnavailable || !strings.Contains(c.got, `"code":"shutting_down:proxy"`) {
				t.Errorf("got status %d: %s", c.status, c.got)
			}
		})
		process.Wait(t)
	})
}

// A visitor can leave before the upstream has got the chat, or in a pause between two attempts. The upstream is not
// asked after that, and the access log has the status 499. reached returns when the chat is at that point.
func TestVisitorLeavesBeforeTheUpstreamAnswers(t *testing.T) {
	for _, test := range []struct {
		phase string
		begin func(t *testing.T, subdirectives string) (directive string, body io.Reader, reached func())
	}{
		{"reading the body", func(t *testing.T, subdirectives string) (string, io.Reader, func()) {
			u := sitetest.NewWireUpstream1(t, func(*sitetest.Wire) { t.Error("the upstream was asked") })
			body, send := io.Pipe()
			go func() { _, _ = io.WriteString(send, sitetest.Hello[:20]) }()
			return "route {\nbody_tap\n" + sitetest.ChatToURL(u.URL, subdirectives) + "\n}", body, func() { <-tapped }
		}},
		{"connecting", func(t *testing.T, subdirectives string) (string, io.Reader, func()) {
			listener, err := net.Listen("tcp", "127.0.0.1:0") // it does not answer the TLS handshake
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { listener.Close() })
			return sitetest.ChatToURL("https://"+listener.Addr().String(), subdirectives), strings.NewReader(sitetest.Hello), func() {
				conn, err := listener.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { conn.Close() })
			}
		}},
		{"in a pause", func(t *testing.T, subdirectives string) (string, io.Reader, func()) {
			asked := make(chan struct{}, 10)
			u := sitetest.NewWireUpstream1(t, func(w *sitetest.Wire) {
				_ = w.Error(http.StatusInternalServerError, nil)
				asked <- struct{}{}
			})
			t.Cleanup(func() {
				if len(asked) > 0 {
					t.Error("the upstream was asked again")
				}
			})
			return sitetest.ChatToURL(u.URL, subdirectives), strings.NewReader(sitetest.Hello), func() { <-asked }
		}},
	} {
		for proto, visitor := range sitetest.Protocols(t) {
			t.Run(test.phase+"/"+proto, func(t *testing.T) {
				directive, body, reached := test.begin(t, "retry {\nbackoff 1m\n}")
				s := sitetest.Serve(t, "log\n"+directive)
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				req := sitetest.ChatRequest(t, s.Secure, "").WithContext(ctx)
				req.Body, req.ContentLength = io.NopCloser(body), int64(len(sitetest.Hello))
				req.Header.Set("X-Test", "leaves")
				answered := make(chan *http.Response, 1)
				go func() {
					resp, err := visitor.RoundTrip(req)
					if err == nil {
						resp.Body.Close()
					}
					answered <- resp
				}()
				reached()
				leave()
				if pipe, ok := body.(io.Closer); ok {
					pipe.Close() // otherwise the client would wait for more of the body
				}
				if resp := <-answered; resp != nil && resp.StatusCode != 499 { // the 499 that is written for the log may arrive
					t.Errorf("the visitor was answered with %s", resp.Status)
				}
				sitetest.Eventually(t, "the access log says that the visitor left", func() bool {
					status, ok := loggedStatus(t, s, "leaves")
					if ok && status != 499 {
						t.Fatalf("the access log has status %d", status)
					}
					return ok
				})
				if n := openExchangeCount(); n != 0 {
					t.Errorf("%d exchanges are open", n)
				}
			})
		}
	}
}

func TestMalformedChunk(t *testing.T) {
	u := sitetest.NewWireUpstream1(t, func(w *sitetest.Wire) {
		_ = w.Head()
		_ = w.Send(sitetest.Delta)
		w.Spoil()
	})
	s := sitetest.Serve(t, sitetest.ChatToURL(u.URL, ""))
	got := sitetest.ReadAll(t, s.Ask(sitetest.Hello))
	if last := sitetest.OnlyFinish(t, got); last.FinishReason != "error" || last.Code != "closed:upstream" || !strings.HasPrefix(got, sitetest.Delta) {
		t.Errorf("got %q", got)
	}
}
