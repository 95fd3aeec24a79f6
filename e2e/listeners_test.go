package e2e

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// comeBackOver resumes an answer from its beginning, by a GET over transport.
func comeBackOver(t *testing.T, s *sitetest.Site, transport http.RoundTripper, id string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Secure+sitetest.ChatPath+"?stream="+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp := s.Send(transport, req)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("who comes back gets status %d", resp.StatusCode)
	}
	return resp
}

// listenOverAll opens a stream over each protocol, and for each of them a listener over the same protocol. It returns
// the visitors who asked and those who came back, by protocol.
func listenOverAll(t *testing.T, s *sitetest.Site, u *sitetest.HandUpstream) (asked, back map[string]*sitetest.Conversation) {
	t.Helper()
	asked, back = sitetest.ConverseOverAll(t, s, u), make(map[string]*sitetest.Conversation)
	for proto, transport := range sitetest.Protocols(t) {
		resp := comeBackOver(t, s, transport, asked[proto].Response.Header.Get("Illumichat-Stream"))
		back[proto] = &sitetest.Conversation{Response: resp, Visitor: bufio.NewReader(resp.Body), Upstream: asked[proto].Upstream, Events: 1}
		back[proto].Hear(t, sitetest.Numbered(1))
	}
	return asked, back
}

// slowly reads an answer at a pace of about 16 MB a second. It returns an error if the answer does not look complete.
func slowly(body io.Reader) (string, error) {
	var got strings.Builder
	piece := make([]byte, 80<<10)
	for {
		n, err := io.ReadFull(body, piece)
		got.Write(piece[:n])
		switch err {
		case nil:
			time.Sleep(5 * time.Millisecond)
		case io.EOF, io.ErrUnexpectedEOF:
			return got.String(), nil
		default:
			return got.String(), err
		}
	}
}

// resumeLong makes an answer as long as longAnswer resumable.
const resumeLong = "resume {\nmax_size 90MiB\nmax_total 180MiB\n}"

// When Caddy exits, a visitor who came back gets a finish as the visitor who asked does, over each protocol.
func TestExitTellsListeners(t *testing.T) {
	for name, subdirectives := range map[string]func(*testing.T) string{
		"in memory": func(*testing.T) string { return "resume" },
		"in Redis":  resumableInRedis,
	} {
		t.Run(name, func(t *testing.T) {
			u := sitetest.NewHandUpstream(t)
			s := sitetest.New(t, "grace_period 2s")
			caddy := sitetest.Run(t, s, "log\n"+sitetest.ChatToURL(u.URL, subdirectives(t)))
			asked, back := listenOverAll(t, s, u)
			caddy.Exit(t)
			exited := time.Now()
			for proto := range asked {
				asked[proto].IsShutDown(t, proto)
				back[proto].IsShutDown(t, proto+", back")
			}
			if took := time.Since(exited); took < 1500*time.Millisecond {
				t.Errorf("the streams were ended after %s, before their time was up", took)
			}
			caddy.Wait(t)
			wantRecordedCause(t, s, 6, "shutting_down:proxy")
		})
	}
}

// When Caddy exits, a visitor who is still reading a complete answer gets a finish, too.
func TestExitTellsWhoStillReads(t *testing.T) {
	s := sitetest.New(t, "grace_period 2s")
	caddy := sitetest.Run(t, s, sitetest.ChatToURL(serveAnswer(t, longAnswer()), resumeLong))
	resp := s.Ask(sitetest.Hello)
	sitetest.Eventually(t, "the upstream has sent all", func() bool {
		_, text, _ := caddy.Ask(t, http.MethodGet, "/metrics", nil)
		return strings.Contains(text, "caddy_illumichat_streams 0")
	})
	caddy.Exit(t)
	got, err := slowly(resp.Body)
	if err != nil {
		t.Errorf("reading the end: %v", err)
	}
	if last := sitetest.OnlyFinish(t, got[max(0, len(got)-20_000):]); last.Code != "shutting_down:proxy" || last.FinishReason != "error" {
		t.Errorf("got the finish %+v", last)
	}
	caddy.Wait(t)
}

