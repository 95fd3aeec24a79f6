package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

const quickTries = "retry {\nattempts 3\nbackoff 1ms\n}"

// Once the upstream's status is known, it counts, even if the body never comes or breaks off.
func TestStatusCountsHoweverItsBodyEnds(t *testing.T) {
	half := func(status int, header ...string) http.HandlerFunc {
		return sitetest.Answering(status, `{"error":"half`, append(header, "Content-Length", "30")...)
	}
	answers := map[string]http.HandlerFunc{
		"400, stalled": sitetest.Stalling(half(400)),
		"400, broken":  sitetest.Breaking(half(400)),
		"404, stalled": sitetest.Stalling(half(404)),
		"429, stalled": sitetest.Stalling(half(429, "Retry-After", "600")),
		"503, broken":  sitetest.Breaking(half(503)),
		"403, stalled": sitetest.Stalling(half(403)),
		"401, stalled": sitetest.Stalling(half(401)),
	}
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(answers))
	for _, test := range []struct {
		name   string
		status int
		code   string
		asked  int
	}{
		{"400, stalled", 400, "bad_request:upstream", 1},
		{"400, broken", 400, "bad_request:upstream", 1},
		{"404, stalled", 404, "not_found:upstream", 1},
		{"503, broken", 503, "overloaded:upstream", 3},
		{"403, stalled", 502, "blocked:upstream", 1},
		{"401, stalled", 502, "unauthorized:upstream", 1},
		{"429, stalled", 429, "rate_limit:upstream", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "response_timeout 300ms\n"+quickTries))
			sitetest.WantError(t, s.Ask(sitetest.Saying(test.name)), test.status, test.code)
			if asked := len(upstream.Take()); asked != test.asked {
				t.Errorf("the upstream was asked %d times, want %d", asked, test.asked)
			}
		})
	}
}

// An error within a 200 counts as that error: in the status, the access log and the metrics, and when it comes to
// another attempt.
func TestErrorWithinA200IsAnError(t *testing.T) {
	quota := `{"error":"quota exceeded","code":"rate_limit:chat"}`
	missing := `{"error":"no such assistant","code":"not_found:chat"}`
	json := func(body string) http.HandlerFunc {
		return sitetest.Answering(200, body, "Content-Type", "application/json")
	}
	event := func(data string) http.HandlerFunc {
		return sitetest.Answering(200, "data: "+data+"\n\n", "Content-Type", eventStream)
	}
	// once returns a handler that answers its first request with refused and all others with a finish.
	once := func(refused http.HandlerFunc) http.HandlerFunc {
		var first sync.Once
		return func(w http.ResponseWriter, r *http.Request) {
			answer := http.HandlerFunc(sitetest.Finishing)
			first.Do(func() { answer = refused })
			answer(w, r)
		}
	}
	answers := map[string]http.HandlerFunc{
		"JSON":         json(quota),
		"large event":  event(strings.TrimSuffix(quota, "}") + `,"details":{"a":"` + strings.Repeat("x", 3000) + `"}}`),
		"broken off":   sitetest.Breaking(sitetest.Answering(200, "0:\"Hello\"\n", "Content-Type", "text/plain")),
		"event":        event(quota),
		"JSON, once":   once(json(quota)),
		"event, once":  once(event(quota)),
		"JSON, wrong":  json(missing),
		"event, wrong": event(missing),
	}
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(answers))
	s := sitetest.Serve(t, "log\nmetrics /metrics\n"+sitetest.ChatToURL(upstream.URL, quickTries))
	for i, test := range []struct {
		name   string
		status int
		code   string
		asked  int
		record string
	}{
		{"JSON", 429, "rate_limit:chat", 3, "outcome:failed code:rate_limit:chat"},
		{"event", 429, "rate_limit:chat", 3, "outcome:failed code:rate_limit:chat"},
		{"large event", 429, "rate_limit:chat", 3, "outcome:failed code:rate_limit:chat"},
		{"broken off", 502, "bad_gateway:upstream", 1, "outcome:failed code:bad_gateway:upstream"},
		{"JSON, once", 200, "", 2, "outcome:answered"},
		{"event, once", 200, "", 2, "outcome:answered"},
		{"JSON, wrong", 404, "not_found:chat", 1, "outcome:failed code:not_found:chat"},
		{"event, wrong", 404, "not_found:chat", 1, "outcome:failed code:not_found:chat"},
	} {
		resp := s.Ask(sitetest.Saying(test.name))
		if test.status == 200 {
			sitetest.OnlyFinish(t, sitetest.ReadAll(t, resp))
		} else {
			sitetest.WantError(t, resp, test.status, test.code)
		}
		if asked := len(upstream.Take()); asked != test.asked {
			t.Errorf("%s: the upstream was asked %d times, want %d", test.name, asked, test.asked)
		}
		record := sitetest.Summary(nextRecord(t, s, i+1).Illumichat)
		for word := range strings.FieldsSeq(test.record) {
			if !strings.Contains(record, word) {
				t.Errorf("%s: the access log has %s, want %s", test.name, record, word)
			}
		}
	}
}

