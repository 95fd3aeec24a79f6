package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

const testToken = sandbox.Token

// upstreamError is an error of the upstream and what the visitor gets for it.
type upstreamError struct {
	name   string
	answer http.HandlerFunc
	status int
	code   string
	body   string // all of it; "" if the text must be the module's own
}

const (
	eventStream = "text/event-stream"
	webPage     = "<!doctype html><title>Their page</title>"
)

// upstreamErrors returns the rows of the error table that the upstream causes.
func upstreamErrors() []upstreamError {
	var rows []upstreamError
	add := func(name string, answer http.HandlerFunc, status int, code, body string) {
		rows = append(rows, upstreamError{name, answer, status, code, body})
	}
	for status, code := range map[int]string{
		400: "bad_request:upstream",
		404: "not_found:upstream",
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
		add(fmt.Sprintf("%d with their words", status), sitetest.Answering(status, sitetest.Theirs), status, "their_code:chat", sitetest.Theirs)
		add(fmt.Sprintf("%d with a page", status), sitetest.Answering(status, webPage, "Content-Type", "text/html"), status, code, "")
		add(fmt.Sprintf("%d with nothing", status), sitetest.Answering(status, ""), status, code, "")
	}
	// These concern the upstream's connection with the module. A browser may repeat a chat that is answered by one of them.
	for status, want := range map[int]int{408: 504, 417: 502, 421: 502, 425: 502, 426: 502, 431: 502} {
		code := map[int]string{502: "bad_gateway:upstream", 504: "timeout:upstream"}[want]
		add(fmt.Sprintf("%d with their words", status), sitetest.Answering(status, sitetest.Theirs), want, code, "")
		add(fmt.Sprintf("%d with a page", status), sitetest.Answering(status, webPage, "Content-Type", "text/html"), want, code, "")
	}
	for _, status := range []int{401, 407} {
		add(fmt.Sprintf("%d with their words", status), sitetest.Answering(status, sitetest.Theirs), 502, "unauthorized:upstream", "")
		add(fmt.Sprintf("%d with a page", status), sitetest.Answering(status, webPage, "Www-Authenticate", "Basic"), 502, "unauthorized:upstream", "")
	}
	add("403 with their words", sitetest.Answering(403, sitetest.Theirs), 502, "unauthorized:upstream", "")
	add("403 with a page", sitetest.Answering(403, webPage, "Cf-Mitigated", "challenge"), 502, "blocked:upstream", "")
	add("403 with the words of another service", sitetest.Answering(403, `{"error":"e","code":"plan_upgrade_required"}`), 502, "blocked:upstream", "")
	for _, stated := range []struct {
		code   string
		status int
	}{{"rate_limit:chat", 429}, {"not_found:chat", 404}, {"bad_request:chat", 400}, {"internal:chat", 502}} {
		words := `{"error":"e","code":"` + stated.code + `"}`
		add("JSON that is an error: "+stated.code, sitetest.Answering(200, words, "Content-Type", "application/json"), stated.status, stated.code, words)
		add("a stream that is only an error: "+stated.code, sitetest.Answering(200, words, "Content-Type", eventStream), stated.status, stated.code, words)
		add("a first event that is an error: "+stated.code, sitetest.Answering(200, ":\n\ndata: "+words+"\n\n", "Content-Type", eventStream), stated.status, stated.code, words)
	}
	words := `{"error":"e","code":"forbidden:api"}`
	add("JSON that refuses the token", sitetest.Answering(200, words, "Content-Type", "application/json"), 502, "unauthorized:upstream", "")
	add("a first event that refuses the token", sitetest.Answering(200, "data: "+words+"\n\n", "Content-Type", eventStream), 502, "unauthorized:upstream", "")
	add("another protocol", sitetest.Answering(200, "0:\"Hello\"\n0:\" you\"\n", "Content-Type", "text/plain"), 502, "bad_gateway:upstream", "")
	for _, status := range []int{101, 201, 202, 204, 206, 300, 301, 302, 303, 304, 307, 308, 600, 999} {
		answer := fmt.Sprintf("HTTP/1.1 %d Odd\r\nContent-Type: application/json\r\n\r\n", status)
		add(fmt.Sprintf("%d", status), sitetest.Raw(answer+sitetest.Theirs), 502, "bad_gateway:upstream", "")
	}

	// The upstream's words are passed on only in this shape.
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
		"a name twice":           {`{"error":"e","error":"f","code":"c"}`, `{"error":"f","code":"c"}`},
		"invalid UTF-8":          {"{\"error\":\"pass\xe9\",\"code\":\"c\"}", "{\"error\":\"pass\uFFFD\",\"code\":\"c\"}"},
		"half a character":       {`{"error":"a \ud83d","code":"c"}`, "{\"error\":\"a \uFFFD\",\"code\":\"c\"}"},
		"more than one value":    {sitetest.Theirs + sitetest.Theirs, ""},
		"torn":                   {sitetest.Theirs[:len(sitetest.Theirs)-1], ""},
		"a list":                 {`[` + sitetest.Theirs + `]`, ""},
		"null":                   {`null`, ""},
	} {
		code := "c"
		if row.want == "" {
			code = "bad_request:upstream"
		}
		add("a 422 with "+name, sitetest.Answering(422, row.answer), 422, code, row.want)
	}
	add("a 500 that breaks off", sitetest.Breaking(sitetest.Answering(500, sitetest.Theirs, "Content-Length", "1000")), 500, "server_error:upstream", "")

	// A 200 that is not the answer to a chat.
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
		add("a 200 with "+name, sitetest.Answering(200, sitetest.Finish, header...), 502, "bad_gateway:upstream", "")
	}
	add("JSON of more than 1 MiB", sitetest.Answering(200, `"`+strings.Repeat("x", 1<<20-1)+`"`, "Content-Type", "application/json"), 502, "bad_gateway:upstream", "")
	add("JSON that is empty", sitetest.Answering(200, "\n", "Content-Type", "application/json"), 502, "bad_gateway:upstream", "")
	add("JSON that breaks off", sitetest.Breaking(sitetest.Answering(200, `{`, "Content-Type", "application/json", "Content-Length", "2")), 502, "bad_gateway:upstream", "")

	// A 200 that ends or breaks before its first event.
	for name, answer := range map[string]string{
		"nothing":                   "",
		"blank lines":               "\n\n\n",
		"a comment":                 ": hello\n\n",
		"a block without data":      "event: message\nid: 7\n\n",
		"a torn event":              `data: {"type":"text-delta","textDelta":"He`,
		"an event without line end": strings.TrimSpace(sitetest.Finish),
	} {
		add("a stream of "+name, sitetest.Answering(200, answer, "Content-Type", eventStream), 502, "bad_gateway:upstream", "")
		add("a broken stream of "+name, sitetest.Breaking(sitetest.Answering(200, answer, "Content-Type", eventStream)), 502, "bad_gateway:upstream", "")
	}
	add("no head", sitetest.Raw(""), 502, "bad_gateway:upstream", "")
	add("half a head", sitetest.Raw("HTTP/1.1 200 OK\r\nContent-Ty"), 502, "bad_gateway:upstream", "")
	add("no HTTP", sitetest.Raw("hello\r\n\r\n"), 502, "bad_gateway:upstream", "")
	add("a malformed chunk", sitetest.Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), 502, "bad_gateway:upstream", "")
	return rows
}