// When an instance exits, a visitor who listens there to an answer of another instance gets a finish. The answer goes
// on, and the visitor can come back to it.
func TestExitTellsListenersOfAnotherInstance(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	directives := "log\n" + sitetest.ChatToURL(u.URL, resumableInRedis(t))
	here, there := sitetest.New(t, "grace_period 1s"), sitetest.New(t, "grace_period 1s")
	sitetest.Run(t, here, directives)
	exiting := sitetest.Run(t, there, directives)
	asked := sitetest.Converse(t, u, sitetest.OneShot, sitetest.ChatRequest(t, here.Plain, sitetest.Hello))
	id := asked.Response.Header.Get("Illumichat-Stream")
	back := make(map[string]*sitetest.Conversation)
	awaitAt(t, &instance{Site: there}, id, 0).Body.Close()
	for proto, transport := range sitetest.Protocols(t) {
		resp := comeBackOver(t, there, transport, id)
		back[proto] = &sitetest.Conversation{Response: resp, Visitor: bufio.NewReader(resp.Body), Upstream: asked.Upstream, Events: 1}
		back[proto].Hear(t, sitetest.Numbered(1))
	}
	exiting.Exit(t)
	for proto, stream := range back {
		stream.IsShutDown(t, proto)
	}
	exiting.Wait(t)
	asked.Step(t)
	again := here.GoOn(t, id, 1)
	asked.Upstream.Say(t, sitetest.Finish)
	asked.Upstream.End()
	if got := sitetest.AnyID.ReplaceAllString(sitetest.ReadAll(t, again), ""); got != sitetest.Numbered(2)+sitetest.Finish {
		t.Errorf("who comes back gets %q", got)
	}
}

// A reload ends the streams of listeners over HTTP/3 shortly before the grace period ends, and no others. The answer
// itself goes on.
func TestReloadTellsListenersOverHTTP3(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	s := sitetest.ServeWith(t, "grace_period 1s", "log\n"+sitetest.ChatToURL(u.URL, "resume"))
	asked, back := listenOverAll(t, s, u)
	s.Reload("header X-Config newer\nlog\n" + sitetest.ChatToURL(u.URL, "resume"))
	asked["HTTP/3.0"].IsShutDown(t, "HTTP/3.0")
	back["HTTP/3.0"].IsShutDown(t, "HTTP/3.0, back")
	wantRecordedCause(t, s, 2, "shutting_down:proxy")
	sitetest.Eventually(t, "the grace period has ended", func() bool { return strings.Contains(s.Log(), `"msg":"server shutdown"`) })
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		asked[proto].Step(t)
		back[proto].Hear(t, sitetest.Numbered(2))
		asked[proto].Finish(t)
		if rest, err := io.ReadAll(back[proto].Visitor); err != nil || sitetest.AnyID.ReplaceAllString(string(rest), "") != sitetest.Finish {
			t.Errorf("%s: who came back gets %q, %v", proto, rest, err)
		}
	}
	cut := asked["HTTP/3.0"]
	again := s.GoOn(t, cut.Response.Header.Get("Illumichat-Stream"), 1)
	cut.Upstream.Say(t, sitetest.Finish)
	cut.Upstream.End()
	if got := sitetest.AnyID.ReplaceAllString(sitetest.ReadAll(t, again), ""); got != sitetest.Finish {
		t.Errorf("who comes back gets %q", got)
	}
}

// A visitor over HTTP/3 whose answer has not begun gets an error before a reload closes the connection.
func TestReloadTellsWhoWaitsOverHTTP3(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	s := sitetest.ServeWith(t, "grace_period 1s", sitetest.ChatToURL(u.URL, "commit_after off\nresume"))
	answered := make(chan *http.Response, 1)
	go func() {
		defer close(answered)
		resp, err := sitetest.Protocols(t)["HTTP/3.0"].RoundTrip(sitetest.ChatRequest(t, s.Secure, sitetest.Hello))
		if err != nil {
			t.Errorf("the visitor gets no answer: %v", err)
			return
		}
		answered <- resp
	}()
	answer := u.Next(t)
	s.Reload("respond gone")
	if resp := <-answered; resp != nil {
		defer resp.Body.Close()
		sitetest.WantError(t, resp, http.StatusServiceUnavailable, "shutting_down:proxy")
	}
	<-answer.Over
}

