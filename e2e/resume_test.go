package e2e

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// unknownID has the form of an answer's id, but no answer has it.
const unknownID = "AAAAAAAAAAAAAAAAAAAAAA"

// withoutIDs returns a stream without its id lines, as the upstream sent it. It checks that these number the events
// from first on.
func withoutIDs(t *testing.T, stream, id string, first int) string {
	t.Helper()
	n := first - 1
	return sitetest.AnyID.ReplaceAllStringFunc(stream, func(line string) string {
		n++
		if want := fmt.Sprintf("id: %s:%d", id, n); strings.TrimRight(line, "\r\n") != want {
			t.Errorf("got %q, want %q", line, want)
		}
		return ""
	})
}

// resumable returns the directive of a chat whose answers can be resumed, with subdirectives of resume.
func resumable(server *sandboxtest.Server, subdirectives string) string {
	return sitetest.ChatTo(server, "resume {\n"+subdirectives+"\n}")
}

// takeEvents reads n events of an answer, leaves and returns them.
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

// Every event has its number, and all other bytes are the upstream's, however lines end and wherever the stream is cut.
func TestEventsHaveNumbers(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, resumable(server, ""))
	resp := s.Ask(sitetest.Hello)
	chatID := resp.Header.Get("X-Chat-Id")
	sitetest.ReadAll(t, resp)
	for _, command := range []string{
		"/events 20", "/comments 2 /events 20", "/crlf /events 20", "/cr /events 20", "/chunk 1 /crlf /events 20", "/chunk 7 /cr /events 20",
		"/burst 10 /events 95", "/large 4000", "/chunk 1000 /crlf /large 300000",
	} {
		chat := strings.Replace(sitetest.Saying(command), "{", `{"chatId":"`+chatID+`",`, 1)
		want := askSandbox(t, server, chat)
		resp := s.Ask(chat)
		id := resp.Header.Get("Illumichat-Stream")
		got := sitetest.ReadAll(t, resp)
		if bare := withoutIDs(t, got, id, 1); bare != want {
			t.Errorf("%s: the answer differs from the upstream's: %s", command, sitetest.FirstDifference(bare, want))
		}
		// A visitor who resumes gets the same bytes, after any event.
		for after := range strings.Count(got, "id: "+id) {
			resp := s.GoOn(t, id, after)
			rest := sitetest.ReadAll(t, resp)
			if !strings.HasSuffix(got, rest) || strings.Count(rest, "id: "+id) != strings.Count(got, "id: "+id)-after {
				t.Fatalf("%s: after event %d there are %d events: %.200q", command, after, strings.Count(rest, "id: "+id), rest)
			}
		}
	}
}

// A visitor can resume an answer after any event, without a gap or a repeat, while it is written and when it is
// complete.
func TestResume(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, resumable(server, ""))
	resp := s.Ask(sitetest.Saying("/drip 80 10ms /events 60"))
	id := resp.Header.Get("Illumichat-Stream")
	all := takeEvents(t, resp, 5)
	for at := 5; at < 50; at += 5 {
		resp := s.GoOn(t, id, at)
		if got := resp.Header.Get("Illumichat-Stream"); resp.StatusCode != http.StatusOK || got != id || resp.Header.Get("X-Chat-Id") == "" {
			t.Fatalf("got status %d for stream %q: %v", resp.StatusCode, got, resp.Header)
		}
		all += takeEvents(t, resp, 5)
	}
	all += sitetest.ReadAll(t, s.Get(t, nil, "?stream="+id+"&after=50"))
	sitetest.OnlyFinish(t, all)
	withoutIDs(t, all, id, 1)
	if n := strings.Count(all, "text-delta"); n != 60 {
		t.Errorf("got %d of 60 events", n)
	}
	if again := sitetest.ReadAll(t, s.Get(t, nil, "?stream="+id)); again != all {
		t.Errorf("the whole stream differs: %s", sitetest.FirstDifference(again, all))
	}
	last := strings.Count(all, "id: "+id)
	if resp := s.GoOn(t, id, last); resp.StatusCode != http.StatusNoContent {
		t.Errorf("after the last event, got status %d", resp.StatusCode)
	}
	if asked := server.Request(t, 0); asked.Canceled() {
		t.Error("the upstream was cancelled")
	}
}