// A 200 that states a rate limit, and for how long, starts a cool-down as a 429 does.
func TestRateLimitWithinA200StartsACoolDown(t *testing.T) {
	quota := `{"error":"quota exceeded","code":"rate_limit:chat"}`
	for name, answer := range map[string]http.HandlerFunc{
		"JSON":  sitetest.Answering(200, quota, "Content-Type", "application/json", "Retry-After", "600"),
		"event": sitetest.Answering(200, "data: "+quota+"\n\n", "Content-Type", eventStream, "Retry-After", "600"),
	} {
		upstream := sitetest.NewUpstream(t, answer)
		s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, quickTries))
		for range 2 {
			resp := s.Ask(sitetest.Hello)
			sitetest.WantError(t, resp, 429, "rate_limit:chat")
			sitetest.CheckRetryAfter(t, resp.Header, []int{595, 600})
		}
		if asked := len(upstream.Take()); asked != 1 {
			t.Errorf("%s: the upstream was asked %d times", name, asked)
		}
	}
}

// An error that is the first event, but comes after the response headers were sent, counts as well: for the cool-down, the
// metrics and the log. The visitor gets it as an event.
func TestLateErrorCounts(t *testing.T) {
	for _, test := range []struct{ code, tries, log string }{
		{"rate_limit:chat", "rate_limited", "the upstream limits the rate of an assistant"},
		{"unauthorized:chat", "unauthorized", "the upstream refused the API token"},
	} {
		event := `data: {"error":"their words","code":"` + test.code + `"}` + "\n\n"
		headed := make(chan struct{}) // closed when the visitor has the response headers
		upstream := sitetest.NewUpstream(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", eventStream)
			w.Header().Set("Retry-After", "600")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-headed:
				_, _ = w.Write([]byte(event))
			case <-r.Context().Done():
			}
		})
		s := sitetest.Serve(t, "metrics /metrics\n"+sitetest.ChatToURL(upstream.URL, "commit_after 20ms\n"+quickTries))
		name := fmt.Sprintf("tries_total{outcome=%q}", test.tries)
		before := sitetest.Scrape(t, s)[name]
		resp := s.Ask(sitetest.Hello)
		close(headed)
		got := sitetest.ReadAll(t, resp)
		if rest, ok := strings.CutPrefix(got, event); !ok || sitetest.OnlyFinish(t, rest).Code != test.code {
			t.Errorf("got %q", got)
		}
		if counted := sitetest.Scrape(t, s)[name] - before; counted != 1 {
			t.Errorf("%s: %v attempts are counted as %s", test.code, counted, test.tries)
		}
		if !strings.Contains(s.Log(), test.log) {
			t.Errorf("%s: the log does not say %q", test.code, test.log)
		}
		s.Ask(sitetest.Hello).Body.Close()
		if asked, want := len(upstream.Take()), map[string]int{"rate_limited": 1, "unauthorized": 2}[test.tries]; asked != want {
			t.Errorf("%s: the upstream was asked %d times, want %d", test.code, asked, want)
		}
	}
}

