package illumichat

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

const (
	testToken = sandbox.Token

	finishLine = `data: {"type":"finish","finishReason":"stop"}` + "\n\n"
)

// upstream is a chat API that answers as a test wants it to, for what the sandbox does not do.
type upstream struct {
	*httptest.Server

	mu    sync.Mutex
	asked []asked
}

// asked is a request that reached the upstream.
type asked struct {
	header http.Header
	body   string
}

func newUpstream(tb testing.TB, answer http.HandlerFunc) *upstream {
	tb.Helper()
	u := newUnstartedUpstream(answer)
	u.Start()
	tb.Cleanup(u.Close)
	return u
}

func newUnstartedUpstream(answer http.HandlerFunc) *upstream {
	u := new(upstream)
	u.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what broke off is recorded as far as it came
		u.mu.Lock()
		u.asked = append(u.asked, asked{r.Header, string(body)})
		u.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer(w, r)
	}))
	return u
}

// take returns the requests that came since the last call.
func (u *upstream) take() []asked {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := u.asked
	u.asked = nil
	return taken
}

// finishing answers with a finish and nothing else.
func finishing(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, finishLine)
}

// answering answers with a status, a body and headers, which are names and values in turn.
func answering(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil // so that none is guessed
		for i := 0; i < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// raw answers with bytes that no server sends, and ends the connection.
func raw(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err) // an HTTP/1.1 connection always can be hijacked
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, answer)
	}
}