// An answer that is unknown, no longer kept or another owner's gets the same 404. A request that does not say which
// answer it means gets a 400.
func TestResumeOfNothing(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, resumable(server, "keep 1s\nowner {http.request.header.X-User}"))
	if id := s.Ask(sitetest.Hello).Header.Get("Illumichat-Stream"); id != "" {
		t.Errorf("an answer that is nobody's has the id %q", id)
	}
	ask := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
	ask.Header.Set("X-User", "somebody")
	resp := s.Send(http.DefaultTransport, ask)
	id := resp.Header.Get("Illumichat-Stream")
	sitetest.ReadAll(t, resp)
	if resp := s.Get(t, map[string]string{"Last-Event-ID": id + ":1", "X-User": "somebody"}, ""); resp.StatusCode != http.StatusOK || resp.Header.Get("Cache-Control") != "no-store, no-transform" {
		t.Errorf("got status %d and %v", resp.StatusCode, resp.Header)
	}
	sitetest.WantError(t, s.GoOn(t, id, 1), http.StatusNotFound, "not_found:stream")
	sitetest.WantError(t, s.Get(t, map[string]string{"Last-Event-ID": id + ":1", "X-User": "another"}, ""), http.StatusNotFound, "not_found:stream")
	sitetest.WantError(t, s.Request(t, http.MethodDelete, map[string]string{"Illumichat-Stream": id, "X-User": "another"}, ""), http.StatusNotFound, "not_found:stream")
	sitetest.WantError(t, s.GoOn(t, unknownID, 1), http.StatusNotFound, "not_found:stream")
	sitetest.Eventually(t, "the answer is forgotten", func() bool {
		return s.Get(t, map[string]string{"Last-Event-ID": id + ":1", "X-User": "somebody"}, "").StatusCode == http.StatusNotFound
	})

	for _, query := range []string{"", "?after=3", "?stream=" + id + "&after=x", "?stream=" + id + "&after=-1"} {
		sitetest.WantError(t, s.Get(t, nil, query), http.StatusBadRequest, "bad_request:stream")
	}
	sitetest.WantError(t, s.Get(t, map[string]string{"Last-Event-ID": id}, ""), http.StatusBadRequest, "bad_request:stream")
	sitetest.WantError(t, s.Request(t, http.MethodDelete, nil, ""), http.StatusBadRequest, "bad_request:stream")
	sitetest.WantError(t, s.Request(t, http.MethodPut, nil, ""), http.StatusMethodNotAllowed, "method_not_allowed:chat")
	evil := map[string]string{"Last-Event-ID": id + ":1", "Origin": "https://evil.example"}
	sitetest.WantError(t, s.Get(t, evil, ""), http.StatusForbidden, "forbidden:origin")
}

