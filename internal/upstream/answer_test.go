package upstream

import (
	"cmp"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// accept lets Accept check a response. It returns the error as the visitor would get it, and the leaks that are reported.
func accept(status int, header http.Header, body io.Reader) (Answer, *apierror.Error, []Leak) {
	var leaks []Leak
	resp := &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(body)}
	answer, err := Accept(resp, newToken([]byte(sandbox.Token)), func(leak Leak) { leaks = append(leaks, leak) })
	if i, ok := errors.AsType[*apierror.Interruption](err); ok {
		err = i.Before()
	}
	e, _ := errors.AsType[*apierror.Error](err)
	return answer, e, leaks
}

// The fields Content-Type and Content-Encoding say what an answer is, however they are written.
func TestAnswerTypes(t *testing.T) {
	const stream, value = "a stream", "a JSON value"
	const event, json = "text/event-stream", "application/json"
	const contradiction = "it has several types that contradict each other"
	for _, test := range []struct {
		types, codings []string
		want           string
	}{
		{[]string{event}, nil, stream},
		{[]string{"Text/Event-Stream ; charset=utf-8"}, nil, stream},
		{[]string{"TEXT/EVENT-STREAM"}, nil, stream},
		{[]string{"text/event-stream;"}, nil, stream},
		{[]string{"text/event-stream; charset"}, nil, stream}, // the parameter is malformed
		{[]string{`text/event-stream; note="a,b"`}, nil, stream},
		{[]string{"text/plain; charset=utf-8"}, nil, stream},
		{[]string{"application/octet-stream"}, nil, stream},
		{nil, nil, stream},
		{[]string{""}, nil, stream},
		{[]string{"", event}, nil, stream},
		{[]string{event, "text/event-stream; charset=utf-8"}, nil, stream},
		{[]string{"text/plain", event}, nil, stream},
		{[]string{"text/event-stream, text/event-stream"}, nil, stream},
		{[]string{json}, nil, value},
		{[]string{"Application/JSON; charset=utf-8"}, nil, value},
		{[]string{json, json}, nil, value},

		{[]string{event, json}, nil, contradiction},
		{[]string{"application/json, text/plain"}, nil, contradiction},
		{[]string{event, "text/html"}, nil, "its type is text/html"},
		{[]string{"text/html; charset=utf-8"}, nil, "its type is text/html"},
		{[]string{"application/problem+json"}, nil, "its type is application/problem+json"},
		{[]string{"text/" + sandbox.Token}, nil, "its type is not that of a chat's answer"},
		{[]string{";"}, nil, "its type is malformed"},

		{[]string{event}, []string{"identity"}, stream},
		{[]string{event}, []string{"IDENTITY"}, stream},
		{[]string{event}, []string{"none"}, stream},
		{[]string{event}, []string{"None"}, stream},
		{[]string{event}, []string{""}, stream},
		{[]string{event}, []string{" \t"}, stream},
		{[]string{event}, []string{"identity, none"}, stream},
		{[]string{event}, []string{",none ,, identity\t,"}, stream},
		{[]string{event}, []string{"identity", "", "none"}, stream},
		{[]string{json}, []string{"none"}, value},
		{[]string{json}, []string{"identity,identity"}, value},

		{[]string{event}, []string{"gzip"}, "its content coding is gzip"},
		{[]string{event}, []string{"GZip"}, "its content coding is gzip"},
		{[]string{event}, []string{"identity, zstd"}, "its content coding is zstd"},
		{[]string{event}, []string{"none", "deflate"}, "its content coding is deflate"},
		{[]string{json}, []string{"br"}, "its content coding is br"},
		{[]string{event}, []string{"nonesuch"}, "its content coding is unknown"},
		{[]string{event}, []string{"none none"}, "its content coding is unknown"},
		{[]string{event}, []string{`"none"`}, "its content coding is unknown"},
		{[]string{json}, []string{sandbox.Token}, "its content coding is unknown"},
	} {
		header := http.Header{"Content-Type": test.types, "Content-Encoding": test.codings, "X-Chat-Id": {"c1"}}
		answer, e, _ := accept(200, header, strings.NewReader("{}"))
		got := stream
		if answer.JSON != nil {
			got = value
		}
		if e != nil {
			if got = e.Cause.Error(); e.Status != 502 || e.Code != apierror.CodeBadGateway || answer.Body != nil {
				t.Errorf("%+v: got %v and %+v", test, e, answer)
			}
		} else if rest, err := io.ReadAll(answer.Body); err != nil || string(answer.JSON)+string(rest) != "{}" {
			t.Errorf("%+v: got %q, then %q, %v", test, answer.JSON, rest, err)
		} else if len(answer.Header) != 1 || answer.Header.Get("X-Chat-Id") != "c1" {
			t.Errorf("%+v: got the header %q", test, answer.Header)
		}
		if got != test.want {
			t.Errorf("%+v: got %s", test, got)
		}
	}
}