// stalling answers, and falls silent before the end.
func stalling(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer(w, r)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// breaking answers, and breaks the connection before the end.
func breaking(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer(w, r)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// byMessage answers each chat by the handler for its message's text.
func byMessage(answers map[string]http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var chat struct{ Messages []struct{ Content string } }
		if err := json.NewDecoder(r.Body).Decode(&chat); err != nil {
			panic(err) // what goes upstream is checked
		}
		answers[chat.Messages[0].Content](w, r)
	}
}

// upstreamError is an error of the upstream and what the visitor gets of it.
type upstreamError struct {
	name   string
	answer http.HandlerFunc
	status int
	code   string
	body   string // all of it, where it matters
}

const (
	eventStream = "text/event-stream"
	theirs      = `{"error":"Their words.","code":"their_code:chat"}`
	webPage     = "<!doctype html><title>Their page</title>"
)

// upstreamErrors are the rows of the error table that the upstream is the reason for.
func upstreamErrors() []upstreamError {
	var rows []upstreamError
	add := func(name string, answer http.HandlerFunc, status int, code, body string) {
		rows = append(rows, upstreamError{name, answer, status, code, body})
	}
	for status, code := range map[int]string{
		400: "bad_request:upstream",
		404: "not_found:upstream",
		408: "bad_request:upstream",
		409: "bad_request:upstream",
		413: "too_large:upstream",
		418: "bad_request:upstream",
		422: "bad_request:upstream",
		429: "rate_limit:upstream",
		499: "bad_request:upstream",
		500: "server_error:upstream",
		501: "server_error:upstream",
		502: "bad_gateway:upstream",
		503: "overloaded:upstream",
		504: "timeout:upstream",
		507: "server_error:upstream",
		599: "server_error:upstream",
	} {
		add(fmt.Sprintf("%d with their words", status), answering(status, theirs), status, "their_code:chat", theirs)
		add(fmt.Sprintf("%d with a page", status), answering(status, webPage, "Content-Type", "text/html"), status, code, "")
		add(fmt.Sprintf("%d with nothing", status), answering(status, ""), status, code, "")
	}
	for _, status := range []int{401, 403, 407} {
		add(fmt.Sprintf("%d with their words", status), answering(status, theirs), 502, "unauthorized:upstream", "")
		add(fmt.Sprintf("%d with a page", status), answering(status, webPage, "Www-Authenticate", "Basic"), 502, "unauthorized:upstream", "")
	}
	for _, status := range []int{101, 201, 202, 204, 206, 300, 301, 302, 303, 304, 307, 308, 600, 999} {
		answer := fmt.Sprintf("HTTP/1.1 %d Odd\r\nContent-Type: application/json\r\n\r\n", status)
		add(fmt.Sprintf("%d", status), raw(answer+theirs), 502, "bad_gateway:upstream", "")
	}

	// What their words have to look like.
	detailed := `{"error":"e","code":"c","details":{"a":"1","messages":"2"}}`
	large := func(size int) string {
		return `{"error":"` + strings.Repeat("x", size-len(`{"error":"","code":"c"}`)) + `","code":"c"}`
	}
	for name, row := range map[string]struct{ answer, want string }{
		"details":                {detailed, detailed},
		"details and more":       {`{"id":7,"details":{"a":"1"},"code":"c","error":"e"}`, `{"error":"e","code":"c","details":{"a":"1"}}`},
		"details a list":         {`{"error":"e","code":"c","details":["a"]}`, `{"error":"e","code":"c"}`},
		"details a text":         {`{"error":"e","code":"c","details":"a"}`, `{"error":"e","code":"c"}`},
		"details deeper":         {`{"error":"e","code":"c","details":{"a":"1","b":{"c":"d"}}}`, `{"error":"e","code":"c"}`},
		"details null":           {`{"error":"e","code":"c","details":null}`, `{"error":"e","code":"c"}`},
		"white space":            {" {\n\t\"error\": \"e\", \"code\": \"c\" }\n", `{"error":"e","code":"c"}`},
		"escapes":                {`{"error":"\u00fc\"\\","code":"c"}`, `{"error":"ü\"\\","code":"c"}`},
		"64 KiB":                 {large(64 << 10), large(64 << 10)},
		"more than 64 KiB":       {large(64<<10 + 1), ""},
		"much more than 64 KiB":  {large(1 << 20), ""},
		"no code":                {`{"error":"e"}`, ""},
		"no error":               {`{"code":"c"}`, ""},
		"an empty code":          {`{"error":"e","code":""}`, ""},
		"a code that is no text": {`{"error":"e","code":7}`, ""},
		"an error as an object":  {`{"error":{"message":"e"},"code":"c"}`, ""},
		"another case":           {`{"Error":"e","Code":"c"}`, ""},
		"a name twice":           {`{"error":"e","error":"f","code":"c"}`, ""},
		"invalid UTF-8":          {"{\"error\":\"\xff\",\"code\":\"c\"}", ""},
		"more than one value":    {theirs + theirs, ""},
		"torn":                   {theirs[:len(theirs)-1], ""},
		"a list":                 {`[` + theirs + `]`, ""},
		"null":                   {`null`, ""},
	} {
		code := "c"
		if row.want == "" {
			code = "bad_request:upstream"
		}
		add("a 422 with "+name, answering(422, row.answer), 422, code, row.want)
	}
	add("a 500 that breaks off", breaking(answering(500, theirs, "Content-Length", "1000")), 500, "server_error:upstream", "")

	// A 200 that is no chat's answer.
	for name, header := range map[string][]string{
		"a page":                   {"Content-Type", "text/html; charset=utf-8"},
		"problem+json":             {"Content-Type", "application/problem+json"},
		"an image":                 {"Content-Type", "image/png"},
		"a type that is malformed": {"Content-Type", ";;;"},
		"half a type":              {"Content-Type", "text/"},
		"two types":                {"Content-Type", "text/event-stream, text/html"},
		"gzip":                     {"Content-Type", eventStream, "Content-Encoding", "gzip"},
		"br in JSON":               {"Content-Type", "application/json", "Content-Encoding", "br"},
		"two encodings":            {"Content-Type", eventStream, "Content-Encoding", "identity, gzip"},
		"encodings in two lines":   {"Content-Type", eventStream, "Content-Encoding", "identity", "Content-Encoding", "gzip"},
	} {
		add("a 200 with "+name, answering(200, finishLine, header...), 502, "bad_gateway:upstream", "")
	}
	add("JSON of more than 1 MiB", answering(200, `"`+strings.Repeat("x", 1<<20-1)+`"`, "Content-Type", "application/json"), 502, "bad_gateway:upstream", "")
	add("JSON that breaks off", breaking(answering(200, `{`, "Content-Type", "application/json", "Content-Length", "2")), 502, "bad_gateway:upstream", "")

	// A 200 that ends or breaks before its first event.
	for name, answer := range map[string]string{
		"nothing":                   "",
		"blank lines":               "\n\n\n",
		"a comment":                 ": hello\n\n",
		"a block without data":      "event: message\nid: 7\n\n",
		"a torn event":              `data: {"type":"text-delta","textDelta":"He`,
		"an event without line end": strings.TrimSpace(finishLine),
	} {
		add("a stream of "+name, answering(200, answer, "Content-Type", eventStream), 502, "bad_gateway:upstream", "")
		add("a broken stream of "+name, breaking(answering(200, answer, "Content-Type", eventStream)), 502, "bad_gateway:upstream", "")
	}
	add("no head", raw(""), 502, "bad_gateway:upstream", "")
	add("half a head", raw("HTTP/1.1 200 OK\r\nContent-Ty"), 502, "bad_gateway:upstream", "")
	add("no HTTP", raw("hello\r\n\r\n"), 502, "bad_gateway:upstream", "")
	add("a malformed chunk", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), 502, "bad_gateway:upstream", "")
	return rows
}