// An owner that tells no visitor apart is refused, and so is one that a request that resumes an answer does not have.
func TestOwnersThatTellNoVisitorApartAreRefused(t *testing.T) {
	for _, owner := range []string{
		"{http.request.host}", "{host}", "{http.request.hostport}", "{http.request.host.labels.0}", "{http.request.port}", "{http.request.scheme}x", "{http.request.method}",
		"{http.request.orig_method}", "{http.request.uri}", "{uri}", "{http.request.uri.path}", "{path}", "{http.request.uri.path.file}", "{http.request.uri.path.dir}",
		"{http.request.uri.path.file.base}", "{http.request.uri.query}", "{http.request.uri.prefixed_query}", "{http.request.orig_uri}", "{http.request.orig_uri.path}",
		"{http.request.orig_uri.query}", "{http.request.proto}", "{http.request.proto_name}", "{http.request.local}", "{http.request.local.host}", "{http.request.remote}",
		"{http.request.remote.port}", "{http.request.uuid}", "{http.request.duration}", "{http.request.duration_ms}", "{http.request.body}", "{http.request.body_base64}",
		"{http.request.tls.version}", "{http.request.tls.cipher_suite}", "{http.request.tls.server_name}", "{http.request.tls.resumed}", "{http.request.tls.client.issuer}",
		"{http.request.header.Host}", "{http.request.header.origin}", "{http.response.header.Server}", "{http.vars.root}", "{http.vars.start_time}",
		"{http.illumichat.assistant}", "{http.error.message}", "{http.reverse_proxy.upstream.host}", "{http.shutting_down}", "{http.time_until_shutdown}",
		"{time.now}", "{time.now.unix}", "{system.hostname}", "{env.TEST_SITE}", `"{host} {method}"`, `"{http.auth.user.id} {http.request.uuid}"`,
		`"{http.auth.user.id} {method}"`,
	} {
		err := loadError(t, ":80 {\nillumichat {\ntoken "+sandbox.Token+"\nassistants asst_demo\nresume {\nowner "+owner+"\n}\n}\n}")
		if err == nil || !strings.Contains(err.Error(), "{http.auth.user.id}") || !strings.Contains(err.Error(), "owner") {
			t.Errorf("owner %s: got %v", owner, err)
		}
	}
	for _, owner := range []string{
		"{http.auth.user.id}", "{http.auth.user.email}", "{cookie.session}", "{header.X-User}", "{client_ip}", "{remote_host}", "{http.request.remote.host/24}", "{vars.tenant}",
		"{http.request.uri.query.session}", "{http.request.uri.path.1}", "{http.request.tls.client.fingerprint}", "{http.request.tls.client.subject}",
		"{http.request.tls.client.san.emails.0}", "{http.reverse_proxy.header.X-User}", "{http.regexp.user.1}", "{http.another.module}", `"{host} {http.auth.user.id}"`,
	} {
		if err := loadError(t, ":80 {\nillumichat {\ntoken "+sandbox.Token+"\nassistants asst_demo\nresume {\nowner "+owner+"\n}\n}\n}"); err != nil {
			t.Errorf("owner %s: %v", owner, err)
		}
	}
}

// Where a login is optional, chats without a user are usual: the log says at info that their answers cannot be resumed.
func TestChatsWithoutAnOwnerAreNoWarning(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, resumable(server, "owner {http.request.header.X-User}"))
	sitetest.ReadAll(t, s.Ask(sitetest.Hello))
	wantTold(t, s, "warn", "has no owner", 0)
	wantTold(t, s, "info", "has no owner", 1)
}

// An owner is one visitor: a text that is the same for all visitors is refused. If any placeholder of the owner is
// empty, the answer cannot be resumed, so nobody else can read it.
func TestOwnerIsOneVisitor(t *testing.T) {
	t.Setenv("TEST_SITE", "site")
	for _, owner := range []string{"http.auth.user.id", "me", `"u:http.auth.user.id"`, "{env.TEST_SITE}", `"\{http.auth.user.id\}"`, `"{http.auth.user.id"`} {
		err := loadError(t, ":80 {\nillumichat {\ntoken "+sandbox.Token+"\nassistants asst_demo\nresume {\nowner "+owner+"\n}\n}\n}")
		if err == nil || !strings.Contains(err.Error(), "owner") {
			t.Errorf("owner %s: got %v", owner, err)
		}
	}

	server := sandboxtest.NewServer(t, sandbox.Options{})
	for _, owner := range []string{
		`"u:{http.request.header.X-User}"`, "{env.TEST_SITE}{http.request.header.X-User}", "{http.request.header.X-Tenant}{http.request.header.X-User}",
	} {
		s := sitetest.Serve(t, resumable(server, "owner "+owner))
		ask := func(tenant, user string) string {
			req := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
			for name, value := range map[string]string{"X-Tenant": tenant, "X-User": user} {
				if value != "" {
					req.Header.Set(name, value)
				}
			}
			resp := s.Send(sitetest.OneShot, req)
			sitetest.ReadAll(t, resp)
			return resp.Header.Get("Illumichat-Stream")
		}
		if id := ask("acme", ""); id != "" {
			t.Errorf("owner %s: an answer that is nobody's has the id %q", owner, id)
		}
		id := ask("acme", "anna")
		for _, test := range []struct {
			tenant, user string
			want         int
		}{
			{"acme", "anna", http.StatusOK},
			{"acme", "", http.StatusNotFound},
			{"acme", "bert", http.StatusNotFound},
			{"acmea", "nna", http.StatusNotFound}, // the same letters
			{"acm", "eanna", http.StatusNotFound},
		} {
			resp := s.Get(t, map[string]string{"Last-Event-ID": id + ":1", "X-Tenant": test.tenant, "X-User": test.user}, "")
			if resp.StatusCode != test.want {
				t.Errorf("owner %s: %s of %s got status %d, want %d", owner, test.user, test.tenant, resp.StatusCode, test.want)
			}
		}
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// Without resume, answers and events have no ids, and a GET is refused.
func TestWithoutResume(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, ""))
	resp := s.Ask(sitetest.Hello)
	if id := resp.Header.Get("Illumichat-Stream"); id != "" {
		t.Errorf("there is a stream %q", id)
	}
	if got := sitetest.ReadAll(t, resp); sitetest.AnyID.MatchString(got) {
		t.Errorf("there is an id: %q", got)
	}
	sitetest.WantError(t, s.Get(t, nil, "?stream="+unknownID), http.StatusMethodNotAllowed, "method_not_allowed:chat")
}