// Once the finish was passed on, a listener gets no second one, whatever ends the stream before the upstream does.
func TestListenersGetOneFinish(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	s := sitetest.ServeWith(t, "grace_period 500ms", "log\n"+sitetest.ChatToURL(u.URL, "resume"))
	h3 := sitetest.Protocols(t)["HTTP/3.0"]
	asked := sitetest.Converse(t, u, h3, sitetest.ChatRequest(t, s.Secure, sitetest.Hello))
	back := comeBackOver(t, s, h3, asked.Response.Header.Get("Illumichat-Stream"))
	asked.Upstream.Say(t, sitetest.Finish) // and does not end the answer
	asked.Hear(t, sitetest.Finish)
	s.Reload("respond gone")
	if rest, err := io.ReadAll(asked.Visitor); err != nil || len(rest) > 0 {
		t.Errorf("after the finish, the visitor who asked gets %q, %v", rest, err)
	}
	if finish := sitetest.OnlyFinish(t, sitetest.ReadAll(t, back)); finish.FinishReason != "stop" {
		t.Errorf("who came back gets %+v", finish)
	}
	sitetest.Eventually(t, "the requests are logged", func() bool { return len(loggedRequests(t, s)) == 2 })
	for _, r := range loggedRequests(t, s) {
		if r.Illumichat.Outcome != "answered" {
			t.Errorf("the access log has %+v", r)
		}
	}
}

// A listener gets a finish before the server's own write timeout would cut the stream, and the log does not blame the
// visitor. The answer goes on for others.
func TestHardWriteDeadlineOfListeners(t *testing.T) {
	for name, timeouts := range map[string]string{
		"with idle timeouts":    "write 1s",
		"without idle timeouts": "write 1s\nwrite_idle -1s",
	} {
		t.Run(name, func(t *testing.T) {
			u := sitetest.NewHandUpstream(t)
			s := serveWithDeadline(t, timeouts, "log\n"+sitetest.ChatToURL(u.URL, "resume"))
			asked := sitetest.Converse(t, u, sitetest.OneShot, sitetest.ChatRequest(t, s.Plain, sitetest.Hello))
			for proto, transport := range sitetest.Protocols(t) {
				resp := comeBackOver(t, s, transport, asked.Response.Header.Get("Illumichat-Stream"))
				if finish := sitetest.OnlyFinish(t, sitetest.ReadAll(t, resp)); finish.Code != "max_duration:upstream" {
					t.Errorf("%s: got the finish %+v", proto, finish)
				}
			}
			wantRecordedCause(t, s, 3, "max_duration:upstream")
			asked.Step(t)
			asked.Finish(t)
		})
	}
}

// A finish that comes within an event that was sent in part ends that event first.
func TestListenersFinishAfterATornEvent(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	s := serveWithDeadline(t, "write 1s", sitetest.ChatToURL(u.URL, "resume"))
	asked := sitetest.Converse(t, u, sitetest.OneShot, sitetest.ChatRequest(t, s.Plain, sitetest.Hello))
	const begun, rest = `data: {"type":"text-delta","textDelta":"`, "\"}\n\n"
	asked.Upstream.Say(t, begun+strings.Repeat("x", 100<<10))
	for proto, transport := range sitetest.Protocols(t) {
		resp := comeBackOver(t, s, transport, asked.Response.Header.Get("Illumichat-Stream"))
		got := sitetest.ReadAll(t, resp)
		if !strings.Contains(got, begun) {
			t.Errorf("%s: the event has not begun", proto)
		}
		if finish := sitetest.OnlyFinish(t, got); finish.Code != "max_duration:upstream" {
			t.Errorf("%s: got the finish %+v", proto, finish)
		}
	}
	asked.Upstream.Say(t, rest+sitetest.Finish)
	asked.Upstream.End()
	if finish := sitetest.OnlyFinish(t, sitetest.ReadAll(t, &http.Response{Body: io.NopCloser(asked.Visitor)})); finish.FinishReason != "stop" {
		t.Errorf("the visitor who asked gets the finish %+v", finish)
	}
}

