package page

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tmaxmax/go-sse"

	"github.com/illumichat/caddy-illumichat/internal/require"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/internal/sse/ssetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// client is a third-party client for event streams.
type client struct {
	name string
	open func(testing.TB, *sitetest.Site) asking

	// waitsAfterCR: after a CR the client waits for the next byte, which might be a LF. So it never reports the last event
	// of a stream that ends with a CR. The HTML standard dispatches an event at once.
	waitsAfterCR bool

	// tellsEmpty: the client also reports an event without data for each blank line that no data precedes, such as the one
	// after a comment. The HTML standard dispatches none there. Users have to skip these events, and the script
	// does; so it also skips events whose data is empty.
	tellsEmpty bool

	proto         string // that the client reports
	tellsComments bool
	tellsRetry    bool
	refusal       string // part of its error for an answer that is no stream; %d is the status
}

// asking posts a chat and reads the answer to its end.
type asking func(tb testing.TB, chat string) clientView

// clientView is what a client reports about an answer.
type clientView struct {
	Proto       string
	Status      int
	ContentType string
	Code        string // of the error that came instead of a stream
	Events      []ssetest.Event
	Comments    int
	Retry       int
	Error       string
}

// clients returns all clients, each with every protocol that it is tested with.
func clients() []client {
	const noStream = "no event stream, but status %d"
	all := []client{
		{
			name: "eventsource-parser", open: openScript("e2e/page/testdata/clients/eventsource-parser.mjs"),
			waitsAfterCR: true, tellsComments: true, tellsRetry: true, refusal: noStream,
		},
		{
			name: "fetch-event-source", open: openScript("e2e/page/testdata/clients/fetch-event-source.mjs"),
			tellsEmpty: true, tellsComments: true, tellsRetry: true, refusal: noStream,
		},
	}
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0", "HTTP/3.0"} {
		all = append(all, client{
			name: "go-sse over " + proto, open: openGoSSE(proto), proto: proto,
			refusal: "response validation failed: expected status code 200 OK, received %d",
		})
	}
	for _, version := range []string{"1.1", "2"} {
		all = append(all, client{
			name: "curl over HTTP/" + version, open: openCurl(version), proto: "HTTP/" + version,
			tellsComments: true, refusal: "exit status 22",
		})
	}
	return all
}

// openScript opens a client whose script runs in Node.
func openScript(file string) func(testing.TB, *sitetest.Site) asking {
	return func(tb testing.TB, s *sitetest.Site) asking {
		tb.Helper()
		requirePackages(tb, packages)
		node := startScript(tb, file)
		return func(tb testing.TB, chat string) (view clientView) {
			tb.Helper()
			node.ask(tb, map[string]string{"url": s.Plain + sitetest.ChatPath, "body": chat}, &view)
			return view
		}
	}
}

func openGoSSE(proto string) func(testing.TB, *sitetest.Site) asking {
	return func(tb testing.TB, s *sitetest.Site) asking {
		tb.Helper()
		visitor := &http.Client{Transport: sitetest.Protocols(tb)[proto]}
		return func(tb testing.TB, chat string) (view clientView) {
			tb.Helper()
			ctx, cancel := context.WithTimeout(tb.Context(), sitetest.Patience)
			defer cancel()
			reader := sse.Client{
				HTTPClient: visitor,
				Backoff:    sse.Backoff{MaxRetries: -1},
				ResponseValidator: func(resp *http.Response) error {
					view.noteHead(resp)
					return sse.DefaultValidator(resp)
				},
			}
			conn := reader.NewConnection(sitetest.ChatRequest(tb, s.Secure, chat).WithContext(ctx))
			conn.Buffer(nil, 1<<20) // the default buffer holds no event of more than 64 KiB
			conn.SubscribeToAll(func(e sse.Event) {
				view.Events = append(view.Events, ssetest.Event{Type: cmp.Or(e.Type, "message"), ID: e.LastEventID, Data: e.Data})
			})
			// go-sse reports the end of a stream as an error, unless the last LF arrives apart from its CR.
			if err := conn.Connect(); err != nil && !errors.Is(err, io.EOF) {
				view.Error = err.Error()
			}
			return view
		}
	}
}