// A visitor who stops an answer cancels the upstream request, and all listeners get a finish that says so.
func TestStop(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, resumable(server, ""))
	resp := s.Ask(sitetest.Saying("/drip 80 20ms /events 10000"))
	id := resp.Header.Get("Illumichat-Stream")
	second := s.GoOn(t, id, 0)
	takeEvents(t, s.GoOn(t, id, 0), 3)
	if resp := s.Request(t, http.MethodDelete, map[string]string{"Illumichat-Stream": id}, ""); resp.StatusCode != http.StatusNoContent {
		t.Errorf("got status %d", resp.StatusCode)
	}
	for _, resp := range []*http.Response{resp, second, s.GoOn(t, id, 0)} {
		if last := sitetest.OnlyFinish(t, sitetest.ReadAll(t, resp)); last.FinishReason != "stop" || last.Code != "stopped:visitor" || last.Error != "" {
			t.Errorf("got the finish %+v", last)
		}
	}
	asked := server.Request(t, 0)
	asked.Wait(t)
	if !asked.Canceled() {
		t.Error("the upstream goes on")
	}
	if resp := s.Request(t, http.MethodDelete, map[string]string{"Illumichat-Stream": id}, ""); resp.StatusCode != http.StatusNoContent {
		t.Errorf("the second time, got status %d", resp.StatusCode)
	}
}

// An answer without listeners goes on for the grace time. Then the upstream request is canceled.
func TestGrace(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, resumable(server, "grace 300ms"))
	resp := s.Ask(sitetest.Saying("/drip 80 10ms /events 10000"))
	id := resp.Header.Get("Illumichat-Stream")
	left := time.Now()
	takeEvents(t, resp, 1)
	asked := server.Request(t, 0)
	asked.Wait(t)
	if took := time.Since(left); took < 300*time.Millisecond {
		t.Errorf("the upstream was cancelled after %s", took)
	}
	if last := sitetest.OnlyFinish(t, sitetest.ReadAll(t, s.GoOn(t, id, 0))); last.Code != "abandoned:visitor" {
		t.Errorf("got the finish %+v", last)
	}
}

// An answer larger than max_size goes on for its listeners, but can no longer be resumed. When they leave, the upstream
// request is canceled.
func TestMaxSize(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, resumable(server, "max_size 4KiB"))
	resp := s.Ask(sitetest.Saying("/drip 200 1ms /events 300"))
	id := resp.Header.Get("Illumichat-Stream")
	if got := sitetest.ReadAll(t, resp); strings.Count(withoutIDs(t, got, id, 1), "text-delta") != 300 {
		t.Errorf("got %d events of 300", strings.Count(got, "text-delta"))
	}
	sitetest.WantError(t, s.GoOn(t, id, 0), http.StatusNotFound, "not_found:stream")

	resp = s.Ask(sitetest.Saying("/drip 200 1ms /events 100000"))
	takeEvents(t, resp, 100)
	asked := server.Request(t, 1)
	asked.Wait(t)
	if !asked.Canceled() {
		t.Error("the upstream goes on")
	}
}

