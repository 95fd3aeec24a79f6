package page

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
)

// scriptedSite is a chat endpoint that answers each request with the next answer of a list.
type scriptedSite struct {
	url string

	mu    sync.Mutex
	asked []pageQuestion
}

// questions returns the bodies of the page's requests so far.
func (s *scriptedSite) questions() []pageQuestion {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// pageQuestion is the body of a page's request.
type pageQuestion struct {
	ChatID   string        `json:"chatId"`
	Messages []pageMessage `json:"messages"`
}

func newScriptedSite(tb testing.TB, answers ...http.HandlerFunc) *scriptedSite {
	tb.Helper()
	s := new(scriptedSite)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		var q pageQuestion
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			tb.Errorf("reading the page's request: %v", err)
		}
		s.mu.Lock()
		s.asked = append(s.asked, q)
		n := len(s.asked)
		s.mu.Unlock()
		if n > len(answers) {
			tb.Errorf("the page asked %d times, want %d", n, len(answers))
			return
		}
		answers[n-1](w, r)
	}))
	tb.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// sends returns a handler that answers with an event stream. The header alternates names and values.
func sends(stream string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		_, _ = io.WriteString(w, stream)
	}
}

// fails returns a handler that answers with an error of the documented shape, and with a Retry-After unless it is empty.
func fails(status int, code, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":"that failed","code":%q}`, code)
	}
}

func hangsUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// Pieces of a stream.
const (
	someDelta = `data: {"type":"text-delta","textDelta":"Yes."}` + "\n\n"
	goodEnd   = `data: {"type":"finish","finishReason":"stop"}` + "\n\n"
)

func errorEnd(code string) string {
	return fmt.Sprintf(`data: {"type":"finish","finishReason":"error","error":"it ended","code":%q}`+"\n\n", code)
}

// The client sends a question again only if that may help and no event of an answer has arrived.
func TestPageAsksAgain(t *testing.T) {
	p := openPage(t)
	for name, tc := range map[string]struct {
		first    http.HandlerFunc
		least    float64 // seconds before the second attempt; 0 if there is none
		most     float64
		wantCode string // of the error that the page gets
	}{
		"429":                        {fails(429, "rate_limit:chat", ""), 0.5, 1, "rate_limit:chat"},
		"429 in 2 s":                 {fails(429, "rate_limit:chat", "2"), 2, 3, "rate_limit:chat"},
		"429 in 15 s":                {fails(429, "rate_limit:chat", "15"), 15, 16, "rate_limit:chat"},
		"429 in 16 s":                {fails(429, "rate_limit:chat", "16"), 0, 0, "rate_limit:chat"},
		"429 in a minute":            {fails(429, "rate_limit:chat", "60"), 0, 0, "rate_limit:chat"},
		"500":                        {fails(500, "server_error:upstream", ""), 0.5, 1, "server_error:upstream"},
		"502":                        {fails(502, "bad_gateway:upstream", ""), 0.5, 1, "bad_gateway:upstream"},
		"503 in 1 s":                 {fails(503, "overloaded:chat", "1"), 1, 2, "overloaded:chat"},
		"504":                        {fails(504, "timeout:upstream", ""), 0, 0, "timeout:upstream"},
		"504 that a proxy replaced":  {fails(503, "timeout:upstream", ""), 0, 0, "timeout:upstream"},
		"400":                        {fails(400, "bad_request:chat", ""), 0, 0, "bad_request:chat"},
		"the token is refused":       {fails(502, "unauthorized:upstream", ""), 0, 0, "unauthorized:upstream"},
		"no answer":                  {hangsUp, 0.5, 1, "unreachable:connection"},
		"no event":                   {sends(""), 0.5, 1, "closed:connection"},
		"a comment alone":            {sends(": hello\n\n"), 0.5, 1, "closed:connection"},
		"the upstream closed":        {sends(errorEnd("closed:upstream")), 0.5, 1, "closed:upstream"},
		"the server restarts":        {sends(errorEnd("shutting_down:proxy")), 0.5, 1, "shutting_down:proxy"},
		"the upstream was silent":    {sends(errorEnd("stalled:upstream")), 0, 0, "stalled:upstream"},
		"closed after some text":     {sends(someDelta + errorEnd("closed:upstream")), 0, 0, "closed:upstream"},
		"cut after some text":        {sends(someDelta), 0, 0, "closed:connection"},
		"an error without a code":    {sends(errorEnd("")), 0, 0, ""},
		"cut after a tool was asked": {sends(`data: {"type":"tool-call"}` + "\n\n"), 0, 0, "closed:connection"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScriptedSite(t, tc.first, sends(someDelta+goodEnd))
			got := p.see(t, pageRequest{URL: s.url, Say: []string{"Really?"}})
			if tc.least == 0 {
				if len(s.questions()) != 1 || len(got.Retries) != 0 || got.Error.Name != "ChatError" || got.Error.Code != tc.wantCode {
					t.Errorf("asked %d times, the error is %+v, want %q at once", len(s.questions()), got.Error, tc.wantCode)
				}
				return
			}
			if len(s.questions()) != 2 || got.Text != "Yes." || got.Error.Name != "" {
				t.Errorf("asked %d times, got %q and the error %+v", len(s.questions()), got.Text, got.Error)
			}
			if len(got.Retries) != 1 {
				t.Fatalf("the page was told of %d retries, want 1", len(got.Retries))
			}
			r := got.Retries[0]
			if r.Error.Code != tc.wantCode || r.Wait < tc.least || r.Wait > tc.most || math.Abs(r.Slept-r.Wait) > 1e-9 {
				t.Errorf("the page was told %+v, want %q and %g to %g s", r, tc.wantCode, tc.least, tc.most)
			}
		})
	}
}

