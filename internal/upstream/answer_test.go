package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// accept lets Accept check a response. It returns the error as the visitor would get it, and the leaks that are reported.
func accept(ctx context.Context, status int, header http.Header, body io.Reader) (Answer, *apierror.Error, []Leak) {
	var leaks []Leak
	resp := &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(body)}
	answer, err := Accept(ctx, resp, newToken([]byte(sandbox.Token)), func(leak Leak) { leaks = append(leaks, leak) })
	if i, ok := errors.AsType[*apierror.Interruption](err); ok {
		err = i.Before()
	}
	e, _ := errors.AsType[*apierror.Error](err)
	return answer, e, leaks
}

func TestAnswerTypes(t *testing.T) {
	const stream, value = "a stream", "a JSON value"
	for _, test := range []struct{ contentType, encoding, want string }{
		{"text/event-stream", "identity", stream},
		{"Text/Event-Stream ; charset=utf-8", "IDENTITY", stream},
		{"text/event-stream; charset", "identity", stream}, // the parameter is malformed
		{"text/plain; charset=utf-8", "identity", stream},
		{"application/octet-stream", "identity", stream},
		{"", "identity", stream},
		{"application/json", "identity", value},
		{"application/json; charset=utf-8", "identity", value},
		{"text/html", "identity", `its type is "text/html"`},
		{"application/problem+json", "identity", `its type is "application/problem+json"`},
		{";", "identity", `its type is ";"`},
		{"text/event-stream", "gzip", `it is encoded: "gzip"`},
		{"application/json", "br", `it is encoded: "br"`},
	} {
		header := http.Header{"Content-Type": {test.contentType}, "Content-Encoding": {"identity", test.encoding}, "X-Chat-Id": {"c1"}}
		answer, e, _ := accept(t.Context(), 200, header, strings.NewReader("{}"))
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

// A JSON answer is at most 1 MiB long, is complete and does not hold the token.
func TestJSONAnswers(t *testing.T) {
	const most = 1 << 20
	for want, body := range map[string]io.Reader{
		"":                                       strings.NewReader(strings.Repeat(" ", most)),
		"the assistant's answer is not a chat's": strings.NewReader(strings.Repeat(" ", most+1)),
		"the assistant did not answer":           io.MultiReader(strings.NewReader("{"), iotest.ErrReader(io.ErrUnexpectedEOF)),
		"the answer was stopped":                 strings.NewReader(`{"echo":"` + sandbox.Token + `"}`),
	} {
		answer, e, _ := accept(t.Context(), 200, http.Header{"Content-Type": {"application/json"}}, body)
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
		{403, theirs, 502, "unauthorized:upstream", 0},
		{407, theirs, 502, "unauthorized:upstream", 0},
		{201, theirs, 502, "bad_gateway:upstream", 0},
		{307, theirs, 502, "bad_gateway:upstream", 0},
		{399, theirs, 502, "bad_gateway:upstream", 0},
		{600, theirs, 502, "bad_gateway:upstream", 0},
		{400, theirs, 400, "their:code", 0},
		{599, longest, 599, "their:code", 0},
		{500, longest + " ", 500, "server_error:upstream", 0},
		{429, "busy", 429, "rate_limit:upstream", 0},
		{502, "who is " + sandbox.Token + "?", 502, "bad_gateway:upstream", 1},
		{404, echo, 404, "not_found:upstream", 1},
		{503, strings.Replace(echo, "ic_", `\u0069c_`, 1), 503, "overloaded:upstream", 1},
	} {
		_, e, leaks := accept(t.Context(), test.upstream, nil, strings.NewReader(test.body))
		if e == nil || e.Status != test.status || e.SentCode() != test.code || (e.Text == "their words") != (test.code == "their:code") {
			t.Errorf("%d, %.60q: got %v", test.upstream, test.body, e)
		}
		if len(leaks) != test.leaks || len(leaks) == 1 && (leaks[0].Status != test.upstream || leaks[0].Header != "") {
			t.Errorf("%d, %.60q: reported: %+v", test.upstream, test.body, leaks)
		}
	}
	// If the attempt ended while the body was read, the answer broke off. If only the reading failed, the status counts.
	ended, end := context.WithCancel(t.Context())
	end()
	for ctx, want := range map[context.Context]int{ended: 502, t.Context(): 500} {
		if _, e, _ := accept(ctx, 500, nil, iotest.ErrReader(io.ErrUnexpectedEOF)); e == nil || e.Status != want {
			t.Errorf("the body cannot be read: got %v, want status %d", e, want)
		}
	}
}