// A visitor can resume an answer after a reload.
func TestResumeAfterReload(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	config := resumable(server, "")
	s := sitetest.Serve(t, config)
	resp := s.Ask(sitetest.Saying("/drip 80 10ms /events 50"))
	id := resp.Header.Get("Illumichat-Stream")
	all := takeEvents(t, resp, 5)
	s.Reload(resumable(server, "grace 20s"))
	all += sitetest.ReadAll(t, s.GoOn(t, id, 5))
	withoutIDs(t, all, id, 1)
	if n := strings.Count(all, "text-delta"); n != 50 {
		t.Errorf("got %d of 50 events", n)
	}
}

// A visitor who has lost a connection needs no second slot to resume, even if the server has not noticed the loss.
// Further listeners do need one.
func TestResumeWithinLimits(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, "resume\nmax_streams_per_client 1\nlimit 1 1h"))
	resp := s.Ask(sitetest.Saying("/drip 80 10ms /events 1000"))
	id := resp.Header.Get("Illumichat-Stream")
	second := s.GoOn(t, id, 0)
	if second.StatusCode != http.StatusOK {
		t.Errorf("got status %d", second.StatusCode)
	}
	sitetest.WantError(t, s.GoOn(t, id, 0), http.StatusTooManyRequests, "rate_limit:chat")
	takeEvents(t, second, 3)
	takeEvents(t, resp, 3)
	sitetest.Eventually(t, "the visitor can come back", func() bool {
		resp := s.GoOn(t, id, 3)
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	s.Request(t, http.MethodDelete, map[string]string{"Illumichat-Stream": id}, "")
	sitetest.Eventually(t, "nothing is left", func() bool { return openExchangeCount() == 0 && takenSlots() == 0 })
	if resp := s.GoOn(t, id, 0); resp.StatusCode != http.StatusOK {
		t.Errorf("got status %d", resp.StatusCode)
	} else {
		sitetest.ReadAll(t, resp)
	}
}

// With resume, errors are the same as without it. An answer in JSON is the same, too, and can be read again.
func TestResumableAnswersThatAreNoStreams(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, "resume\nretry {\n attempts 1\n}"))
	sitetest.WantError(t, s.Ask(sitetest.Saying("/status 400")), http.StatusBadRequest, "bad_request:chat")
	if resp := s.Ask(sitetest.Saying("/json")); resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Illumichat-Stream") == "" {
		t.Errorf("got status %d: %v", resp.StatusCode, resp.Header)
	} else {
		body := sitetest.ReadAll(t, resp)
		again := s.GoOn(t, resp.Header.Get("Illumichat-Stream"), 0)
		if got := sitetest.ReadAll(t, again); !strings.HasPrefix(body, "{") || got != body || again.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %q, and then %q with %v", body, got, again.Header)
		}
	}
	sitetest.Eventually(t, "nothing is left", func() bool { return openExchangeCount() == 0 && takenSlots() == 0 })
}

// Visitors whose connections are cut at random moments get each event exactly once, and nothing is left of them.
func TestResumeAtRandom(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, "resume"))
	resumeAtRandom(t, s.Ask, func(id string, after int) *http.Response { return s.GoOn(t, id, after) })
	sitetest.Eventually(t, "nothing is left", func() bool { return openExchangeCount() == 0 && takenSlots() == 0 })
}

// resumeAtRandom cuts visitors off at random moments, at least a thousand times in all. Each time, goOn resumes after
// the last complete event.
func resumeAtRandom(t *testing.T, ask func(chat string) *http.Response, goOn func(id string, after int) *http.Response) {
	t.Helper()
	const visitors, events = 25, 120
	var resumes atomic.Int32
	var wg sync.WaitGroup
	for i := range visitors {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 2))
			resp := ask(sitetest.Saying(fmt.Sprintf("/drip %d 1ms /events %d", 1+random.IntN(300), events)))
			id := resp.Header.Get("Illumichat-Stream")
			all, at := "", 0
			for {
				got, whole := cutOff(resp, random.IntN(400))
				all += got
				at += strings.Count(got, "\n\n")
				if whole {
					break
				}
				resumes.Add(1)
				if resp = goOn(id, at); resp.StatusCode == http.StatusNoContent {
					break
				}
			}
			sitetest.OnlyFinish(t, all)
			if n := strings.Count(withoutIDs(t, all, id, 1), "text-delta"); n != events {
				t.Errorf("visitor %d got %d of %d events", i, n, events)
			}
		})
	}
	wg.Wait()
	if n := resumes.Load(); n < 1000 {
		t.Errorf("there were %d resumes", n)
	}
}