func (v *clientView) noteHead(resp *http.Response) {
	v.Proto, v.Status, v.ContentType = resp.Proto, resp.StatusCode, resp.Header.Get("Content-Type")
	if resp.StatusCode != http.StatusOK {
		v.noteCode(resp.Body)
	}
}

// noteCode records the code of an error, if the body is one.
func (v *clientView) noteCode(body io.Reader) {
	var e struct{ Code string }
	_ = json.NewDecoder(body).Decode(&e)
	v.Code = e.Code
}

// curlTells is the format in which curl reports an answer on its standard error.
const curlTells = `%{stderr}{"Proto":"HTTP/%{http_version}","Status":%{http_code},"ContentType":"%{content_type}"}`

// curl returns a command that posts a chat over TLS and prints the answer as it arrives.
func curl(ctx context.Context, tb testing.TB, s *sitetest.Site, version, chat string) *exec.Cmd {
	tb.Helper()
	certificate, _, _ := strings.Cut(s.TLS, " ")
	cmd := exec.CommandContext(ctx, require.Program(tb, "curl"), "--no-buffer", "--silent", "--fail-with-body",
		"--http"+version, "--cacert", certificate, "--write-out", curlTells,
		"--header", "Content-Type: application/json", "--data-binary", "@-", s.Secure+sitetest.ChatPath)
	cmd.Stdin = strings.NewReader(chat)
	return cmd
}

func openCurl(version string) func(testing.TB, *sitetest.Site) asking {
	return func(tb testing.TB, s *sitetest.Site) asking {
		tb.Helper()
		require.Program(tb, "curl")
		return func(tb testing.TB, chat string) (view clientView) {
			tb.Helper()
			ctx, cancel := context.WithTimeout(tb.Context(), sitetest.Patience)
			defer cancel()
			cmd := curl(ctx, tb, s, version, chat)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			ended := cmd.Run()
			if err := json.Unmarshal(stderr.Bytes(), &view); err != nil {
				tb.Fatalf("curl says %q: %v; %v", stderr.String(), err, ended)
			}
			if ended != nil {
				view.Error = ended.Error()
				view.noteCode(bytes.NewReader(stdout.Bytes()))
			}
			view.Events = ssetest.Events(stdout.String())
			view.Comments = strings.Count("\n"+ssetest.OneLineEnd.Replace(stdout.String()), "\n:")
			return view
		}
	}
}

// witness is an upstream that also keeps its answer, so that a test can compare it with what arrives at a client.
type witness struct {
	url string

	mu    sync.Mutex
	heard bytes.Buffer // the last answer
}

func newWitness(tb testing.TB, upstream http.Handler) *witness {
	tb.Helper()
	w := &witness{}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.heard.Reset()
		w.mu.Unlock()
		upstream.ServeHTTP(witnessed{rw, w}, r)
	}))
	tb.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	w.url = server.URL
	return w
}

// answer returns the last answer.
func (w *witness) answer() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.heard.String()
}

// witnessed is the upstream's ResponseWriter. It also writes to the witness.
type witnessed struct {
	http.ResponseWriter
	witness *witness
}

func (w witnessed) Write(p []byte) (int, error) {
	w.witness.mu.Lock()
	w.witness.heard.Write(p)
	w.witness.mu.Unlock()
	return w.ResponseWriter.Write(p)
}

func (w witnessed) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// clientCase is an answer that each client must read.
type clientCase struct {
	chat     string
	code     string // of the finish that the handler adds; empty if it adds none
	comments bool   // the answer must have some, from the upstream or the handler
	retry    int    // the interval that it sets, in ms
}