// Every error of the upstream reaches the visitor with the documented status, code and shape. The upstream's own words
// pass only if they have that shape.
func TestUpstreamErrors(t *testing.T) {
	rows := upstreamErrors()
	answers := make(map[string]http.HandlerFunc)
	for _, row := range rows {
		answers[row.name] = row.answer
	}
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(answers))
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, sitetest.Once))
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			resp := s.Ask(sitetest.Saying(row.name))
			text := sitetest.WantError(t, resp, row.status, row.code)
			if row.body == "" && (strings.Contains(text, "Their") || strings.HasPrefix(text, "x")) {
				t.Errorf("the text is the upstream's: %q", text)
			}
			if row.body != "" {
				if body := s.Ask(sitetest.Saying(row.name)); sitetest.ReadAll(t, body) != row.body {
					t.Errorf("the body is not %.200s", row.body)
				}
			}
			if got := resp.Header.Get("Www-Authenticate"); got != "" {
				t.Errorf("the visitor is asked to log in: %q", got)
			}
		})
	}
	if !strings.Contains(s.Log(), "the upstream refused the API token; check") {
		t.Error("the log does not say what to do about a token that is refused")
	}
}

// If the upstream sends no answer or no event in time, the visitor gets a 504. That holds for response_timeout and
// max_duration.
func TestUpstreamTimeouts(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"silent":       sitetest.Silent,
		"hang":         sitetest.Stalling(sitetest.Answering(200, "", "Content-Type", eventStream)),
		"comments":     sitetest.Stalling(sitetest.Answering(200, ": hello\n\n", "Content-Type", eventStream)),
		"a torn event": sitetest.Stalling(sitetest.Answering(200, "data: {", "Content-Type", eventStream)),
		"torn JSON":    sitetest.Stalling(sitetest.Answering(200, "{", "Content-Type", "application/json")),
	}
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(answers))
	for _, limit := range []string{"response_timeout", "max_duration"} {
		s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, limit+" 50ms\n"+sitetest.Once))
		for name := range answers {
			t.Run(limit+"/"+name, func(t *testing.T) {
				sitetest.WantError(t, s.Ask(sitetest.Saying(name)), http.StatusGatewayTimeout, "timeout:upstream")
			})
		}
	}
}