func TestUpstreamErrors(t *testing.T) {
	rows := upstreamErrors()
	answers := make(map[string]http.HandlerFunc)
	for _, row := range rows {
		answers[row.name] = row.answer
	}
	upstream := newUpstream(t, byMessage(answers))
	s := serve(t, chatToURL(upstream.URL, once))
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			resp := s.ask(saying(row.name))
			text := wantError(t, resp, row.status, row.code)
			if row.body == "" && (strings.Contains(text, "Their") || strings.HasPrefix(text, "x")) {
				t.Errorf("the text is the upstream's: %q", text)
			}
			if row.body != "" {
				if body := s.ask(saying(row.name)); readAll(t, body) != row.body {
					t.Errorf("the body is not %.200s", row.body)
				}
			}
			if got := resp.Header.Get("Www-Authenticate"); got != "" {
				t.Errorf("the visitor is asked to log in: %q", got)
			}
		})
	}
	if !strings.Contains(s.log(), "the upstream refused the API token; check") {
		t.Error("the log does not say what to do about a token that is refused")
	}
}

func TestUpstreamTimeouts(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"silent":         silent,
		"hang":           stalling(answering(200, "", "Content-Type", eventStream)),
		"comments":       stalling(answering(200, ": hello\n\n", "Content-Type", eventStream)),
		"a torn event":   stalling(answering(200, "data: {", "Content-Type", eventStream)),
		"torn JSON":      stalling(answering(200, "{", "Content-Type", "application/json")),
		"a torn refusal": stalling(answering(422, "{", "Content-Type", "application/json")),
	}
	upstream := newUpstream(t, byMessage(answers))
	for _, limit := range []string{"response_timeout", "max_duration"} {
		s := serve(t, chatToURL(upstream.URL, limit+" 50ms\n"+once))
		for name := range answers {
			t.Run(limit+"/"+name, func(t *testing.T) {
				wantError(t, s.ask(saying(name)), http.StatusGatewayTimeout, "timeout:upstream")
			})
		}
	}
}

func TestUnreachableUpstream(t *testing.T) {
	s := serve(t, chatToURL(fmt.Sprintf("http://127.0.0.1:%d", localhost.Port(t)), once))
	wantError(t, s.ask(hello), http.StatusBadGateway, "bad_gateway:upstream")
}