// A visitor never gets a status that concerns the upstream's connection with the module, over whichever protocol:
// browsers would send the chat again by themselves.
func TestStatusesThatBrowsersRepeat(t *testing.T) {
	statuses := map[int]int{408: 504, 417: 502, 421: 502, 425: 502, 426: 502, 431: 502}
	answers := make(map[string]http.HandlerFunc)
	for status := range statuses {
		answers[fmt.Sprint(status)] = sitetest.Answering(status, sitetest.Theirs)
	}
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(answers))
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, ""))
	for proto, visitor := range sitetest.Protocols(t) {
		for status, want := range statuses {
			resp := s.Send(visitor, sitetest.ChatRequest(t, s.Secure, sitetest.Saying(fmt.Sprint(status))))
			sitetest.ReadAll(t, resp)
			if asked := len(upstream.Take()); resp.StatusCode != want || asked != 1 {
				t.Errorf("%s, %d: got status %d after %d requests, want %d after one", proto, status, resp.StatusCode, asked, want)
			}
		}
	}
}

// An answer in another protocol is paid for once, and the log says what to do.
func TestAnswerInAnotherProtocol(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"short":    sitetest.Answering(200, "0:\"Hello\"\n0:\" you\"\n", "Content-Type", "text/plain"),
		"endless":  sitetest.Stalling(sitetest.Answering(200, strings.Repeat("0:\"Hello\"\n", 200), "Content-Type", "text/plain")),
		"a page":   sitetest.Answering(200, "<!doctype html><title>Welcome</title>"),
		"one line": sitetest.Stalling(sitetest.Answering(200, strings.Repeat("Hello ", 200), "Content-Type", eventStream)),
	} {
		t.Run(name, func(t *testing.T) {
			upstream := sitetest.NewUpstream(t, answer)
			s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, quickTries))
			sitetest.WantError(t, s.Ask(sitetest.Hello), 502, "bad_gateway:upstream")
			if asked := len(upstream.Take()); asked != 1 {
				t.Errorf("the upstream was asked %d times", asked)
			}
			if log := s.Log(); !strings.Contains(log, "check whether endpoint is the URL of the chat API") || strings.Contains(log, "Hello") {
				t.Errorf("the log does not say what to do, or repeats the answer:\n%s", log)
			}
		})
	}
}

// A CDN's status for an upstream that it cannot reach is tried again, as is an overloaded upstream's.
func TestStatusesOfCDNsAreTriedAgain(t *testing.T) {
	for _, status := range []int{520, 521, 522, 523, 529} {
		first := true
		upstream := sitetest.NewUpstream(t, func(w http.ResponseWriter, r *http.Request) {
			if first {
				first = false
				w.WriteHeader(status)
				return
			}
			sitetest.Finishing(w, r)
		})
		s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "retry {\nbackoff 1ms\n}"))
		if resp := s.Ask(sitetest.Hello); resp.StatusCode != http.StatusOK {
			t.Errorf("%d: got status %d: %s", status, resp.StatusCode, sitetest.ReadAll(t, resp))
		}
		if asked := len(upstream.Take()); asked != 2 {
			t.Errorf("%d: the upstream was asked %d times", status, asked)
		}
	}
}

// A firewall that blocks one chat does not say that the token is refused: visitors could page the operator by that.
func TestBlockedChatIsNoRefusedToken(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"blocked": sitetest.Answering(403, "<!DOCTYPE html><title>Just a moment...</title>", "Content-Type", "text/html", "Cf-Mitigated", "challenge"),
		"plan":    sitetest.Answering(403, `{"error":"Your plan does not include this","code":"plan_upgrade_required"}`, "Content-Type", "application/json"),
		"refused": sitetest.Answering(403, `{"error":"no","code":"forbidden:api"}`, "Content-Type", "application/json"),
	}
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(answers))
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, quickTries))
	for _, name := range []string{"blocked", "plan"} {
		sitetest.WantError(t, s.Ask(sitetest.Saying(name)), 502, "blocked:upstream")
	}
	log := s.Log()
	if strings.Contains(log, "the upstream refused the API token") || strings.Contains(log, `"error"`) || strings.Count(log, `"level":"warn"`) == 0 {
		t.Errorf("the log blames the token, or says nothing:\n%s", log)
	}
	sitetest.WantError(t, s.Ask(sitetest.Saying("refused")), 502, "unauthorized:upstream")
	if !strings.Contains(s.Log(), "the upstream refused the API token") {
		t.Error("the log does not say that the token is refused")
	}
	if asked := len(upstream.Take()); asked != 3 {
		t.Errorf("the upstream was asked %d times", asked)
	}
}
