package illumichat

import (
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// statusError is what an upstream's 4xx or 5xx means where it does not say so in the documented shape.
func statusError(status int) *chatError {
	e := &chatError{status: status}
	switch {
	case status == http.StatusNotFound:
		e.code, e.text = codeNotFoundUpstream, "the assistant or the chat does not exist"
	case status == http.StatusRequestEntityTooLarge:
		e.code, e.text = codeTooLargeUpstream, "the chat is too large for the assistant"
	case status == http.StatusTooManyRequests:
		e.code, e.text = codeRateLimitUpstream, "the assistant is asked too often; try again later"
	case status == http.StatusBadGateway:
		e.code, e.text = codeBadGateway, "the assistant cannot be reached"
	case status == http.StatusServiceUnavailable:
		e.code, e.text = codeOverloadedUpstream, "the assistant is busy; try again later"
	case status == http.StatusGatewayTimeout:
		e.code, e.text = codeTimeoutUpstream, "the assistant took too long"
	case status < 500:
		e.code, e.text = codeBadRequestUpstream, "the assistant does not accept this chat"
	default:
		e.code, e.text = codeServerErrorUpstream, "the assistant failed"
	}
	if status >= 500 {
		e.hint = "the upstream has a fault of its own; if that goes on, tell IllumiChat"
	}
	return e
}

// adopt takes the upstream's own words over where body has the documented shape.
func (e *chatError) adopt(body []byte) {
	var theirs struct {
		Error   string         `json:"error"`
		Code    string         `json:"code"`
		Details jsontext.Value `json:"details"`
	}
	if json.Unmarshal(body, &theirs) != nil || theirs.Error == "" || theirs.Code == "" {
		return
	}
	e.text, e.adopted = theirs.Error, theirs.Code
	// Details of another shape than the documented one, field to text, are left out.
	if json.Unmarshal(theirs.Details, &e.details) != nil {
		e.details = nil
	}
}

// retryAfterHeader tells a visitor how long to wait, in whole seconds.
func retryAfterHeader(wait time.Duration) http.Header {
	return http.Header{"Retry-After": {strconv.Itoa(seconds(wait))}}
}

// seconds is d in whole seconds, rounded up.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