// The client gives up after three attempts, or after as many as the page sets, and at once when the visitor stops it.
func TestPageGivesUp(t *testing.T) {
	p := openPage(t)
	busy := fails(503, "overloaded:chat", "")
	overloaded := chatFailed(http.StatusServiceUnavailable, "overloaded:chat")
	overloaded.Message = "that failed"

	t.Run("after three tries", func(t *testing.T) {
		got := p.see(t, pageRequest{URL: newScriptedSite(t, busy, busy, busy).url, Say: []string{"Hello"}})
		if got.Error != overloaded || len(got.Retries) != 2 {
			t.Fatalf("got the error %+v after %d retries", got.Error, len(got.Retries))
		}
		if w := got.Retries[1].Wait; w < 1 || w > 2 {
			t.Errorf("the second pause is %g s, want 1 to 2", w)
		}
	})
	t.Run("after one", func(t *testing.T) {
		got := p.see(t, pageRequest{URL: newScriptedSite(t, busy).url, Say: []string{"Hello"}, Tries: 1})
		if got.Error != overloaded || len(got.Retries) != 0 {
			t.Errorf("got the error %+v after %d retries", got.Error, len(got.Retries))
		}
	})
	t.Run("when the visitor stops it", func(t *testing.T) {
		s := newScriptedSite(t, busy)
		got := p.see(t, pageRequest{URL: s.url, Say: []string{"Hello"}, Stop: "pause"})
		if got.Error != stoppedByPage || len(s.questions()) != 1 {
			t.Errorf("got the error %+v, asked %d times", got.Error, len(s.questions()))
		}
	})
}