// cutOff reads n bytes of an answer and leaves. It returns the complete events that it read, and whether the answer had
// ended.
func cutOff(resp *http.Response, n int) (got string, whole bool) {
	defer resp.Body.Close()
	p := make([]byte, n)
	read, err := io.ReadFull(resp.Body, p)
	got = string(p[:read])
	if err != nil && n > 0 {
		return got, true
	}
	return got[:strings.LastIndex("\n\n"+got, "\n\n")], false
}

// An answer can be resumed over each protocol.
func TestResumeOverProtocols(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.ServeWith(t, "grace_period 1ms", sitetest.ChatTo(server, "resume"))
	for protocol, transport := range sitetest.Protocols(t) {
		resp := s.Send(transport, sitetest.ChatRequest(t, s.Secure, sitetest.Saying("/drip 80 5ms /events 40")))
		id := resp.Header.Get("Illumichat-Stream")
		all := takeEvents(t, resp, 5)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Secure+sitetest.ChatPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Last-Event-ID", id+":5")
		resp = s.Send(transport, req)
		if resp.Proto != protocol {
			t.Errorf("asked by %s, want %s", resp.Proto, protocol)
		}
		all += sitetest.ReadAll(t, resp)
		if n := strings.Count(withoutIDs(t, all, id, 1), "text-delta"); n != 40 {
			t.Errorf("%s: got %d of 40 events", protocol, n)
		}
	}
}

// A listener who does not read is given up after write_timeout, as the visitor who asked would be. Other listeners do
// not wait for them.
func TestListenerWhoDoesNotRead(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.ServeWith(t, "grace_period 1ms", sitetest.ChatTo(server, "write_timeout 300ms\nresume {\nmax_size 64MiB\nmax_total 64MiB\n}"))
	resp := s.Ask(sitetest.Saying("/large 16000000"))
	id := resp.Header.Get("Illumichat-Stream")
	deaf := make(map[string]*http.Response)
	for protocol, transport := range sitetest.Protocols(t) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Secure+sitetest.ChatPath+"?stream="+id, nil)
		if err != nil {
			t.Fatal(err)
		}
		deaf[protocol] = s.Send(transport, req)
	}
	if got := sitetest.ReadAll(t, resp); len(got) < 16_000_000 {
		t.Errorf("the first visitor got %d bytes", len(got))
	}
	sitetest.Eventually(t, "the others are given up", func() bool { return takenSlots() == 0 })
	for protocol, resp := range deaf {
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: the answer looks complete to the visitor", protocol)
		}
	}
}

// Nobody waits for a visitor who asked and does not read: neither a listener who was there before, nor one who comes while
// a write to that visitor blocks.
func TestVisitorWhoAskedDoesNotRead(t *testing.T) {
	for protocol, transport := range sitetest.Protocols(t) {
		t.Run(protocol, func(t *testing.T) {
			u := sitetest.NewHandUpstream(t)
			s := sitetest.ServeWith(t, "grace_period 1ms", sitetest.ChatToURL(u.URL, "write_timeout 1h\nheartbeat off\nresume {\nmax_size 64MiB\nmax_total 64MiB\n}"))
			c := sitetest.Converse(t, u, transport, sitetest.ChatRequest(t, s.Secure, sitetest.Hello))
			id := c.Response.Header.Get("Illumichat-Stream")
			large := "data: " + strings.Repeat("x", 1<<20) + "\n\n"
			before := s.GoOn(t, id, 1)
			rest := make(chan struct{})
			go func() {
				defer close(rest)
				for range 8 {
					c.Upstream.Say(t, large)
				}
				c.Upstream.Say(t, sitetest.Finish)
				c.Upstream.End()
			}()
			for _, listener := range []*http.Response{before, s.GoOn(t, id, 1)} {
				got := sitetest.ReadAll(t, listener)
				sitetest.OnlyFinish(t, strings.ReplaceAll(got, large[6:len(large)-2], `""`))
				if len(got) < 8<<20 {
					t.Errorf("a listener got %d bytes", len(got))
				}
			}
			<-rest
		})
	}
}