// The coding of an error's body can cost only its text. An encoded body has no text, and a body that says so wrongly
// keeps it.
func TestCodingOfErrors(t *testing.T) {
	const theirs = `{"error":"their words","code":"their:code"}`
	var packed strings.Builder
	zip := gzip.NewWriter(&packed)
	_, _ = io.WriteString(zip, theirs)
	_ = zip.Close()
	for _, test := range []struct{ coding, body, code string }{
		{"none", theirs, "their:code"},
		{"", theirs, "their:code"},
		{"gzip", theirs, "their:code"},
		{"gzip", packed.String(), "bad_request:upstream"},
		{"none", packed.String(), "bad_request:upstream"},
	} {
		_, e, _ := accept(422, http.Header{"Content-Encoding": {test.coding}}, strings.NewReader(test.body))
		if e == nil || e.Status != 422 || e.SentCode() != test.code || (e.Text == "their words") != (test.code == "their:code") {
			t.Errorf("%q, %.20q: got %v", test.coding, test.body, e)
		}
	}
}

// A JSON answer is at most 1 MiB long, is complete and does not hold the token.
func TestJSONAnswers(t *testing.T) {
	const most = 1 << 20
	for want, body := range map[string]io.Reader{
		"": strings.NewReader(`"` + strings.Repeat("x", most-2) + `"`),
		"the assistant's answer is not an answer to a chat": strings.NewReader(`"` + strings.Repeat("x", most-1) + `"`),
		"the assistant did not answer":                      io.MultiReader(strings.NewReader("{"), iotest.ErrReader(io.ErrUnexpectedEOF)),
		"the answer was stopped":                            strings.NewReader(`{"echo":"` + sandbox.Token + `"}`),
	} {
		answer, e, _ := accept(200, http.Header{"Content-Type": {"application/json"}}, body)
		if want == "" && (e != nil || len(answer.JSON) != most) || want != "" && (e == nil || e.Text != want || answer.JSON != nil) {
			t.Errorf("%q: got %d bytes, %v", want, len(answer.JSON), e)
		}
	}
}

// A status other than 200 is an error. The upstream's own words are sent only if the body has the documented shape, at
// most 64 KiB, and not the token.
func TestErrorAnswers(t *testing.T) {
	theirs, echo := `{"error":"their words","code":"their:code"}`, `{"error":"`+sandbox.Token+`","code":"their:code"}`
	longest := theirs + strings.Repeat(" ", 64<<10-len(theirs))
	for _, test := range []struct {
		upstream int
		body     string
		status   int
		code     string
		leaks    int
	}{
		{401, theirs, 502, "unauthorized:upstream", 0},
		{401, "<html>", 502, "unauthorized:upstream", 0},
		{407, theirs, 502, "unauthorized:upstream", 0},
		{403, theirs, 502, "unauthorized:upstream", 0},
		{403, "<html>", 502, "blocked:upstream", 0},
		{403, "", 502, "blocked:upstream", 0},
		{403, `{"error":"Your plan does not include this","code":"plan_upgrade_required"}`, 502, "blocked:upstream", 0},
		{403, longest + " ", 502, "blocked:upstream", 0},
		{201, theirs, 502, "bad_gateway:upstream", 0},
		{307, theirs, 502, "bad_gateway:upstream", 0},
		{399, theirs, 502, "bad_gateway:upstream", 0},
		{600, theirs, 502, "bad_gateway:upstream", 0},
		{400, theirs, 400, "their:code", 0},
		{400, `{"error":"their words"}`, 400, "bad_request:upstream", 0},
		// These concern the connection with this module, and browsers may repeat a chat that is answered by them.
		{408, theirs, 504, "timeout:upstream", 0},
		{417, theirs, 502, "bad_gateway:upstream", 0},
		{421, theirs, 502, "bad_gateway:upstream", 0},
		{425, theirs, 502, "bad_gateway:upstream", 0},
		{426, theirs, 502, "bad_gateway:upstream", 0},
		{431, theirs, 502, "bad_gateway:upstream", 0},
		{599, longest, 599, "their:code", 0},
		{500, longest + " ", 500, "server_error:upstream", 0},
		{429, "busy", 429, "rate_limit:upstream", 0},
		{502, "who is " + sandbox.Token + "?", 502, "bad_gateway:upstream", 1},
		{404, echo, 404, "not_found:upstream", 1},
		{503, strings.Replace(echo, "ic_", `\u0069c_`, 1), 503, "overloaded:upstream", 1},
	} {
		_, e, leaks := accept(test.upstream, nil, strings.NewReader(test.body))
		if e == nil || e.Status != test.status || e.SentCode() != test.code || (e.Text == "their words") != (test.code == "their:code") {
			t.Errorf("%d, %.60q: got %v", test.upstream, test.body, e)
		}
		if len(leaks) != test.leaks || len(leaks) == 1 && (leaks[0].Status != test.upstream || leaks[0].Header != "") {
			t.Errorf("%d, %.60q: reported: %+v", test.upstream, test.body, leaks)
		}
	}
	// If the body cannot be read, the status still counts.
	for status, want := range map[int]int{500: 500, 429: 429, 400: 400, 408: 504, 401: 502, 403: 502} {
		broken := io.MultiReader(strings.NewReader(theirs), iotest.ErrReader(io.ErrUnexpectedEOF))
		if _, e, _ := accept(status, nil, broken); e == nil || e.Status != want || e.Text == "their words" || status != 401 && status != 403 && e.Upstream != status {
			t.Errorf("%d, and the body cannot be read: got %+v, want status %d", status, e, want)
		}
	}
}

