package illumichat

import (
	"bufio"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// anyID is the line that each event of a stream has which can be resumed.
var anyID = regexp.MustCompile(`id: [A-Za-z0-9_-]{22}:\d+(\r\n|\r|\n)`)

// withoutIDs is a stream as the upstream has sent it. It checks that each event has its number.
func withoutIDs(t *testing.T, stream, id string, first int) string {
	t.Helper()
	n := first - 1
	return anyID.ReplaceAllStringFunc(stream, func(line string) string {
		n++
		if want := fmt.Sprintf("id: %s:%d", id, n); strings.TrimRight(line, "\r\n") != want {
			t.Errorf("got %q, want %q", line, want)
		}
		return ""
	})
}

// resumable is a chat whose answers can be resumed.
func resumable(server *sandboxtest.Server, subdirectives string) string {
	return chatTo(server, "resume {\n"+subdirectives+"\n}")
}

// goOn asks for what follows the event of a number.
func (s *site) goOn(t *testing.T, id string, after int) *http.Response {
	t.Helper()
	return s.get(t, map[string]string{"Last-Event-ID": fmt.Sprintf("%s:%d", id, after)}, "")
}

func (s *site) get(t *testing.T, header map[string]string, query string) *http.Response {
	t.Helper()
	return s.request(t, http.MethodGet, header, query)
}

func (s *site) request(t *testing.T, method string, header map[string]string, query string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.plain+chatPath+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	return s.send(http.DefaultTransport, req)
}

// takeEvents reads so many events of an answer and leaves.
func takeEvents(t *testing.T, resp *http.Response, n int) string {
	t.Helper()
	defer resp.Body.Close()
	var got strings.Builder
	for r := bufio.NewReader(resp.Body); n > 0; {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString(line)
		if line == "\n" {
			n--
		}
	}
	return got.String()
}

// Every event has its number, and all else is as it came, however lines end and wherever the stream is cut.
func TestEventsHaveNumbers(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := serve(t, resumable(server, ""))
	resp := s.ask(hello)
	chatID := resp.Header.Get("X-Chat-Id")
	readAll(t, resp)
	for _, command := range []string{
		"/events 20", "/comments 2 /events 20", "/crlf /events 20", "/cr /events 20", "/chunk 1 /crlf /events 20", "/chunk 7 /cr /events 20",
		"/burst 10 /events 95", "/large 4000", "/chunk 1000 /crlf /large 300000",
	} {
		chat := strings.Replace(saying(command), "{", `{"chatId":"`+chatID+`",`, 1)
		want := askSandbox(t, server, chat)
		resp := s.ask(chat)
		id := resp.Header.Get(headerStream)
		got := readAll(t, resp)
		if bare := withoutIDs(t, got, id, 1); bare != want {
			t.Errorf("%s: the answer differs from the upstream's: %s", command, firstDifference(bare, want))
		}
		// And whoever comes back gets the same, from wherever.
		for after := range strings.Count(got, "id: "+id) {
			resp := s.goOn(t, id, after)
			rest := readAll(t, resp)
			if !strings.HasSuffix(got, rest) || strings.Count(rest, "id: "+id) != strings.Count(got, "id: "+id)-after {
				t.Fatalf("%s: after event %d there are %d events: %.200q", command, after, strings.Count(rest, "id: "+id), rest)
			}
		}
	}
}

// A visitor who comes back goes on where the answer broke off, without a gap or a repeat, while it is written and afterwards.
func TestResume(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := serve(t, resumable(server, ""))
	resp := s.ask(saying("/drip 80 10ms /events 60"))
	id := resp.Header.Get(headerStream)
	all := takeEvents(t, resp, 5)
	for at := 5; at < 50; at += 5 {
		resp := s.goOn(t, id, at)
		if got := resp.Header.Get(headerStream); resp.StatusCode != http.StatusOK || got != id || resp.Header.Get("X-Chat-Id") == "" {
			t.Fatalf("got status %d for stream %q: %v", resp.StatusCode, got, resp.Header)
		}
		all += takeEvents(t, resp, 5)
	}
	all += readAll(t, s.get(t, nil, "?stream="+id+"&after=50"))
	onlyFinish(t, all)
	withoutIDs(t, all, id, 1)
	if n := strings.Count(all, "text-delta"); n != 60 {
		t.Errorf("got %d of 60 events", n)
	}
	if again := readAll(t, s.get(t, nil, "?stream="+id)); again != all {
		t.Errorf("the whole stream differs: %s", firstDifference(again, all))
	}
	last := strings.Count(all, "id: "+id)
	if resp := s.goOn(t, id, last); resp.StatusCode != http.StatusNoContent {
		t.Errorf("after the last event, got status %d", resp.StatusCode)
	}
	if asked := server.Request(t, 0); asked.Canceled() {
		t.Error("the upstream was cancelled")
	}
}

// What is not known, not any more, or not to this visitor, is all alike.
func TestResumeOfNothing(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := serve(t, resumable(server, "keep 100ms\nowner {http.request.header.X-User}"))
	resp := s.ask(hello)
	id := resp.Header.Get(headerStream)
	readAll(t, resp)
	wantError(t, s.get(t, map[string]string{"Last-Event-ID": id + ":1", "X-User": "another"}, ""), http.StatusNotFound, "not_found:stream")
	wantError(t, s.request(t, http.MethodDelete, map[string]string{headerStream: id, "X-User": "another"}, ""), http.StatusNotFound, "not_found:stream")
	wantError(t, s.goOn(t, newStreamID(), 1), http.StatusNotFound, "not_found:stream")
	eventually(t, "the answer is forgotten", func() bool { return s.goOn(t, id, 1).StatusCode == http.StatusNotFound })

	for _, query := range []string{"", "?after=3", "?stream=" + id + "&after=x", "?stream=" + id + "&after=-1"} {
		wantError(t, s.get(t, nil, query), http.StatusBadRequest, "bad_request:stream")
	}
	wantError(t, s.get(t, map[string]string{"Last-Event-ID": id}, ""), http.StatusBadRequest, "bad_request:stream")
	wantError(t, s.request(t, http.MethodDelete, nil, ""), http.StatusBadRequest, "bad_request:stream")
	wantError(t, s.request(t, http.MethodPut, nil, ""), http.StatusMethodNotAllowed, "method_not_allowed:chat")
	evil := map[string]string{"Last-Event-ID": id + ":1", "Origin": "https://evil.example"}
	wantError(t, s.get(t, evil, ""), http.StatusForbidden, "forbidden:origin")
}

// Without resume, nothing is told, and nothing can be asked for.
func TestWithoutResume(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := serve(t, chatTo(server, ""))
	resp := s.ask(hello)
	if id := resp.Header.Get(headerStream); id != "" {
		t.Errorf("there is a stream %q", id)
	}
	if got := readAll(t, resp); anyID.MatchString(got) {
		t.Errorf("there is an id: %q", got)
	}
	wantError(t, s.get(t, nil, "?stream="+newStreamID()), http.StatusMethodNotAllowed, "method_not_allowed:chat")
}

// Who stops an answer stops the upstream, and all who listen are told.
func TestStop(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := serve(t, resumable(server, ""))
	resp := s.ask(saying("/drip 80 20ms /events 10000"))
	id := resp.Header.Get(headerStream)
	second := s.goOn(t, id, 0)
	takeEvents(t, s.goOn(t, id, 0), 3)
	if resp := s.request(t, http.MethodDelete, map[string]string{headerStream: id}, ""); resp.StatusCode != http.StatusNoContent {
		t.Errorf("got status %d", resp.StatusCode)
	}
	for _, resp := range []*http.Response{resp, second, s.goOn(t, id, 0)} {
		if last := onlyFinish(t, readAll(t, resp)); last.FinishReason != "stop" || last.Code != "stopped:visitor" || last.Error != "" {
			t.Errorf("got the finish %+v", last)
		}
	}
	asked := server.Request(t, 0)
	asked.Wait(t)
	if !asked.Canceled() {
		t.Error("the upstream goes on")
	}
	if resp := s.request(t, http.MethodDelete, map[string]string{headerStream: id}, ""); resp.StatusCode != http.StatusNoContent {
		t.Errorf("the second time, got status %d", resp.StatusCode)
	}
}

// An answer goes on for a while with nobody listening, and not for ever.
func TestGrace(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := serve(t, resumable(server, "grace 300ms"))
	resp := s.ask(saying("/drip 80 10ms /events 10000"))
	id := resp.Header.Get(headerStream)
	left := time.Now()
	takeEvents(t, resp, 1)
	asked := server.Request(t, 0)
	asked.Wait(t)
	if took := time.Since(left); took < 300*time.Millisecond {
		t.Errorf("the upstream was cancelled after %s", took)
	}
	if last := onlyFinish(t, readAll(t, s.goOn(t, id, 0))); last.Code != "abandoned:visitor" {
		t.Errorf("got the finish %+v", last)
	}
}

// A larger answer than is kept goes on for who listens, and is cancelled when they leave.
func TestMaxSize(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := serve(t, resumable(server, "max_size 4KiB"))
	resp := s.ask(saying("/drip 200 1ms /events 300"))
	id := resp.Header.Get(headerStream)
	if got := readAll(t, resp); strings.Count(withoutIDs(t, got, id, 1), "text-delta") != 300 {
		t.Errorf("got %d events of 300", strings.Count(got, "text-delta"))
	}
	wantError(t, s.goOn(t, id, 0), http.StatusNotFound, "not_found:stream")

	resp = s.ask(saying("/drip 200 1ms /events 100000"))
	takeEvents(t, resp, 100)
	asked := server.Request(t, 1)
	asked.Wait(t)
	if !asked.Canceled() {
		t.Error("the upstream goes on")
	}
}

// A reload loses no answer.
func TestResumeAfterReload(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	config := resumable(server, "")
	s := serve(t, config)
	resp := s.ask(saying("/drip 80 10ms /events 50"))
	id := resp.Header.Get(headerStream)
	all := takeEvents(t, resp, 5)
	s.reload(resumable(server, "grace 20s"))
	all += readAll(t, s.goOn(t, id, 5))
	withoutIDs(t, all, id, 1)
	if n := strings.Count(all, "text-delta"); n != 50 {
		t.Errorf("got %d of 50 events", n)
	}
}

// Whoever has lost a connection needs no second slot to come back, and who listens as well does.
func TestResumeWithinLimits(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := serve(t, chatTo(server, "resume\nmax_streams_per_client 1\nlimit 1 1h"))
	resp := s.ask(saying("/drip 80 10ms /events 1000"))
	id := resp.Header.Get(headerStream)
	wantError(t, s.goOn(t, id, 0), http.StatusTooManyRequests, "rate_limit:chat")
	takeEvents(t, resp, 3)
	eventually(t, "the visitor can come back", func() bool {
		resp := s.goOn(t, id, 3)
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	s.request(t, http.MethodDelete, map[string]string{headerStream: id}, "")
	eventually(t, "nothing is left", func() bool { return openExchangeCount() == 0 && takenSlots() == 0 })
	if resp := s.goOn(t, id, 0); resp.StatusCode != http.StatusOK {
		t.Errorf("got status %d", resp.StatusCode)
	} else {
		readAll(t, resp)
	}
}

// What is refused, or no stream, is as ever.
func TestResumableAnswersThatAreNoStreams(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := serve(t, chatTo(server, "resume\nretry {\n attempts 1\n}"))
	wantError(t, s.ask(saying("/status 400")), http.StatusBadRequest, "bad_request:chat")
	if resp := s.ask(saying("/json")); resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != typeJSON || resp.Header.Get(headerStream) != "" {
		t.Errorf("got status %d: %v", resp.StatusCode, resp.Header)
	} else if body := readAll(t, resp); !strings.HasPrefix(body, "{") {
		t.Errorf("got %q", body)
	}
	eventually(t, "nothing is left", func() bool { return openExchangeCount() == 0 && takenSlots() == 0 })
}
