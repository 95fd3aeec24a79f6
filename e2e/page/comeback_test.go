package page

import (
	"net/http"
	"slices"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// comeback is a third-party client that reconnects by itself. A test leads it through one answer.
type comeback struct{ *nodeScript }

// comebackView is what the client has seen so far. End is empty while the client still wants a connection.
type comebackView struct {
	Events []sitetest.Event
	End    string
}

// command lets the client's script do something. See comeback.mjs.
func (c comeback) command(tb testing.TB, name string, value any) (view comebackView) {
	tb.Helper()
	c.ask(tb, map[string]any{name: value}, &view)
	return view
}

// comebackCase is a client, with how its answer is opened and how its connection is lost.
type comebackCase struct {
	script string

	end    string // what the client then reports
	gets   bool   // the client can only GET, so the test has posted the chat
	hidden bool   // the client gives up the connection because the tab is hidden, and comes back when it is shown
	before int    // how many events the client sees before that
	chosen bool   // the page has chosen the answer's id
}

// However a third-party client comes back to its answer, it gets each event once, and the chat API is asked once.
func TestClientsComeBackToOneAnswer(t *testing.T) {
	const posts = "fetch-event-source-defaults"
	for name, c := range map[string]comebackCase{
		"fetch-event-source":                               {script: posts, end: "over", before: 3},
		"fetch-event-source in a hidden tab":               {script: posts, end: "over", before: 3, hidden: true},
		"fetch-event-source before the first event":        {script: posts, end: "over", chosen: true},
		"fetch-event-source hidden before the first event": {script: posts, end: "over", chosen: true, hidden: true},
		"eventsource":           {script: "eventsource", end: "204", before: 3, gets: true},
		"event-source-polyfill": {script: "event-source-polyfill", end: "closed", before: 3, gets: true},
	} {
		t.Run(name, c.test)
	}
}

func (c comebackCase) test(t *testing.T) {
	const id = "AAAAAAAAAAAAAAAAAAAAAA"
	requirePackages(t, packages)
	newNode(t)
	parts := make(chan string, 10)
	u := sitetest.NewUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			_ = http.NewResponseController(w).Flush()
			select {
			case part, ok := <-parts:
				if !ok {
					return
				}
				_, _ = w.Write([]byte(part))
			case <-r.Context().Done():
				return
			}
		}
	})
	s := sitetest.Serve(t, sitetest.ChatToURL(u.URL, "resume\ncommit_after 1ms"))
	n := newNetwork(t, s)
	client := comeback{startScript(t, packages+"/"+c.script+".mjs")}

	open := map[string]any{"url": n.url + sitetest.ChatPath, "body": sitetest.Hello}
	if c.chosen {
		open["headers"] = map[string]string{"Illumichat-Stream": id}
	}
	if c.gets {
		asked := s.Ask(sitetest.Hello)
		open["url"] = n.url + sitetest.ChatPath + "?stream=" + asked.Header.Get("Illumichat-Stream") + "&after=0"
	}
	client.command(t, "open", open)
	// The client comes back after 10 ms, and not after its own seconds.
	say := func(event int) { parts <- "retry: 10\n" + sitetest.Numbered(event) }
	for event := range c.before {
		say(event + 1)
	}
	if c.before > 0 {
		client.command(t, "wait", c.before)
	} else {
		sitetest.Eventually(t, "the client has asked", func() bool { return s.Get(t, nil, "?stream="+id+"&after=0").StatusCode == http.StatusOK })
	}
	if c.hidden {
		client.command(t, "hidden", true)
	} else {
		n.each((*visitorConn).close)
	}
	for event := c.before; event < 6; event++ {
		say(event + 1)
	}
	if c.hidden {
		client.command(t, "hidden", false)
	}
	client.command(t, "wait", 6)
	parts <- sitetest.Finish
	close(parts)

	got := client.command(t, "wait", "end")
	if got.End != c.end {
		t.Errorf("the client ends with %q, want %q", got.End, c.end)
	}
	var want []sitetest.Event
	for event := range 6 {
		want = append(want, sitetest.DecodeEvents(t, sitetest.Numbered(event+1))...)
	}
	if want = append(want, sitetest.DecodeEvents(t, sitetest.Finish)...); !slices.Equal(got.Events, want) {
		t.Errorf("the client saw %+v", got.Events)
	}
	if asked := len(u.Take()); asked != 1 {
		t.Errorf("the API was asked %d times", asked)
	}
}
