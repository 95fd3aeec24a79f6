package sandbox_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

func TestRefusals(t *testing.T) {
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	method := func(method string) func(*http.Request) {
		return func(r *http.Request) { r.Method = method }
	}
	for name, tc := range map[string]struct {
		body   string // default: a good one
		change func(*http.Request)
		status int
		code   string
		detail string // a field that the details name
	}{
		"no token":        {change: func(r *http.Request) { r.Header.Del("Authorization") }, status: 401, code: "unauthorized:chat"},
		"wrong token":     {change: header("Authorization", "Bearer ic_test"), status: 401, code: "unauthorized:chat"},
		"longer token":    {change: header("Authorization", "Bearer "+sandbox.Token+"0"), status: 401, code: "unauthorized:chat"},
		"no bearer":       {change: header("Authorization", sandbox.Token), status: 401, code: "unauthorized:chat"},
		"GET":             {change: method("GET"), status: 405, code: "method_not_allowed:chat"},
		"OPTIONS":         {change: method("OPTIONS"), status: 405, code: "method_not_allowed:chat"},
		"text":            {change: header("Content-Type", "text/plain"), status: 415, code: "unsupported_media_type:chat"},
		"no content type": {change: func(r *http.Request) { r.Header.Del("Content-Type") }, status: 415, code: "unsupported_media_type:chat"},

		"no JSON":         {body: `Hello`, status: 400, code: "bad_request:chat"},
		"torn JSON":       {body: `{"assistantId":"asst_demo"`, status: 400, code: "bad_request:chat"},
		"two objects":     {body: saying("a") + saying("b"), status: 400, code: "bad_request:chat"},
		"array":           {body: `[]`, status: 400, code: "bad_request:chat"},
		"null":            {body: `null`, status: 400, code: "bad_request:chat", detail: "assistantId"},
		"no assistant":    {body: `{"messages":[{"role":"user","content":"a"}]}`, status: 400, code: "bad_request:chat", detail: "assistantId"},
		"no messages":     {body: `{"assistantId":"asst_demo"}`, status: 400, code: "bad_request:chat", detail: "messages"},
		"empty messages":  {body: `{"assistantId":"asst_demo","messages":[]}`, status: 400, code: "bad_request:chat", detail: "messages"},
		"text messages":   {body: `{"assistantId":"asst_demo","messages":"a"}`, status: 400, code: "bad_request:chat"},
		"no role":         {body: `{"assistantId":"asst_demo","messages":[{"content":"a"}]}`, status: 400, code: "bad_request:chat", detail: "messages[0].role"},
		"no content":      {body: `{"assistantId":"asst_demo","messages":[{"role":"user","content":"a"},{"role":"user"}]}`, status: 400, code: "bad_request:chat", detail: "messages[1].content"},
		"null content":    {body: `{"assistantId":"asst_demo","messages":[{"role":"user","content":null}]}`, status: 400, code: "bad_request:chat", detail: "messages[0].content"},
		"empty content":   {body: `{"assistantId":"asst_demo","messages":[{"role":"user","content":""}]}`, status: 400, code: "bad_request:chat", detail: "messages[0].content"},
		"no parts":        {body: `{"assistantId":"asst_demo","messages":[{"role":"user","content":[]}]}`, status: 400, code: "bad_request:chat", detail: "messages[0].content"},
		"numeric content": {body: `{"assistantId":"asst_demo","messages":[{"role":"user","content":1}]}`, status: 400, code: "bad_request:chat"},

		"unknown assistant": {body: `{"assistantId":"asst_other","messages":[{"role":"user","content":"a"}]}`, status: 404, code: "not_found:chat"},
		"unknown chat":      {body: `{"assistantId":"asst_demo","chatId":"chat_x","messages":[{"role":"user","content":"a"}]}`, status: 404, code: "not_found:chat"},
	} {
		t.Run(name, func(t *testing.T) {
			body := tc.body
			if body == "" {
				body = saying("Hello")
			}
			r := chatRequest(t, body)
			if tc.change != nil {
				tc.change(r)
			}
			w := answer(sandbox.New(sandbox.Options{}), r)
			checkError(t, w, tc.status, tc.code, tc.detail)
			if allow := w.header.Get("Allow"); (allow == "POST") != (tc.status == 405) {
				t.Errorf("got Allow: %q", allow)
			}
		})
	}
}

// checkError fails the test unless the answer is an error of the documented
// shape. The details must name the field, if there is one.
func checkError(t *testing.T, w *recording, status int, code, field string) {
	t.Helper()
	if got := w.header.Get("Content-Type"); w.status != status || got != "application/json" {
		t.Fatalf("got %d %s, want %d: %s", w.status, got, status, w.body())
	}
	var e struct {
		Error, Code string
		Details     map[string]string
	}
	d := json.NewDecoder(strings.NewReader(w.body()))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		t.Fatal(err)
	}
	if e.Error == "" || e.Code != code {
		t.Errorf("got %+v, want the code %s", e, code)
	}
	if _, ok := e.Details[field]; field != "" && !ok {
		t.Errorf("got the details %v, want %s in them", e.Details, field)
	}
}
