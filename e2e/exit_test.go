package e2e

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// When Caddy exits, every open stream gets a finish, over each protocol.
func TestExitTellsEveryone(t *testing.T) {
	for name, subdirectives := range map[string]func(*testing.T) string{
		"":                           func(*testing.T) string { return "" },
		"who can come back":          func(*testing.T) string { return "resume" },
		"who can come back anywhere": resumableInRedis,
	} {
		t.Run(name, func(t *testing.T) {
			u := sitetest.NewHandUpstream(t)
			s := sitetest.New(t, "grace_period 1s")
			caddy := sitetest.Run(t, s, sitetest.ChatToURL(u.URL, subdirectives(t)))
			streams := sitetest.ConverseOverAll(t, s, u)
			caddy.Exit(t)
			for proto, stream := range streams {
				stream.IsShutDown(t, proto)
			}
			caddy.Wait(t)
		})
	}
}

// An exit does not wait for an answer that nobody listens to.
func TestExitDoesNotWaitForNobody(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	s := sitetest.New(t, "grace_period 9s")
	caddy := sitetest.Run(t, s, sitetest.ChatToURL(u.URL, "resume"))
	streams := sitetest.ConverseOverAll(t, s, u)
	for _, stream := range streams {
		stream.Response.Body.Close()
	}
	sitetest.Eventually(t, "the visitors are gone", func() bool {
		for _, stream := range streams { // the handler of a visitor who asked may wait for the next event
			stream.Upstream.Say(t, sitetest.Numbered(2))
		}
		_, answer, _ := caddy.Ask(t, http.MethodGet, "/metrics", nil)
		return strings.Contains(answer, `caddy_illumichat_requests_total{assistant="asst_demo",outcome="left"} 3`)
	})
	start := time.Now()
	caddy.Exit(t)
	caddy.Wait(t)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the exit took %s", took)
	}
}

// Streams of a replaced config get a finish as well, even if the new config has no chat. The grace period is the newest
// config's, and begins after its shutdown_delay.
func TestExitTellsStreamsOfReplacedConfigs(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	s := sitetest.New(t, "") // with a grace period, the streams over HTTP/3 would end at the reload
	caddy := sitetest.Run(t, s, sitetest.ChatToURL(u.URL, ""))
	streams := sitetest.ConverseOverAll(t, s, u)
	s.Global = "grace_period 1s\nshutdown_delay 500ms"
	caddy.Reload(t, s.Adapt("respond hello"))
	for _, stream := range streams {
		stream.Step(t)
	}
	start := time.Now()
	caddy.Exit(t)
	for proto, stream := range streams {
		stream.IsShutDown(t, proto)
	}
	if took := time.Since(start); took < 1200*time.Millisecond {
		t.Errorf("the streams were ended after %s, before their time was up", took)
	}
	caddy.Wait(t)
}

// At exit, Caddy does not wait for servers whose grace period after a reload is over. Their streams get a finish all
// the same, whether the newest config has a chat or not.
func TestExitTellsStreamsThatOutlivedTheGracePeriodOfAReload(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	for name, directives := range map[string]string{"with a handler": sitetest.ChatToURL(u.URL, "alias other asst_other"), "without": "respond hello"} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, "grace_period 600ms")
			caddy := sitetest.Run(t, s, sitetest.ChatToURL(u.URL, ""))
			streams := sitetest.ConverseOverAll(t, s, u)
			caddy.Reload(t, s.Adapt(directives))
			streams["HTTP/3.0"].IsShutDown(t, "HTTP/3.0") // by the reload
			delete(streams, "HTTP/3.0")
			sitetest.Eventually(t, "the grace period has ended", func() bool { return strings.Contains(s.Log(), `"msg":"server shutdown"`) })
			for _, stream := range streams {
				stream.Step(t)
			}
			caddy.Exit(t)
			for proto, stream := range streams {
				stream.IsShutDown(t, proto)
			}
			caddy.Wait(t)
		})
	}
}

// A chat whose body is still arriving at a reload begins its stream afterwards. At exit that stream gets a finish as
// well.
func TestExitTellsStreamsThatBeginAfterAReload(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	s := sitetest.New(t, "")
	caddy := sitetest.Run(t, s, sitetest.ChatToURL(u.URL, ""))
	head, body, _ := strings.Cut(sitetest.RawChat(sitetest.Hello), "\r\n\r\n")
	conn := sitetest.SendRaw(t, s, head+"\r\nExpect: 100-continue\r\n\r\n")
	in := bufio.NewReader(conn)
	read := func() *http.Response {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	if resp := read(); resp.StatusCode != http.StatusContinue { // a 100 shows that the handler reads the body
		t.Fatalf("got %s", resp.Status)
	}
	s.Global = "grace_period 1s"
	caddy.Reload(t, s.Adapt("respond hello"))
	time.Sleep(100 * time.Millisecond) // the lookout for the exit must not end meanwhile, although no stream is open yet
	if _, err := io.WriteString(conn, body); err != nil {
		t.Fatal(err)
	}
	c := &sitetest.Conversation{Upstream: u.Next(t), Events: 1}
	c.Upstream.Say(t, sitetest.Numbered(1))
	c.Response = read()
	c.Visitor = bufio.NewReader(c.Response.Body)
	c.Hear(t, sitetest.Numbered(1))
	start := time.Now()
	caddy.Exit(t)
	c.IsShutDown(t, "HTTP/1.1")
	if took := time.Since(start); took > time.Second {
		t.Errorf("the finish came after %s, when the grace period was over", took)
	}
	caddy.Wait(t)
}

// An exit ends no answer early that has a listener, even if the first two have left.
func TestExitWaitsForTheThirdListener(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	s := sitetest.New(t, "grace_period 2s")
	caddy := sitetest.Run(t, s, sitetest.ChatToURL(u.URL, "resume"))
	asked := sitetest.Converse(t, u, sitetest.OneShot, sitetest.ChatRequest(t, s.Plain, sitetest.Hello))
	id := asked.Response.Header.Get("Illumichat-Stream")
	second, third := s.GoOn(t, id, 0), s.GoOn(t, id, 1)
	asked.Response.Body.Close()
	second.Body.Close()
	sitetest.Eventually(t, "two have left", func() bool {
		asked.Upstream.Say(t, sitetest.Numbered(2)) // the handler of the visitor who asked may wait for the next event
		_, text, _ := caddy.Ask(t, http.MethodGet, "/metrics", nil)
		return strings.Contains(text, `caddy_illumichat_requests_total{assistant="asst_demo",outcome="left"} 2`)
	})
	caddy.Exit(t)
	exited := time.Now()
	if finish := sitetest.OnlyFinish(t, sitetest.ReadAll(t, third)); finish.Code != "shutting_down:proxy" {
		t.Errorf("got the finish %+v", finish)
	}
	if took := time.Since(exited); took < 1500*time.Millisecond {
		t.Errorf("the answer ended after %s, before its time was up", took)
	}
	caddy.Wait(t)
}