// The visitor who asked gets the finish that the exchange records when the server's deadline is near.
func TestHardWriteDeadlineOfWhoAsked(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	s := serveWithDeadline(t, "write 1s", "log\n"+sitetest.ChatToURL(u.URL, "resume"))
	for proto, asked := range sitetest.ConverseOverAll(t, s, u) {
		rest, err := io.ReadAll(asked.Visitor)
		if err != nil {
			t.Errorf("%s: %v", proto, err)
		}
		if finish := sitetest.OnlyFinish(t, string(rest)); finish.Code != "max_duration:upstream" || !sitetest.AnyID.MatchString(string(rest)) {
			t.Errorf("%s: got %q", proto, rest)
		}
	}
	wantRecordedCause(t, s, 3, "max_duration:upstream")
}

// max_duration bounds a visitor who listens, from the visitor's own request on. A visitor who reads a complete answer
// slowly gives the slot back.
func TestMaxDurationOfListeners(t *testing.T) {
	s := sitetest.Serve(t, "log\n"+sitetest.ChatToURL(serveAnswer(t, longAnswer()), "max_duration 2s\nmax_streams 3\n"+resumeLong))
	first := s.Ask(sitetest.Hello)
	sitetest.Eventually(t, "the upstream has sent all", func() bool { return openExchangeCount() == 0 })
	id := first.Header.Get("Illumichat-Stream")
	readers := []*http.Response{first, s.GoOn(t, id, 0), s.GoOn(t, id, 0)}
	sitetest.WantError(t, s.Ask(sitetest.Hello), http.StatusServiceUnavailable, "overloaded:chat")
	begun := time.Now()
	ends := make(chan string)
	for _, resp := range readers {
		go func() {
			got, err := slowly(resp.Body)
			if err != nil {
				t.Errorf("reading the end: %v", err)
			}
			ends <- got[max(0, len(got)-20_000):]
		}()
	}
	for range readers {
		if last := sitetest.OnlyFinish(t, <-ends); last.Code != "max_duration:upstream" || last.FinishReason != "error" {
			t.Errorf("got the finish %+v", last)
		}
	}
	sitetest.Eventually(t, "the slots are free", func() bool { return takenSlots() == 0 })
	if took := time.Since(begun); took > 3500*time.Millisecond {
		t.Errorf("the slots were taken for %s", took)
	}
}

// max_duration of the instance at which a visitor listens bounds that visitor, and not the answer.
func TestMaxDurationOfListenersElsewhere(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	redis := redistest.Start(t)
	here := sitetest.New(t, "")
	sitetest.Run(t, here, sitetest.ChatToURL(u.URL, keptIn(redis)))
	there := sitetest.Serve(t, "log\n"+sitetest.ChatToURL(u.URL, keptIn(redis)+"\nmax_duration 500ms"))
	asked := sitetest.Converse(t, u, sitetest.OneShot, sitetest.ChatRequest(t, here.Plain, sitetest.Hello))
	id := asked.Response.Header.Get("Illumichat-Stream")
	start := time.Now()
	resp := awaitAt(t, &instance{Site: there}, id, 0)
	if finish := sitetest.OnlyFinish(t, sitetest.ReadAll(t, resp)); finish.Code != "max_duration:upstream" {
		t.Errorf("got the finish %+v", finish)
	}
	if took := time.Since(start); took < 500*time.Millisecond {
		t.Errorf("it came after %s", took)
	}
	asked.Step(t)
	asked.Finish(t)
}

// A listener counts as one of the open chats in the admin API alone: the gauge counts each chat once.
func TestListenersAreNoChats(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	s := sitetest.Serve(t, sitetest.ChatToURL(u.URL, "resume"))
	asked, back := listenOverAll(t, s, u)
	if n := openExchangeCount(); n != 3 {
		t.Errorf("the gauge counts %d chats, want 3", n)
	}
	for proto, stream := range asked {
		stream.Finish(t)
		sitetest.OnlyFinish(t, sitetest.ReadAll(t, &http.Response{Body: io.NopCloser(back[proto].Visitor)}))
	}
	sitetest.Eventually(t, "nothing is left", func() bool { return openExchangeCount() == 0 && takenSlots() == 0 })
}