// If the upstream cannot be reached, the visitor gets a 502.
func TestUnreachableUpstream(t *testing.T) {
	s := sitetest.Serve(t, sitetest.ChatToURL(fmt.Sprintf("http://127.0.0.1:%d", localhost.Port(t)), sitetest.Once))
	sitetest.WantError(t, s.Ask(sitetest.Hello), http.StatusBadGateway, "bad_gateway:upstream")
}

// An event stream or JSON reaches the visitor byte for byte, with its media type. Plain text, bytes and a missing type
// count as an event stream.
func TestUpstreamAnswers(t *testing.T) {
	const json = "application/json"
	largest := `"` + strings.Repeat("x", 1<<20-2) + `"`
	rows := []struct {
		name      string
		answer    http.HandlerFunc
		mediaType string
		want      string
	}{
		{"an event stream", sitetest.Answering(200, sitetest.Finish, "Content-Type", eventStream), eventStream, sitetest.Finish},
		{"with a charset", sitetest.Answering(200, sitetest.Finish, "Content-Type", "text/event-stream; charset=utf-8"), eventStream, sitetest.Finish},
		{"in capitals", sitetest.Answering(200, sitetest.Finish, "Content-Type", "TEXT/EVENT-STREAM"), eventStream, sitetest.Finish},
		{"plain text", sitetest.Answering(200, sitetest.Finish, "Content-Type", "text/plain; charset=utf-8"), eventStream, sitetest.Finish},
		{"bytes", sitetest.Answering(200, sitetest.Finish, "Content-Type", "application/octet-stream"), eventStream, sitetest.Finish},
		{"no type", sitetest.Answering(200, sitetest.Finish), eventStream, sitetest.Finish},
		{"identity", sitetest.Answering(200, sitetest.Finish, "Content-Type", eventStream, "Content-Encoding", "identity"), eventStream, sitetest.Finish},
		{"identity in capitals", sitetest.Answering(200, sitetest.Finish, "Content-Type", eventStream, "Content-Encoding", "Identity"), eventStream, sitetest.Finish},
		{"only the blank line missing", sitetest.Answering(200, strings.TrimSuffix(sitetest.Finish, "\n"), "Content-Type", eventStream), eventStream, sitetest.Finish},
		{"early hints", sitetest.Raw("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" + sitetest.Finish), eventStream, sitetest.Finish},

		{"JSON", sitetest.Answering(200, `{"text": "Hi"}`+"\n", "Content-Type", json), json, `{"text": "Hi"}` + "\n"},
		{"JSON with a charset", sitetest.Answering(200, `{}`, "Content-Type", "Application/JSON; charset=utf-8"), json, `{}`},
		{"what is only called JSON", sitetest.Answering(200, "\xff{", "Content-Type", json), json, "\xff{"},
		{"JSON of 1 MiB", sitetest.Answering(200, largest, "Content-Type", json), json, largest},
	}
	answers := make(map[string]http.HandlerFunc)
	for _, row := range rows {
		answers[row.name] = row.answer
	}
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(answers))
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, ""))
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			resp := s.Ask(sitetest.Saying(row.name))
			if body := sitetest.ReadAll(t, resp); body != row.want || resp.StatusCode != http.StatusOK {
				t.Errorf("got status %d and %.200q, want %.200q", resp.StatusCode, body, row.want)
			}
			if got := resp.Header.Values("Content-Type"); len(got) != 1 || got[0] != row.mediaType {
				t.Errorf("got Content-Type %q, want %q", got, row.mediaType)
			}
		})
	}
}