func TestUpstreamAnswers(t *testing.T) {
	const json = "application/json"
	largest := `"` + strings.Repeat("x", 1<<20-2) + `"`
	rows := []struct {
		name      string
		answer    http.HandlerFunc
		mediaType string
		want      string
	}{
		{"an event stream", answering(200, finishLine, "Content-Type", eventStream), eventStream, finishLine},
		{"with a charset", answering(200, finishLine, "Content-Type", "text/event-stream; charset=utf-8"), eventStream, finishLine},
		{"in capitals", answering(200, finishLine, "Content-Type", "TEXT/EVENT-STREAM"), eventStream, finishLine},
		{"plain text", answering(200, finishLine, "Content-Type", "text/plain; charset=utf-8"), eventStream, finishLine},
		{"bytes", answering(200, finishLine, "Content-Type", "application/octet-stream"), eventStream, finishLine},
		{"no type", answering(200, finishLine), eventStream, finishLine},
		{"identity", answering(200, finishLine, "Content-Type", eventStream, "Content-Encoding", "identity"), eventStream, finishLine},
		{"identity in capitals", answering(200, finishLine, "Content-Type", eventStream, "Content-Encoding", "Identity"), eventStream, finishLine},
		{"only the blank line missing", answering(200, strings.TrimSuffix(finishLine, "\n"), "Content-Type", eventStream), eventStream, finishLine},
		{"early hints", raw("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" + finishLine), eventStream, finishLine},

		{"JSON", answering(200, `{"text": "Hi"}`+"\n", "Content-Type", json), json, `{"text": "Hi"}` + "\n"},
		{"JSON with a charset", answering(200, `{}`, "Content-Type", "Application/JSON; charset=utf-8"), json, `{}`},
		{"what is only called JSON", answering(200, "\xff{", "Content-Type", json), json, "\xff{"},
		{"empty JSON", answering(200, "", "Content-Type", json), json, ""},
		{"JSON of 1 MiB", answering(200, largest, "Content-Type", json), json, largest},
	}
	answers := make(map[string]http.HandlerFunc)
	for _, row := range rows {
		answers[row.name] = row.answer
	}
	upstream := newUpstream(t, byMessage(answers))
	s := serve(t, chatToURL(upstream.URL, ""))
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			resp := s.ask(saying(row.name))
			if body := readAll(t, resp); body != row.want || resp.StatusCode != http.StatusOK {
				t.Errorf("got status %d and %.200q, want %.200q", resp.StatusCode, body, row.want)
			}
			if got := resp.Header.Values("Content-Type"); len(got) != 1 || got[0] != row.mediaType {
				t.Errorf("got Content-Type %q, want %q", got, row.mediaType)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	const hour = 3600
	soon := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
	rows := map[string]struct {
		status      int
		value       string
		least, most int // -1: the header is left out
	}{
		"seconds":                {429, "7", 7, 7},
		"seconds of a 503":       {503, "7", 7, 7},
		"none to wait":           {429, "0", 0, 0},
		"an hour":                {429, "3600", hour, hour},
		"more than an hour":      {429, "3601", hour, hour},
		"more than an int":       {429, "99999999999999999999", hour, hour},
		"a date":                 {429, soon, 30, 90},
		"a date of a 503":        {503, soon, 30, 90},
		"a date that is past":    {503, "Sun, 06 Nov 1994 08:49:37 GMT", 0, 0},
		"a date far away":        {429, "Fri, 31 Dec 9999 23:59:59 GMT", hour, hour},
		"a date of the old form": {503, "Sunday, 06-Nov-94 08:49:37 GMT", 0, 0},
		"negative":               {429, "-5", 1, hour},
		"negative of a 503":      {503, "-5", -1, -1},
		"a fraction":             {429, "1.5", 1, hour},
		"garbage":                {429, "soon", 1, hour},
		"garbage of a 503":       {503, "soon", -1, -1},
		"missing":                {429, "", 1, hour},
		"missing of a 503":       {503, "", -1, -1},
		"missing of a 500":       {500, "", -1, -1},
	}
	answers := make(map[string]http.HandlerFunc)
	for name, row := range rows {
		answers[name] = answering(row.status, theirs, "Retry-After", row.value)
		if row.value == "" {
			answers[name] = answering(row.status, theirs)
		}
	}
	upstream := newUpstream(t, byMessage(answers))
	s := serve(t, "")
	visitor := &http.Transport{DisableKeepAlives: true} // reloads close connections
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			// By another address, so that no other row's cool-down is on.
			s.reload(chatToURL(upstream.URL+"/"+url.PathEscape(name), once))
			resp := s.send(visitor, chatRequest(t, s.plain, saying(name)))
			wantError(t, resp, row.status, "their_code:chat")
			values := resp.Header.Values("Retry-After")
			if row.least < 0 {
				if len(values) != 0 {
					t.Errorf("got Retry-After: %q", values)
				}
				return
			}
			if len(values) != 1 {
				t.Fatalf("got Retry-After: %q", values)
			}
			if got, err := strconv.Atoi(values[0]); err != nil || got < row.least || got > row.most {
				t.Errorf("got Retry-After: %q, want %d to %d", values, row.least, row.most)
			}
		})
	}
}