// A listener who comes while the only other visitor does not read gets the answer without waiting for that one.
func TestListenerComesWhileAWriteBlocks(t *testing.T) {
	upstream := serveAnswer(t, longAnswer())
	s := sitetest.ServeWith(t, "grace_period 1ms", sitetest.ChatToURL(upstream, "write_timeout 1h\nheartbeat off\nresume {\nmax_size 256MiB\nmax_total 256MiB\n}"))
	resp := s.Ask(sitetest.Hello) // which is not read
	id := resp.Header.Get("Illumichat-Stream")
	time.Sleep(200 * time.Millisecond) // until the connection's buffers are full; if they are not, the test proves less
	if got := sitetest.ReadAll(t, s.GoOn(t, id, 0)); len(got) < len(longAnswer()) {
		t.Errorf("the listener got %d of %d bytes", len(got), len(longAnswer()))
	}
}

// Listeners get heartbeats while the answer is silent, and the response headers after commit_after. Heartbeats are not
// kept.
func TestListenersHearHeartbeats(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, "heartbeat 50ms\ncommit_after 50ms\nresume"))
	resp := s.Ask(sitetest.Saying("/slow-first 400ms /events 1"))
	id := resp.Header.Get("Illumichat-Stream")
	second := s.GoOn(t, id, 0)
	for _, resp := range []*http.Response{resp, second} {
		got := sitetest.ReadAll(t, resp)
		if strings.Count(got, ":\n\n") < 3 {
			t.Errorf("got %q", got)
		}
		sitetest.OnlyFinish(t, got)
	}
	if again := sitetest.ReadAll(t, s.GoOn(t, id, 0)); strings.Contains(again, ":\n\n") {
		t.Errorf("the heartbeats are kept: %q", again)
	}
}

// An answer that can be resumed has the same time limits as any other.
func TestResumableAnswersThatTakeTooLong(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	for _, test := range []struct{ subdirectives, command, code string }{
		{"idle_timeout 200ms", "/stall 2", "stalled:upstream"},
		{"max_duration 300ms", "/drip 80 20ms /events 1000", "max_duration:upstream"},
		{"commit_after 50ms\nresponse_timeout 200ms", "/hang", "timeout:upstream"},
	} {
		s := sitetest.Serve(t, sitetest.ChatTo(server, "resume\n"+test.subdirectives))
		if last := sitetest.OnlyFinish(t, sitetest.ReadAll(t, s.Ask(sitetest.Saying(test.command)))); last.Code != test.code {
			t.Errorf("%s: got the finish %+v", test.code, last)
		}
	}
	s := sitetest.Serve(t, sitetest.ChatTo(server, "resume\nresponse_timeout 200ms\nretry {\n attempts 1\n}"))
	sitetest.WantError(t, s.Ask(sitetest.Saying("/silent")), http.StatusGatewayTimeout, "timeout:upstream")
}

// A page of another origin that is allowed can resume an answer, and its preflights for GET and DELETE succeed.
func TestResumeOfAnotherOrigin(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, "resume\nallow_origins https://www.example.com"))
	resp := s.Ask(sitetest.Hello)
	id := resp.Header.Get("Illumichat-Stream")
	sitetest.ReadAll(t, resp)
	origin := map[string]string{"Origin": "https://www.example.com", "Sec-Fetch-Site": "cross-site"}
	for method, field := range map[string]string{http.MethodGet: "last-event-id", http.MethodDelete: "illumichat-stream"} {
		preflight := maps.Clone(origin)
		preflight["Access-Control-Request-Method"], preflight["Access-Control-Request-Headers"] = method, field
		resp := s.Request(t, http.MethodOptions, preflight, "")
		if resp.StatusCode != http.StatusNoContent || resp.Header.Get("Access-Control-Allow-Methods") != method ||
			!strings.EqualFold(resp.Header.Get("Access-Control-Allow-Headers"), field) {
			t.Errorf("%s: got status %d and %v", method, resp.StatusCode, resp.Header)
		}
	}
	origin["Last-Event-ID"] = id + ":0"
	resp = s.Get(t, origin, "")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Access-Control-Allow-Origin") != "https://www.example.com" {
		t.Errorf("got status %d and %v", resp.StatusCode, resp.Header)
	}
	sitetest.OnlyFinish(t, sitetest.ReadAll(t, resp))
}