// The visitor gets the upstream's Retry-After in seconds, at most an hour. A 429 always has one.
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
		"a fraction":             {429, "1.5", 2, 2},
		"garbage":                {429, "soon", 1, hour},
		"garbage of a 503":       {503, "soon", -1, -1},
		"missing":                {429, "", 1, hour},
		"missing of a 503":       {503, "", -1, -1},
		"missing of a 500":       {500, "", -1, -1},
	}
	answers := make(map[string]http.HandlerFunc)
	for name, row := range rows {
		answers[name] = sitetest.Answering(row.status, sitetest.Theirs, "Retry-After", row.value)
		if row.value == "" {
			answers[name] = sitetest.Answering(row.status, sitetest.Theirs)
		}
	}
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(answers))
	s := sitetest.Serve(t, "")
	visitor := &http.Transport{DisableKeepAlives: true} // reloads close connections
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			// Each row has an endpoint of its own, so that no other row's cool-down is on.
			s.Reload(sitetest.ChatToURL(upstream.URL+"/"+url.PathEscape(name), sitetest.Once))
			resp := s.Send(visitor, sitetest.ChatRequest(t, s.Plain, sitetest.Saying(name)))
			sitetest.WantError(t, resp, row.status, "their_code:chat")
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

// Redirects are not followed, because the token is for the configured host alone.
func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := sitetest.NewUpstream(t, sitetest.Finishing)
	answers := make(map[string]http.HandlerFunc)
	for _, status := range []int{301, 302, 303, 307, 308} {
		answers[strconv.Itoa(status)] = sitetest.Answering(status, "", "Location", elsewhere.URL)
		answers[strconv.Itoa(status)+" to itself"] = sitetest.Answering(status, "", "Location", "/api/chat")
	}
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(answers))
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, ""))
	for name := range answers {
		t.Run(name, func(t *testing.T) {
			resp := s.Ask(sitetest.Saying(name))
			sitetest.WantError(t, resp, http.StatusBadGateway, "bad_gateway:upstream")
			if got := resp.Header.Get("Location"); got != "" {
				t.Errorf("got Location: %s", got)
			}
			if asked := len(upstream.Take()); asked != 1 {
				t.Errorf("the upstream got %d requests", asked)
			}
		})
	}
	if asked := elsewhere.Take(); len(asked) != 0 {
		t.Errorf("the other host got %d requests, the first with %q", len(asked), asked[0].Header["Authorization"])
	}
}