// TestRedirectsAreNotFollowed because the token is for the configured host alone.
func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := newUpstream(t, finishing)
	answers := make(map[string]http.HandlerFunc)
	for _, status := range []int{301, 302, 303, 307, 308} {
		answers[strconv.Itoa(status)] = answering(status, "", "Location", elsewhere.URL)
		answers[strconv.Itoa(status)+" to itself"] = answering(status, "", "Location", "/api/chat")
	}
	upstream := newUpstream(t, byMessage(answers))
	s := serve(t, chatToURL(upstream.URL, ""))
	for name := range answers {
		t.Run(name, func(t *testing.T) {
			resp := s.ask(saying(name))
			wantError(t, resp, http.StatusBadGateway, "bad_gateway:upstream")
			if got := resp.Header.Get("Location"); got != "" {
				t.Errorf("got Location: %s", got)
			}
			if asked := len(upstream.take()); asked != 1 {
				t.Errorf("the upstream got %d requests", asked)
			}
		})
	}
	if asked := elsewhere.take(); len(asked) != 0 {
		t.Errorf("the other host got %d requests, the first with %q", len(asked), asked[0].header["Authorization"])
	}
}

// TestTokenEcho has an upstream that tells the token, in all the places where it can.
func TestTokenEcho(t *testing.T) {
	const json = "application/json"
	delta := `data: {"type":"text-delta","textDelta":"Hi"}` + "\n\n"
	leak := `data: {"type":"text-delta","textDelta":"` + testToken + `"}` + "\n\n"
	escaped := `\u0069` + testToken[1:]
	const stopped = "leak:upstream"

	rows := []struct {
		name   string
		answer http.HandlerFunc
		status int
		code   string // of the error, or of the finish
		before string // what comes before the finish
	}{
		{"the first event", answering(200, leak+finishLine), 502, "bad_gateway:upstream", ""},
		{"the first event, without its blank line", answering(200, strings.TrimSuffix(leak, "\n")), 502, "bad_gateway:upstream", ""},
		{"a comment before the first event", answering(200, ":"+testToken+"\n\n"+delta), 502, "bad_gateway:upstream", ""},
		{"a later event", answering(200, delta+delta+leak+delta+finishLine), 200, stopped, delta + delta},
		{"the finish", answering(200, delta+strings.Replace(finishLine, "stop", testToken, 1)), 200, stopped, delta},
		{"a comment", answering(200, delta+": "+testToken+"\n\n"+finishLine), 200, stopped, delta},
		{"an event's id", answering(200, delta+"id: "+testToken+"\n"+delta+finishLine), 200, stopped, delta},
		{"a field without a colon", answering(200, delta+testToken+"\n\n"+finishLine), 200, stopped, delta},
		{"JSON", answering(200, `{"text":"`+testToken+`"}`, "Content-Type", json), 502, "bad_gateway:upstream", ""},
		{"a header", answering(200, delta+finishLine, "X-Token", "Bearer "+testToken, "X-Chat-Id", "c1"), 200, "", delta},
		{"one value of a header", answering(200, delta+finishLine, "X-Token", "a", "X-Token", testToken, "X-Chat-Id", "c1"), 200, "", delta},
		{"a trailer", answering(200, delta+finishLine, "Trailer", "X-Token", http.TrailerPrefix+"X-Token", testToken), 200, "", delta},
		{"an error's text", answering(422, `{"error":"bad `+testToken+`","code":"c"}`), 422, "bad_request:upstream", ""},
		{"an error's text, escaped", answering(422, `{"error":"bad `+escaped+`","code":"c"}`), 422, "bad_request:upstream", ""},
		{"an error's code", answering(422, `{"error":"bad","code":"`+testToken+`"}`), 422, "bad_request:upstream", ""},
		{"an error's code, escaped", answering(422, `{"error":"bad","code":"`+escaped+`"}`), 422, "bad_request:upstream", ""},
		{"an error's details", answering(422, `{"error":"bad","code":"c","details":{"a":"`+escaped+`"}}`), 422, "bad_request:upstream", ""},
		{"a name in an error's details", answering(422, `{"error":"bad","code":"c","details":{"`+escaped+`":"a"}}`), 422, "bad_request:upstream", ""},
		{"an error that is a page", answering(500, testToken), 500, "server_error:upstream", ""},
		{"a refusal of the token", answering(401, testToken, "Www-Authenticate", testToken), 502, "unauthorized:upstream", ""},
		{"Retry-After", answering(429, "", "Retry-After", testToken), 429, "rate_limit:upstream", ""},
		{"Location", answering(302, "", "Location", "/"+testToken), 502, "bad_gateway:upstream", ""},
		{"Content-Type", answering(200, "", "Content-Type", "text/"+testToken), 502, "bad_gateway:upstream", ""},
		{"Content-Encoding", answering(200, "", "Content-Encoding", testToken), 502, "bad_gateway:upstream", ""},
		{"the reason phrase", raw("HTTP/1.1 500 " + testToken + "\r\n\r\n"), 500, "server_error:upstream", ""},
		{"what is no head", raw(testToken + "\r\n\r\n"), 502, "bad_gateway:upstream", ""},
		{"a status that is none", raw("HTTP/1.1 " + testToken + "\r\n\r\n"), 502, "bad_gateway:upstream", ""},
		{"a header that is none", raw("HTTP/1.1 200 OK\r\n" + testToken + "\r\n\r\n"), 502, "bad_gateway:upstream", ""},
		{"a length that is none", raw("HTTP/1.1 200 OK\r\nContent-Length: " + testToken + "\r\n\r\n"), 502, "bad_gateway:upstream", ""},
		{"a coding that is none", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: " + testToken + "\r\n\r\n"), 502, "bad_gateway:upstream", ""},
	}
	answers := make(map[string]http.HandlerFunc)
	for _, row := range rows {
		answers[row.name] = row.answer
	}
	upstream := newUpstream(t, byMessage(answers))
	s := serve(t, "log\nlog_append code {http.illumichat.code}\n"+chatToURL(upstream.URL, once))
	logged := len(s.log()) // Caddy itself logs a config, and so a token that is part of it
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			resp := s.ask(saying(row.name))
			body := readAll(t, resp)
			if all := fmt.Sprint(resp.Header, body, resp.Trailer); strings.Contains(all, testToken) || strings.Contains(all, escaped) {
				t.Fatalf("the visitor got the token: %s", all)
			}
			if resp.StatusCode != row.status {
				t.Errorf("got status %d, want %d: %s", resp.StatusCode, row.status, body)
			}
			switch {
			case row.status != http.StatusOK:
				if !strings.Contains(body, `"code":"`+row.code+`"`) {
					t.Errorf("got %s, want the code %s", body, row.code)
				}
			case row.code == "":
				if body != row.before+finishLine {
					t.Errorf("got %q, want what holds no token as it was", body)
				}
				if row.name != "a trailer" && resp.Header.Get("X-Chat-Id") != "c1" {
					t.Error("the other headers are gone, too")
				}
			default:
				if finish := onlyFinish(t, body); finish.Code != row.code || finish.FinishReason != "error" {
					t.Errorf("got finish %+v", finish)
				}
				if !strings.HasPrefix(body, row.before+"data: {\"type\":\"finish\"") {
					t.Errorf("got %q, want %q and the finish", body, row.before)
				}
			}
			var news string
			eventually(t, "the request is logged", func() bool {
				news = s.log()[logged:]
				return strings.Contains(news, `"handled request"`)
			})
			logged += len(news)
			if strings.Contains(news, testToken) {
				t.Error("the log holds the token")
			}
			if why := "sent the API token back"; row.code == "bad_request:upstream" || row.name == "a header" || row.name == "JSON" {
				if !strings.Contains(news, why) {
					t.Errorf("the log does not say that the upstream %s: %s", why, news)
				}
			}
			if row.code == stopped && !strings.Contains(news, stopped) {
				t.Errorf("the log does not say why the stream was stopped: %s", news)
			}
		})
	}
}