// stalledBody is a body that is silent until it is closed.
type stalledBody struct{ closed chan struct{} }

func (b stalledBody) Read([]byte) (int, error) {
	<-b.closed
	return 0, io.ErrClosedPipe
}

func (b stalledBody) Close() error {
	close(b.closed)
	return nil
}

// If the body of an error is too slow, the visitor gets the status after a moment.
func TestErrorWithAStalledBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resp := &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {"7"}}, Body: stalledBody{make(chan struct{})}}
		began := time.Now()
		_, err := Accept(resp, newToken([]byte(sandbox.Token)), nil)
		e, ok := errors.AsType[*apierror.Error](err)
		if !ok || e.Status != 429 || e.RetryAfter != 7*time.Second {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != errorTextTimeout {
			t.Errorf("it took %s", took)
		}
	})
}

// An answer of status 200 that states an error in the API's format is that error, as JSON and as the first event.
func TestStatedErrors(t *testing.T) {
	for _, test := range []struct {
		code, body string
		status     int
		upstream   int // for which statuses of `on`; 0: none
		sent       string
	}{
		{code: "rate_limit:chat", status: 429, upstream: 429},
		{code: "not_found:chat", status: 404, upstream: 404},
		{code: "bad_request:chat", status: 400, upstream: 400},
		{code: "internal:chat", status: 502, upstream: 502},
		{code: "unauthorized:chat", status: 502, sent: "unauthorized:upstream"},
		{code: "forbidden:api", status: 502, sent: "unauthorized:upstream"},
		{body: `{"type":"error","error":"x","code":"a:b"}`, status: 502, upstream: 502, sent: "a:b"},
		{body: `{"error":"` + strings.Replace(sandbox.Token, "ic_", `\u0069c_`, 1) + `","code":"rate_limit:chat"}`, status: 429, upstream: 429, sent: "rate_limit:upstream"},
		{body: `{"type":"text-delta","error":"x","code":"a:b"}`},
		{body: `{"error":"x"}`},
		{body: `{"error":"x","code":"a"}`},
		{body: `{"error":"","code":"a:b"}`},
		{body: `["error"]`},
	} {
		body := cmp.Or(test.body, `{"error":"x","code":"`+test.code+`"}`)
		want := cmp.Or(test.sent, test.code)
		header := http.Header{"Content-Type": {"application/json"}, "Retry-After": {"7"}}
		_, asJSON, _ := accept(200, header, strings.NewReader(body))
		header.Set("Content-Type", "text/event-stream")
		stream, _, _ := accept(200, header, strings.NewReader(""))
		first, _ := errors.AsType[*apierror.Error](stream.Stated([]byte(body)))
		for _, e := range []*apierror.Error{asJSON, first} {
			switch {
			case test.status == 0 && e != nil:
				t.Errorf("%s: got %v", body, e)
			case test.status != 0 && (e == nil || e.Status != test.status || e.Upstream != test.upstream || e.SentCode() != want):
				t.Errorf("%s: got %+v, want status %d and code %s", body, e, test.status, want)
			case test.upstream != 0 && e.RetryAfter != 7*time.Second:
				t.Errorf("%s: the pause is %s", body, e.RetryAfter)
			}
		}
	}
}