// serveAnswer starts an upstream that gives every chat the same answer, and returns its URL.
func serveAnswer(t *testing.T, answer string) string {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(upstream.Close)
	return upstream.URL
}

// An answer arrives whole even if it is larger than max_size and comes faster than its visitor reads.
func TestRushOfMoreThanIsKept(t *testing.T) {
	answer := strings.Repeat(sitetest.Delta, 3000) + sitetest.Finish
	s := sitetest.Serve(t, sitetest.ChatToURL(serveAnswer(t, answer), "resume {\nmax_size 1KiB\n}"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 3 {
				if got := sitetest.AnyID.ReplaceAllString(sitetest.ReadAll(t, s.Ask(sitetest.Hello)), ""); got != answer {
					t.Errorf("the answer differs: %s", sitetest.FirstDifference(got, answer))
				}
			}
		})
	}
	wg.Wait()
	sitetest.Eventually(t, "nothing is left", func() bool { return openExchangeCount() == 0 && takenSlots() == 0 })
}

// A visitor who still reads after the upstream has finished takes up a slot.
func TestSlowListenerHasASlot(t *testing.T) {
	s := sitetest.Serve(t, sitetest.ChatToURL(serveAnswer(t, strings.Repeat(`data: "`+strings.Repeat("x", 8000)+"\"\n\n", 5000)+sitetest.Finish), "max_streams_per_client 1\nresume {\nmax_size 90MiB\nmax_total 90MiB\n}"))
	slow := s.Ask(sitetest.Hello)
	sitetest.Eventually(t, "the upstream has sent all", func() bool { return openExchangeCount() == 0 })
	sitetest.WantError(t, s.Ask(sitetest.Hello), http.StatusTooManyRequests, "rate_limit:chat")
	sitetest.OnlyFinish(t, sitetest.ReadAll(t, slow))
	sitetest.Eventually(t, "the slot is free", func() bool { return takenSlots() == 0 })
}

// A comment between events is not part of an event, so heartbeats can follow it. A byte order mark is not recorded,
// because it would have to come first for each visitor.
func TestRecordedCommentsAndByteOrderMark(t *testing.T) {
	end := make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "\xEF\xBB\xBF"+sitetest.Delta+": a comment\n\n")
		_ = http.NewResponseController(w).Flush()
		<-end
		_, _ = io.WriteString(w, sitetest.Finish+": another\n\n")
	}))
	t.Cleanup(upstream.Close)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "heartbeat 20ms\nresume"))
	resp := s.Ask(sitetest.Hello)
	id := resp.Header.Get("Illumichat-Stream")
	r := bufio.NewReader(resp.Body)
	var got strings.Builder
	for !strings.HasSuffix(got.String(), ": a comment\n\n:\n\n:\n\n") {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %q", err, got.String())
		}
		got.WriteString(line)
	}
	if !strings.HasPrefix(got.String(), "data: ") {
		t.Errorf("got %q", got.String())
	}
	close(end)
	_, _ = io.Copy(io.Discard, r)
	if resp := s.GoOn(t, id, 2); resp.StatusCode != http.StatusNoContent || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("after the last event, got status %d and %v", resp.StatusCode, resp.Header)
	}
}

// An answer that is stopped after its finish gets no second one.
func TestStopAfterTheFinish(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, sitetest.Delta+sitetest.Finish)
		_ = http.NewResponseController(w).Flush()
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, sitetest.Delta)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Millisecond)
		}
	}))
	t.Cleanup(upstream.Close)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "resume"))
	resp := s.Ask(sitetest.Hello)
	id := resp.Header.Get("Illumichat-Stream")
	takeEvents(t, s.GoOn(t, id, 0), 2)
	s.Request(t, http.MethodDelete, map[string]string{"Illumichat-Stream": id}, "")
	if all := sitetest.ReadAll(t, resp); strings.Count(all, `"finish"`) != 1 {
		t.Errorf("got %q", all)
	}
}
