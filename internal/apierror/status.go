package apierror

import (
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// FromStatus returns the error for an upstream's 4xx or 5xx whose body does not have the documented shape.
func FromStatus(status int) *Error {
	e := &Error{Status: status}
	switch {
	case status == http.StatusNotFound:
		e.Code, e.Text = codeNotFoundUpstream, "the assistant or the chat does not exist"
	case status == http.StatusRequestEntityTooLarge:
		e.Code, e.Text = codeTooLargeUpstream, "the chat is too large for the assistant"
	case status == http.StatusTooManyRequests:
		e.Code, e.Text = codeRateLimitUpstream, "the assistant is asked too often; try again later"
	case status == http.StatusBadGateway:
		e.Code, e.Text = CodeBadGateway, "the assistant cannot be reached"
	case status == http.StatusServiceUnavailable:
		e.Code, e.Text = codeOverloadedUpstream, "the assistant is busy; try again later"
	case status == http.StatusGatewayTimeout:
		e.Code, e.Text = codeTimeoutUpstream, "the assistant took too long"
	case status < 500:
		e.Code, e.Text = codeBadRequestUpstream, "the assistant does not accept this chat"
	default:
		e.Code, e.Text = codeServerErrorUpstream, "the assistant failed"
	}
	if status >= 500 {
		e.Hint = "the upstream has a fault of its own; if that goes on, tell IllumiChat"
	}
	return e
}

// Adopt replaces the text, the sent code and the details with the upstream's own if body has the documented shape.
// Otherwise it changes nothing.
func (e *Error) Adopt(body []byte) {
	var theirs struct {
		Error   string         `json:"error"`
		Code    string         `json:"code"`
		Details jsontext.Value `json:"details"`
	}
	if json.Unmarshal(body, &theirs) != nil || theirs.Error == "" || theirs.Code == "" {
		return
	}
	e.Text, e.adopted = theirs.Error, theirs.Code
	// The documented shape of details maps a field to a text. Details of any other shape are left out.
	if json.Unmarshal(theirs.Details, &e.details) != nil {
		e.details = nil
	}
}

// RetryAfterHeader returns a Retry-After header that asks the visitor to wait, in whole seconds, rounded up.
func RetryAfterHeader(wait time.Duration) http.Header {
	return http.Header{"Retry-After": {strconv.Itoa(WholeSeconds(wait))}}
}

// WholeSeconds returns d in whole seconds, rounded up.
func WholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
