package apierror

import (
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
)

// encoded is an Error as Encode writes it. It leaves out what only the log gets.
type encoded struct {
	Status     int               `json:"status"`
	Code       string            `json:"code"`
	Text       string            `json:"text"`
	Details    map[string]string `json:"details,omitempty"`
	Wait       []string          `json:"wait,omitempty"` // the Retry-After field
	Adopted    string            `json:"adopted,omitempty"`
	Upstream   int               `json:"upstream,omitzero"`
	RetryAfter int64             `json:"retry_after,omitzero"` // in nanoseconds
}

// Encode returns e as bytes, for visitors of other instances who get the same error. It leaves out the cause and the
// hint, which are logged once, where the error arises. A nil e stands for an error that nobody knows.
func (e *Error) Encode() []byte {
	if e == nil {
		e = Closed.before
	}
	// Marshal cannot fail: see Body.
	p, _ := json.Marshal(encoded{
		e.Status, e.Code.String(), e.Text, e.details, e.Header["Retry-After"], e.adopted, e.Upstream, int64(e.RetryAfter),
	}, asBrowsersRead...)
	return p
}

// Decode returns the error that Encode has written, as one that was logged already. For anything else, it returns the error of an upstream that did not
// answer.
func Decode(p []byte) *Error {
	var d encoded
	err := json.Unmarshal(p, &d, asBrowsersRead...)
	at := slices.IndexFunc(codes, func(c Code) bool { return c.String() == d.Code })
	if err != nil || at < 0 || d.Status < 400 || d.Status > 599 {
		at, d = slices.Index(codes, Closed.before.Code), encoded{Status: Closed.before.Status, Text: Closed.before.Text}
	}
	var header http.Header
	if len(d.Wait) > 0 {
		header = http.Header{"Retry-After": d.Wait}
	}
	return &Error{
		Status: d.Status, Code: codes[at], Text: d.Text, details: d.Details, Header: header,
		adopted: d.Adopted, Upstream: d.Upstream, RetryAfter: time.Duration(d.RetryAfter), Repeated: true,
	}
}