// checkClients lets each client ask for each answer, and checks what it reports.
func checkClients(t *testing.T, s *sitetest.Site, upstream *witness, cases map[string]clientCase) {
	t.Helper()
	for _, client := range clients() {
		t.Run(client.name, func(t *testing.T) {
			ask := client.open(t, s)
			for name, c := range cases {
				t.Run(name, func(t *testing.T) {
					got := ask(t, c.chat)
					client.check(t, got, upstream.answer(), c)
				})
			}
		})
	}
}

// check compares the client's report with the upstream's answer, read as the HTML standard defines it.
func (c *client) check(t *testing.T, got clientView, answer string, want clientCase) {
	t.Helper()
	if got.Error != "" {
		t.Errorf("the client fails: %s", got.Error)
	}
	if got.Proto != c.proto || got.Status != http.StatusOK || got.ContentType != "text/event-stream" {
		t.Errorf("the client tells of an answer over %q, %d, %q", got.Proto, got.Status, got.ContentType)
	}
	if want.comments && c.tellsComments && got.Comments == 0 {
		t.Error("the client saw no comment")
	}
	if c.tellsRetry && got.Retry != want.retry {
		t.Errorf("the client is to ask again after %d ms, want %d", got.Retry, want.retry)
	}
	if want.code != "" {
		got.Events = cutFinish(t, got.Events, want.code)
	}
	events := ssetest.Events(answer)
	if c.waitsAfterCR && want.code == "" && strings.HasSuffix(answer, "\r") {
		events = events[:len(events)-1]
	}
	if c.tellsEmpty {
		events = slices.DeleteFunc(events, func(e ssetest.Event) bool { return e.Data == "" })
	}
	compareEvents(t, got.Events, events)
}

// cutFinish checks that the last event is a finish with a code, and returns the others.
func cutFinish(t *testing.T, events []ssetest.Event, code string) []ssetest.Event {
	t.Helper()
	if len(events) == 0 {
		t.Fatal("the client saw no events")
	}
	last := events[len(events)-1]
	var e sitetest.Event
	if err := json.Unmarshal([]byte(last.Data), &e); err != nil || e.Type != "finish" || e.FinishReason != "error" || e.Code != code {
		t.Errorf("the last event is %+v, want a finish with the code %s", last, code)
	}
	return events[:len(events)-1]
}

func compareEvents(t *testing.T, got, want []ssetest.Event) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("event %d is %.200q, want %.200q", i, got[i], want[i])
		}
	}
	if len(got) != len(want) || len(want) == 0 {
		t.Errorf("the client saw %d events, the upstream sent %d", len(got), len(want))
	}
}

// Through Caddy, third-party clients read the events that the sandbox has sent, in whatever way it sends them.
func TestClientsReadTheSandbox(t *testing.T) {
	upstream := newWitness(t, sandbox.New(sandbox.Options{}))
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.url, sitetest.Once+"\nheartbeat 5ms"))
	cases := map[string]clientCase{
		"usual":           {chat: sitetest.Hello},
		"/drip 60 20ms":   {chat: sitetest.Saying("/events 5 /drip 60 20ms"), comments: true},
		"/comments":       {chat: sitetest.Saying("/comments 3"), comments: true},
		"/extras":         {chat: sitetest.Saying("/extras"), retry: 3000},
		"/extras /crlf":   {chat: sitetest.Saying("/extras /chunk 1 /crlf"), retry: 3000},
		"/cut":            {chat: sitetest.Saying("/cut"), code: "closed:upstream"},
		"/cut /cr":        {chat: sitetest.Saying("/cut 20 /chunk 3 /cr"), code: "closed:upstream"},
		"/quote-finish":   {chat: sitetest.Saying("/quote-finish"), code: "closed:upstream"},
		"/torn":           {chat: sitetest.Saying("/torn"), code: "closed:upstream"},
		"/torn in a text": {chat: sitetest.Saying("/torn 7 /chunk 1 /crlf"), code: "closed:upstream"},
	}
	for _, say := range []string{
		"/chunk 1", "/crlf", "/chunk 1 /crlf", "/cr", "/chunk 1 /cr", "/comments 1 /chunk 5 /crlf", "/multi-data",
		"/multi-data /chunk 1 /crlf", "/events 1000", "/events 1000 /burst 100 /crlf", "/large 100000",
		"/large 300000 /chunk 4000", "/bad-json", "/error",
	} {
		cases[say] = clientCase{chat: sitetest.Saying(say)}
	}
	checkClients(t, s, upstream, cases)
}