// If the upstream sends the token back, wherever in its answer, neither the visitor nor the log gets it.
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
		{"the first event", sitetest.Answering(200, leak+sitetest.Finish), 502, "bad_gateway:upstream", ""},
		{"the first event, without its blank line", sitetest.Answering(200, strings.TrimSuffix(leak, "\n")), 502, "bad_gateway:upstream", ""},
		{"a comment before the first event", sitetest.Answering(200, ":"+testToken+"\n\n"+delta), 502, "bad_gateway:upstream", ""},
		{"a later event", sitetest.Answering(200, delta+delta+leak+delta+sitetest.Finish), 200, stopped, delta + delta},
		{"the finish", sitetest.Answering(200, delta+strings.Replace(sitetest.Finish, "stop", testToken, 1)), 200, stopped, delta},
		{"a comment", sitetest.Answering(200, delta+": "+testToken+"\n\n"+sitetest.Finish), 200, stopped, delta},
		{"an event's id", sitetest.Answering(200, delta+"id: "+testToken+"\n"+delta+sitetest.Finish), 200, stopped, delta},
		{"a field without a colon", sitetest.Answering(200, delta+testToken+"\n\n"+sitetest.Finish), 200, stopped, delta},
		{"JSON", sitetest.Answering(200, `{"text":"`+testToken+`"}`, "Content-Type", json), 502, "bad_gateway:upstream", ""},
		{"a header", sitetest.Answering(200, delta+sitetest.Finish, "X-Token", "Bearer "+testToken, "X-Chat-Id", "c1"), 200, "", delta},
		{"one value of a header", sitetest.Answering(200, delta+sitetest.Finish, "X-Token", "a", "X-Token", testToken, "X-Chat-Id", "c1"), 200, "", delta},
		{"a trailer", sitetest.Answering(200, delta+sitetest.Finish, "Trailer", "X-Token", http.TrailerPrefix+"X-Token", testToken), 200, "", delta},
		{"an error's text", sitetest.Answering(422, `{"error":"bad `+testToken+`","code":"c"}`), 422, "bad_request:upstream", ""},
		{"an error's text, escaped", sitetest.Answering(422, `{"error":"bad `+escaped+`","code":"c"}`), 422, "bad_request:upstream", ""},
		{"an error's code", sitetest.Answering(422, `{"error":"bad","code":"`+testToken+`"}`), 422, "bad_request:upstream", ""},
		{"an error's code, escaped", sitetest.Answering(422, `{"error":"bad","code":"`+escaped+`"}`), 422, "bad_request:upstream", ""},
		{"an error's details", sitetest.Answering(422, `{"error":"bad","code":"c","details":{"a":"`+escaped+`"}}`), 422, "bad_request:upstream", ""},
		{"a name in an error's details", sitetest.Answering(422, `{"error":"bad","code":"c","details":{"`+escaped+`":"a"}}`), 422, "bad_request:upstream", ""},
		{"an error that is a page", sitetest.Answering(500, testToken), 500, "server_error:upstream", ""},
		{"a refusal of the token", sitetest.Answering(401, testToken, "Www-Authenticate", testToken), 502, "unauthorized:upstream", ""},
		{"Retry-After", sitetest.Answering(429, "", "Retry-After", testToken), 429, "rate_limit:upstream", ""},
		{"Location", sitetest.Answering(302, "", "Location", "/"+testToken), 502, "bad_gateway:upstream", ""},
		{"Content-Type", sitetest.Answering(200, "", "Content-Type", "text/"+testToken), 502, "bad_gateway:upstream", ""},
		{"Content-Encoding", sitetest.Answering(200, "", "Content-Encoding", testToken), 502, "bad_gateway:upstream", ""},
		{"the reason phrase", sitetest.Raw("HTTP/1.1 500 " + testToken + "\r\n\r\n"), 500, "server_error:upstream", ""},
		{"what is no head", sitetest.Raw(testToken + "\r\n\r\n"), 502, "bad_gateway:upstream", ""},
		{"a status that is none", sitetest.Raw("HTTP/1.1 " + testToken + "\r\n\r\n"), 502, "bad_gateway:upstream", ""},
		{"a header that is none", sitetest.Raw("HTTP/1.1 200 OK\r\n" + testToken + "\r\n\r\n"), 502, "bad_gateway:upstream", ""},
		{"a length that is none", sitetest.Raw("HTTP/1.1 200 OK\r\nContent-Length: " + testToken + "\r\n\r\n"), 502, "bad_gateway:upstream", ""},
		{"a coding that is none", sitetest.Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: " + testToken + "\r\n\r\n"), 502, "bad_gateway:upstream", ""},
	}
	answers := make(map[string]http.HandlerFunc)
	for _, row := range rows {
		answers[row.name] = row.answer
	}
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(answers))
	s := sitetest.Serve(t, "log\nlog_append code {http.illumichat.code}\n"+sitetest.ChatToURL(upstream.URL, sitetest.Once))
	logged := len(s.Log()) // Caddy itself logs a config, and so a token that is part of it
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			resp := s.Ask(sitetest.Saying(row.name))
			body := sitetest.ReadAll(t, resp)
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
				if body != row.before+sitetest.Finish {
					t.Errorf("got %q, want what holds no token as it was", body)
				}
				if row.name != "a trailer" && resp.Header.Get("X-Chat-Id") != "c1" {
					t.Error("the other headers are gone, too")
				}
			default:
				if finish := sitetest.OnlyFinish(t, body); finish.Code != row.code || finish.FinishReason != "error" {
					t.Errorf("got finish %+v", finish)
				}
				if !strings.HasPrefix(body, row.before+"data: {\"type\":\"finish\"") {
					t.Errorf("got %q, want %q and the finish", body, row.before)
				}
			}
			var news string
			sitetest.Eventually(t, "the request is logged", func() bool {
				news = s.Log()[logged:]
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

// Whatever a visitor sends, the upstream gets the module's own headers and the body that the module wrote, and nothing
// else.
func TestOutgoingRequest(t *testing.T) {
	for proto, row := range map[string]struct {
		start     func(testing.TB, sandbox.Options) *sandboxtest.Server
		transport string
	}{
		"HTTP/1.1": {sandboxtest.NewServer, ""},
		"HTTP/2.0": {sandboxtest.NewTLSServer, sitetest.Trusting},
	} {
		t.Run(proto, func(t *testing.T) {
			server := row.start(t, sandbox.Options{})
			s := sitetest.Serve(t, sitetest.ChatTo(server, row.transport))
			keys := make(map[string]bool)
			for visitor, transport := range sitetest.Protocols(t) {
				req := sitetest.ChatRequest(t, s.Secure, sitetest.Hello)
				req.URL.RawQuery = "debug=1"
				req.Header = http.Header{
					"Content-Type": {"application/json; charset=utf-8"}, "Authorization": {"Bearer visitor"}, "Cookie": {"a=b"},
					"Accept": {"text/html"}, "Accept-Encoding": {"gzip, br"}, "Accept-Language": {"de"}, "User-Agent": {"visitor"},
					"Origin": {s.Secure}, "Referer": {s.Secure + "/"}, "Sec-Fetch-Site": {"same-origin"},
					"X-Forwarded-For": {"192.0.2.1"}, "Forwarded": {"for=192.0.2.1"}, "X-Real-Ip": {"192.0.2.1"}, "Via": {"1.1 x"},
					"Idempotency-Key": {`"visitor"`}, "Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
					"X-Anything": {"visitor"}, "Te": {"trailers"}, "Cache-Control": {"no-cache"}, "If-Match": {`"x"`},
				}
				resp := s.Send(transport, req)
				if body := sitetest.ReadAll(t, resp); resp.StatusCode != http.StatusOK {
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

// A request is not repeated silently when the upstream closes a kept connection on it. net/http by itself would send a
// POST with an Idempotency-Key once more.
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
	s := sitetest.Serve(t, sitetest.ChatToURL("http://"+listener.Addr().String(), sitetest.Once))

	if body := sitetest.ReadAll(t, s.Ask(sitetest.Hello)); body != sitetest.Finish {
		t.Fatalf("got %q", body)
	}
	sitetest.WantError(t, s.Ask(sitetest.Hello), http.StatusBadGateway, "bad_gateway:upstream")
	if first, second := <-asked, <-asked; first != 1 || second != 2 {
		t.Fatalf("the requests were number %d and %d of their connections, want 1 and 2", first, second)
	}
	select {
	case n := <-asked:
		t.Errorf("the request was repeated, as number %d of a connection", n)
	default:
	}
}

// answerOnce answers a connection's first request, and closes the connection when the second one has come.
func answerOnce(conn net.Conn, asked chan<- int) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(sitetest.Patience)) != nil {
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
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(sitetest.Finish), sitetest.Finish)
		}
	}
}

// A visitor who claims to be this module gets an answer: only the token shows that a request is its own.
func TestUserAgentOfTheModule(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, ""))
	for _, authorization := range []string{"", "Bearer", "Bearer ic_another0000000000000000000000000000000000", "Basic " + sandbox.Token} {
		req := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
		req.Header.Set("User-Agent", "caddy-illumichat")
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		sitetest.OnlyFinish(t, sitetest.ReadAll(t, s.Send(http.DefaultTransport, req)))
	}
}

// An endpoint that leads back to the chat is found out at the second request, and the log says what to write.
func TestEndpointLeadsBack(t *testing.T) {
	for _, way := range []string{"directly", "through another site"} {
		t.Run(way, func(t *testing.T) {
			s := sitetest.New(t, "grace_period 1ms")
			endpoint, proxy := s.Plain+sitetest.ChatPath, ""
			if way != "directly" {
				endpoint = s.Plain + "/proxy" + sitetest.ChatPath
				proxy = "handle_path /proxy/* {\nreverse_proxy " + strings.TrimPrefix(s.Plain, "http://") + "\n}\n"
			}
			t.Cleanup(func() { _ = caddy.Stop() })
			s.Reload(proxy + sitetest.ChatToURL(endpoint, ""))
			sitetest.WantError(t, s.Ask(sitetest.Hello), http.StatusLoopDetected, "bad_gateway:upstream")
			for _, line := range wantTold(t, s, "error", "the chat failed", 2) { // the second request, and the visitor's
				if !strings.Contains(line.Hint, "with the same token, such as this chat itself") {
					t.Errorf("the log does not say what is wrong: %+v", line)
				}
			}
			if got := strings.Count(s.Log(), `"msg":"the chat failed"`); got != 2 {
				t.Errorf("%d requests have failed", got)
			}
		})
	}
}
