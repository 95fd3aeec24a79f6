package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// Handlers with the same endpoint and token source share a cool-down. Those of later configs share it too.
func TestCoolDownIsShared(t *testing.T) {
	t.Setenv("TEST_TOKEN", sandbox.Token)
	t.Setenv("TEST_TOKEN_2", sandbox.Token)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	site := func(token, endpoint string) string {
		return fmt.Sprintf("illumichat {\ntoken %s\nassistants asst_demo\nendpoint %s\n%s\n}", token, endpoint, sitetest.Once)
	}
	handle := func(path, directive string) string { return fmt.Sprintf("handle %s {\n%s\n}\n", path, directive) }
	directives := handle("/first", site("{env.TEST_TOKEN}", server.URL)) +
		handle("/same", site("{env.TEST_TOKEN}", server.URL)) +
		handle("/token", site("{env.TEST_TOKEN_2}", server.URL)) +
		handle("/endpoint", site("{env.TEST_TOKEN}", server.URL+"/2")) +
		handle("/literal", site(sandbox.Token, server.URL))
	s := sitetest.Serve(t, directives)

	status := func(path, chat string) int {
		t.Helper()
		req := sitetest.ChatRequest(t, s.Plain, chat)
		req.URL.Path = path
		resp := s.Send(&http.Transport{DisableKeepAlives: true}, req)
		sitetest.ReadAll(t, resp)
		return resp.StatusCode
	}
	want := func(wanted map[string]int) {
		t.Helper()
		for path, want := range wanted {
			if got := status(path, sitetest.Hello); got != want {
				t.Errorf("%s: got status %d, want %d", path, got, want)
			}
		}
	}
	want(map[string]int{"/first": 200, "/same": 200, "/token": 200, "/endpoint": 200, "/literal": 200})
	if got := status("/first", sitetest.Saying("/status 429 1000000000")); got != http.StatusTooManyRequests {
		t.Fatalf("got status %d", got)
	}
	limited := map[string]int{"/first": 429, "/same": 429, "/token": 200, "/endpoint": 200, "/literal": 200}
	want(limited)
	s.Reload(directives)
	want(limited)
	s.Reload(handle("/first", site("{env.TEST_TOKEN}", server.URL)))
	s.Reload(handle("/new", site("{env.TEST_TOKEN}", server.URL)) + handle("/literal", site(sandbox.Token, server.URL)))
	want(map[string]int{"/new": 429, "/literal": 200})

	asked := len(server.Requests())
	want(map[string]int{"/new": 429})
	if got := len(server.Requests()); got != asked {
		t.Error("the upstream was asked during the cool-down")
	}
	if n := strings.Count(s.Log(), "the upstream limits the rate"); n != 1 {
		t.Errorf("the log tells %d times of one cool-down", n)
	}
}

// asking returns a chat with an assistant and one message.
func asking(assistant, text string) string {
	return strings.Replace(sitetest.Saying(text), sandbox.Assistant, assistant, 1)
}

// wantCoolDownsLogged checks that the log warns once of the cool-down of each assistant.
func wantCoolDownsLogged(t *testing.T, s *sitetest.Site, assistants ...string) {
	t.Helper()
	var got []string
	for line := range strings.Lines(s.Log()) {
		var told struct{ Level, Msg, Assistant string }
		if err := json.Unmarshal([]byte(line), &told); err != nil {
			t.Fatal(err)
		}
		if told.Level == "warn" && strings.Contains(told.Msg, "limits the rate") {
			got = append(got, told.Assistant)
		}
	}
	if !slices.Equal(got, assistants) {
		t.Errorf("the log names the cool-downs of %q, want %q", got, assistants)
	}
}