// TestOutgoingRequest is the whole of what the upstream gets, whatever a visitor sends.
func TestOutgoingRequest(t *testing.T) {
	for proto, row := range map[string]struct {
		start     func(testing.TB, sandbox.Options) *sandboxtest.Server
		transport string
	}{
		"HTTP/1.1": {sandboxtest.NewServer, ""},
		"HTTP/2.0": {sandboxtest.NewTLSServer, trusting},
	} {
		t.Run(proto, func(t *testing.T) {
			server := row.start(t, sandbox.Options{})
			s := serve(t, chatTo(server, row.transport))
			keys := make(map[string]bool)
			for visitor, transport := range protocols(t) {
				req := chatRequest(t, s.secure, hello)
				req.URL.RawQuery = "debug=1"
				req.Header = http.Header{
					"Content-Type": {"application/json; charset=utf-8"}, "Authorization": {"Bearer visitor"}, "Cookie": {"a=b"},
					"Accept": {"text/html"}, "Accept-Encoding": {"gzip, br"}, "Accept-Language": {"de"}, "User-Agent": {"visitor"},
					"Origin": {s.secure}, "Referer": {s.secure + "/"}, "Sec-Fetch-Site": {"same-origin"},
					"X-Forwarded-For": {"192.0.2.1"}, "Forwarded": {"for=192.0.2.1"}, "X-Real-Ip": {"192.0.2.1"}, "Via": {"1.1 x"},
					"Idempotency-Key": {`"visitor"`}, "Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
					"X-Anything": {"visitor"}, "Te": {"trailers"}, "Cache-Control": {"no-cache"}, "If-Match": {`"x"`},
				}
				resp := s.send(transport, req)
				if body := readAll(t, resp); resp.StatusCode != http.StatusOK {
					t.Fatalf("got status %d: %s", resp.StatusCode, body)
				}
				requests := server.Requests()
				got := requests[len(requests)-1]
				body := `{"messages":[{"role":"user","content":"Hello"}],"assistantId":"asst_demo"}`
				key := got.Header.Get("Idempotency-Key")
				want := http.Header{
					"Authorization":   {"Bearer " + testToken},
					"Content-Type":    {"application/json"},
					"Content-Length":  {strconv.Itoa(len(body))},
					"Accept":          {"text/event-stream"},
					"Accept-Encoding": {"identity"},
					"User-Agent":      {"caddy-illumichat"},
					"Idempotency-Key": {key},
				}
				if !reflect.DeepEqual(got.Header, want) {
					t.Errorf("over %s: the upstream got the header %v, want %v", visitor, got.Header, want)
				}
				if string(got.Body) != body || got.Method != "POST" || got.Path != "/api/chat" || got.Proto != proto {
					t.Errorf("over %s: the upstream got %s %s %s %s", visitor, got.Method, got.Path, got.Proto, got.Body)
				}
				if !quotedKey.MatchString(key) || keys[key] {
					t.Errorf("over %s: the upstream got the Idempotency-Key %s, want a new quoted one", visitor, key)
				}
				keys[key] = true
			}
			if got := len(server.Requests()); got != 3 {
				t.Errorf("the upstream got %d requests, want 3", got)
			}
		})
	}
}