// Third-party clients also read the parts of the event stream format that the sandbox does not send.
func TestClientsReadAnyStream(t *testing.T) {
	upstream := newWitness(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var chat struct{ Messages []struct{ Content string } }
		_ = json.NewDecoder(r.Body).Decode(&chat)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, sitetest.Streams[chat.Messages[0].Content])
	}))
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.url, ""))
	cases := make(map[string]clientCase)
	for name := range sitetest.Streams {
		cases[name] = clientCase{chat: sitetest.Saying(name)}
	}
	fields := cases["fields"]
	fields.retry = 5
	cases["fields"] = fields
	checkClients(t, s, upstream, cases)
}

// While an upstream is stalled, clients get only heartbeats, and see no event in them until the handler gives up the stream.
func TestClientsSeeNothingInHeartbeats(t *testing.T) {
	upstream := newWitness(t, sandbox.New(sandbox.Options{}))
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.url, "heartbeat 5ms\nidle_timeout 300ms"))
	checkClients(t, s, upstream, map[string]clientCase{
		"/stall":     {chat: sitetest.Saying("/stall"), code: "stalled:upstream", comments: true},
		"/stall /cr": {chat: sitetest.Saying("/stall /cr"), code: "stalled:upstream", comments: true},
	})
}

// Third-party clients report the status and the code of an error, and no event.
func TestClientsTellErrors(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, sitetest.Once))
	for _, client := range clients() {
		t.Run(client.name, func(t *testing.T) {
			ask := client.open(t, s)
			for say, want := range map[string]clientView{
				"/status 400": {Status: http.StatusBadRequest, Code: "bad_request:chat"},
				"/status 429": {Status: http.StatusTooManyRequests, Code: "rate_limit:chat"},
				"/html":       {Status: http.StatusBadGateway, Code: "bad_gateway:upstream"},
			} {
				got := ask(t, sitetest.Saying(say))
				if got.Status != want.Status || got.Code != want.Code || got.ContentType != "application/json" {
					t.Errorf("%s: the client tells %+v", say, got)
				}
				refusal := strings.ReplaceAll(client.refusal, "%d", fmt.Sprint(want.Status))
				if !strings.Contains(got.Error, refusal) {
					t.Errorf("%s: the client's error is %q, want %q in it", say, got.Error, refusal)
				}
				if len(got.Events) != 0 {
					t.Errorf("%s: the client saw %d events", say, len(got.Events))
				}
			}
		})
	}
}

// curl prints each event as soon as the upstream has sent it.
func TestClientCurlShowsEventsAsTheyCome(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	s := sitetest.Serve(t, sitetest.ChatToURL(u.URL, ""))
	for _, version := range []string{"1.1", "2"} {
		t.Run("HTTP/"+version, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), sitetest.Patience)
			defer cancel()
			cmd := curl(ctx, t, s, version, sitetest.Hello)
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Wait() }()
			defer cancel() // ends curl if the test fails
			answer := u.Next(t)
			shown := bufio.NewReader(stdout)
			for n := range 5 {
				answer.Say(t, sitetest.Numbered(n+1))
				if got := sitetest.NextEvent(t, shown); got != sitetest.Numbered(n+1) {
					t.Errorf("curl shows %q, want %q", got, sitetest.Numbered(n+1))
				}
			}
			answer.Say(t, sitetest.Finish)
			answer.End()
			if rest, err := io.ReadAll(shown); err != nil || string(rest) != sitetest.Finish {
				t.Errorf("curl ends with %q, %v; want %q", rest, err, sitetest.Finish)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("curl ends with %v", err)
			}
		})
	}
}