// One assistant's 429 holds back the chats with this assistant alone, by whatever name. Those with other assistants of the
// same endpoint and token are answered, beside its probe, too.
func TestCoolDownIsOneAssistants(t *testing.T) {
	t.Setenv("TEST_TOKEN", sandbox.Token)
	begin := make(chan struct{})
	var probes atomic.Int64
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(map[string]http.HandlerFunc{
		"Hello":   sitetest.Finishing,
		"limited": sitetest.Answering(http.StatusTooManyRequests, "", "Retry-After", "2"),
		"probe": func(w http.ResponseWriter, r *http.Request) {
			probes.Add(1)
			<-begin
			sitetest.Finishing(w, r)
		},
	}))
	block := func(path, assistants string) string {
		return fmt.Sprintf("illumichat %s {\ntoken {env.TEST_TOKEN}\n%s\nendpoint %s\n%s\n}\n", path, assistants, upstream.URL, sitetest.Once)
	}
	s := sitetest.Serve(t, block(sitetest.ChatPath, "alias sales asst_a\nalias vip asst_a\nalias support asst_b")+block("/other", "assistants asst_a"))
	send := func(path, chat string) *http.Response {
		t.Helper()
		req := sitetest.ChatRequest(t, s.Plain, chat)
		req.URL.Path = path
		return s.Send(sitetest.OneShot, req)
	}
	refused := func() {
		t.Helper()
		for _, resp := range []*http.Response{
			s.Ask(asking("sales", "Hello")), s.Ask(asking("vip", "Hello")), send("/other", asking("asst_a", "Hello")),
		} {
			sitetest.WantError(t, resp, http.StatusTooManyRequests, "rate_limit:chat")
			sitetest.CheckRetryAfter(t, resp.Header, []int{1, 2})
		}
	}
	wantLetIn(t, s.Ask(asking("support", "Hello")), "")
	began := time.Now()
	sitetest.WantError(t, s.Ask(asking("sales", "limited")), http.StatusTooManyRequests, "rate_limit:upstream")
	upstream.Take()
	refused()
	if asked := upstream.Take(); len(asked) != 0 {
		t.Errorf("the upstream was asked during the cool-down: %v", asked)
	}
	wantLetIn(t, s.Ask(asking("support", "Hello")), "")

	answered := make(chan int)
	go func() {
		for {
			resp, err := sitetest.OneShot.RoundTrip(sitetest.ChatRequest(t, s.Plain, asking("vip", "probe")))
			if err != nil {
				t.Error(err)
				close(answered)
				return
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusTooManyRequests {
				answered <- resp.StatusCode
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	sitetest.Eventually(t, "the probe goes", func() bool { return probes.Load() == 1 })
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("the probe went after %s", took)
	}
	refused()
	wantLetIn(t, s.Ask(asking("support", "Hello")), "")
	close(begin)
	if status := <-answered; status != http.StatusOK {
		t.Errorf("the probe got status %d", status)
	}
	for _, resp := range []*http.Response{
		s.Ask(asking("sales", "Hello")), s.Ask(asking("vip", "Hello")), send("/other", asking("asst_a", "Hello")),
	} {
		wantLetIn(t, resp, "")
	}
	wantCoolDownsLogged(t, s, "asst_a")
}

// The log names each assistant whose cool-down begins, and the admin endpoint shows the cool-downs of a handler's own
// assistants.
func TestCoolDownsAreShown(t *testing.T) {
	t.Setenv("TEST_TOKEN", sandbox.Token)
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(map[string]http.HandlerFunc{
		"short": sitetest.Answering(http.StatusTooManyRequests, "", "Retry-After", "1000"),
		"long":  sitetest.Answering(http.StatusTooManyRequests, "", "Retry-After", "2000"),
	}))
	block := func(path, assistants string) string {
		return fmt.Sprintf("illumichat %s {\ntoken {env.TEST_TOKEN}\n%s\nendpoint %s\n%s\n}\n", path, assistants, upstream.URL, sitetest.Once)
	}
	s := sitetest.New(t, "")
	p := sitetest.Run(t, s, block(sitetest.ChatPath, "assistants asst_a asst_b\nalias c asst_c")+block("/b", "assistants asst_b asst_d")+
		block("/none", "assistants asst_d")+block("/any", "assistants *"))
	for _, chat := range [][2]string{{"asst_a", "long"}, {"asst_b", "short"}, {"c", "short"}} {
		sitetest.WantError(t, s.AskAs("", asking(chat[0], chat[1])), http.StatusTooManyRequests, "rate_limit:upstream")
	}
	want := map[string]string{ // by the handlers' assistants
		"asst_a asst_b": "asst_a asst_b asst_c",
		"asst_b asst_d": "asst_b",
		"asst_d":        "",
		"*":             "asst_a asst_b asst_c",
	}
	list := adminList(t, p)
	if len(list) < len(want) {
		t.Fatalf("%d handlers are listed", len(list))
	}
	for _, got := range list {
		handler := strings.Join(got.Assistants, " ")
		if ids := strings.Join(slices.Sorted(maps.Keys(got.CoolDowns)), " "); ids != want[handler] {
			t.Errorf("%s: got the cool-downs of %q, want %q", handler, ids, want[handler])
		}
		longest := 0.0
		for id, left := range got.CoolDowns {
			longest = max(longest, left)
			if long := id == "asst_a"; left > 2000 || left < 900 || long != (left > 1000) {
				t.Errorf("%s: the cool-down of %s lasts %v s", handler, id, left)
			}
		}
		if got.CoolDown != longest {
			t.Errorf("%s: the longest cool-down lasts %v s, want %v", handler, got.CoolDown, longest)
		}
	}
	wantCoolDownsLogged(t, s, "asst_a", "asst_b", "asst_c")
	p.Exit(t)
	p.Wait(t)
}

// Visitors may choose any assistant: each has a cool-down of its own, however long its id.
func TestCoolDownOfAnyAssistant(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(map[string]http.HandlerFunc{
		"Hello":   sitetest.Finishing,
		"limited": sitetest.Answering(http.StatusTooManyRequests, "", "Retry-After", "1000"),
	}))
	directive := sitetest.ChatToURL(upstream.URL, sitetest.Once)
	s := sitetest.Serve(t, strings.Replace(directive, "assistants asst_demo", "assistants *", 1))
	long := strings.Repeat("x", 1000)
	for _, assistant := range []string{"asst_one", long + "1"} {
		sitetest.WantError(t, s.Ask(asking(assistant, "limited")), http.StatusTooManyRequests, "rate_limit:upstream")
		sitetest.WantError(t, s.Ask(asking(assistant, "Hello")), http.StatusTooManyRequests, "rate_limit:chat")
	}
	for _, assistant := range []string{"asst_two", long + "2"} {
		wantLetIn(t, s.Ask(asking(assistant, "Hello")), "")
	}
}