var quotedKey = regexp.MustCompile(`^"[0-9A-Za-z-]{20,64}"$`)

// TestNoSilentRepeat has an upstream that closes a kept connection on the second request. net/http would
// send a POST with an Idempotency-Key once more by itself.
func TestNoSilentRepeat(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan int, 10) // which request it was on its connection
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() { answerOnce(conn, asked) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		open.Wait()
	})
	s := serve(t, chatToURL("http://"+listener.Addr().String(), once))

	if body := readAll(t, s.ask(hello)); body != finishLine {
		t.Fatalf("got %q", body)
	}
	wantError(t, s.ask(hello), http.StatusBadGateway, "bad_gateway:upstream")
	if first, second := <-asked, <-asked; first != 1 || second != 2 {
		t.Fatalf("the requests were number %d and %d of their connections, want 1 and 2", first, second)
	}
	select {
	case n := <-asked:
		t.Errorf("the request was repeated, as number %d of a connection", n)
	default:
	}
}

// answerOnce answers a connection's first request, and closes it when the second one has come.
func answerOnce(conn net.Conn, asked chan<- int) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(patience)) != nil {
		return
	}
	in := bufio.NewReader(conn)
	for n := 1; n <= 2; n++ {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		asked <- n
		if n == 1 {
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(finishLine), finishLine)
		}
	}
}