// The client keeps a question in the history with whatever has arrived of its answer. It drops a question that was refused.
func TestPageKeepsHistory(t *testing.T) {
	p := openPage(t)
	question := pageMessage{Role: "user", Content: "Really?"}
	yes := pageMessage{Role: "assistant", Content: "Yes."}
	whole := sends(someDelta + goodEnd)

	for name, tc := range map[string]struct {
		request pageRequest
		answers []http.HandlerFunc
		want    []pageMessage // of the last request
		kept    []pageMessage
	}{
		"answered": {
			pageRequest{Say: []string{"Really?", "Really?"}},
			[]http.HandlerFunc{whole, whole},
			[]pageMessage{question, yes, question},
			[]pageMessage{question, yes, question, yes},
		},
		"broken off": {
			pageRequest{Say: []string{"Really?", "Really?"}},
			[]http.HandlerFunc{sends(someDelta), whole},
			[]pageMessage{question, yes, question},
			[]pageMessage{question, yes, question, yes},
		},
		"refused": {
			pageRequest{Say: []string{"Really?", "Really?"}},
			[]http.HandlerFunc{fails(400, "bad_request:chat", ""), whole},
			[]pageMessage{question},
			[]pageMessage{question, yes},
		},
		"asked again": {
			pageRequest{Say: []string{"Really?"}, Again: true},
			[]http.HandlerFunc{sends(someDelta), whole},
			[]pageMessage{question},
			[]pageMessage{question, yes},
		},
		"stopped": {
			pageRequest{Say: []string{"Really?"}, Stop: "break"},
			[]http.HandlerFunc{whole},
			[]pageMessage{question},
			[]pageMessage{question, yes},
		},
		"told at the beginning": {
			pageRequest{Say: []string{"Really?"}, Messages: []pageMessage{question, yes}},
			[]http.HandlerFunc{whole},
			[]pageMessage{question, yes, question},
			[]pageMessage{question, yes, question, yes},
		},
		"without a word": {
			pageRequest{Say: []string{"Really?"}},
			[]http.HandlerFunc{sends(goodEnd)},
			[]pageMessage{question},
			[]pageMessage{question},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScriptedSite(t, tc.answers...)
			tc.request.URL = s.url
			got := p.see(t, tc.request)
			if len(s.questions()) != len(tc.answers) {
				t.Fatalf("the page asked %d times, want %d", len(s.questions()), len(tc.answers))
			}
			if last := s.questions()[len(s.questions())-1].Messages; !slices.Equal(last, tc.want) {
				t.Errorf("the page sent %q, want %q", last, tc.want)
			}
			if !slices.Equal(got.History, tc.kept) {
				t.Errorf("the page keeps %q, want %q", got.History, tc.kept)
			}
		})
	}
}

// The client finds the chat's id in a header or in any event, because the API does not document where it is.
func TestPageFindsChatID(t *testing.T) {
	p := openPage(t)
	for name, tc := range map[string]struct {
		answers []http.HandlerFunc
		request pageRequest
		want    string
	}{
		"in a header":                 {request: pageRequest{}, answers: []http.HandlerFunc{sends(someDelta+goodEnd, "X-Chat-Id", "chat_1")}, want: "chat_1"},
		"in another header":           {answers: []http.HandlerFunc{sends(someDelta+goodEnd, "Illumichat-ChatId", "chat_1")}, want: "chat_1"},
		"in a text":                   {answers: []http.HandlerFunc{sends(`data: {"type":"text-delta","textDelta":"Yes.","chatId":"chat_1"}` + "\n\n" + goodEnd)}, want: "chat_1"},
		"in an event of its own":      {answers: []http.HandlerFunc{sends(`data: {"type":"start","chatId":"chat_1"}` + "\n\n" + someDelta + goodEnd)}, want: "chat_1"},
		"in the finish":               {answers: []http.HandlerFunc{sends(someDelta + `data: {"type":"finish","finishReason":"stop","chatId":"chat_1"}` + "\n\n")}, want: "chat_1"},
		"after the finish":            {answers: []http.HandlerFunc{sends(someDelta + goodEnd + `data: {"type":"done","chatId":"chat_1"}` + "\n\n")}, want: "chat_1"},
		"as something else":           {answers: []http.HandlerFunc{sends(`data: {"type":"start","chatId":{}}` + "\n\n" + someDelta + goodEnd)}},
		"before a try that failed":    {answers: []http.HandlerFunc{sends(errorEnd("closed:upstream"), "X-Chat-Id", "chat_0"), sends(someDelta + goodEnd)}},
		"by an answer asked for anew": {answers: []http.HandlerFunc{sends(someDelta, "X-Chat-Id", "chat_0"), sends(someDelta + goodEnd)}, request: pageRequest{Again: true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScriptedSite(t, tc.answers...)
			tc.request.URL, tc.request.Say = s.url, []string{"Really?"}
			got := p.see(t, tc.request)
			if got.ChatID != tc.want {
				t.Errorf("the page took %q for the chat's id, want %q", got.ChatID, tc.want)
			}
			for _, q := range s.questions() {
				if q.ChatID != "" {
					t.Errorf("the page sent the id %q", q.ChatID)
				}
			}
		})
	}
}
