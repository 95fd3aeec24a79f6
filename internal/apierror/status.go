package apierror

import (
	"net/http"
	"strconv"
	"time"
)

// FromStatus returns the error for an upstream's 4xx or 5xx whose body does not have the API's format. Its status is the
// upstream's, unless that one concerns the upstream's connection with this module.
func FromStatus(status int) *Error {
	e := &Error{Status: passedOn(status)}
	switch {
	case e.Status == http.StatusNotFound:
		e.Code, e.Text = codeNotFoundUpstream, "the assistant or the chat does not exist"
	case e.Status == http.StatusRequestEntityTooLarge:
		e.Code, e.Text = codeTooLargeUpstream, "the chat is too large for the assistant"
	case e.Status == http.StatusTooManyRequests:
		e.Code, e.Text = codeRateLimitUpstream, "the assistant is asked too often; try again later"
	case e.Status == http.StatusBadGateway:
		e.Code, e.Text = CodeBadGateway, "the assistant cannot be reached"
	case e.Status == http.StatusServiceUnavailable:
		e.Code, e.Text = codeOverloadedUpstream, "the assistant is busy; try again later"
	case e.Status == http.StatusGatewayTimeout:
		e.Code, e.Text = codeTimeoutUpstream, "the assistant took too long"
	case e.Status < 500:
		e.Code, e.Text = codeBadRequestUpstream, "the assistant does not accept this chat"
	default:
		e.Code, e.Text = codeServerErrorUpstream, "the assistant failed"
	}
	if e.Status >= 500 {
		e.Hint = "the upstream has a fault of its own; if that goes on, tell IllumiChat"
	}
	return e
}

// passedOn returns the status that the visitor gets for an upstream's status. Some statuses concern the upstream's
// connection with this module. A browser would relate them to its own connection. Some browsers then send the chat
// again by themselves (RFC 9110, § 15.5.9 and § 15.5.20; RFC 8470, § 5.2).
func passedOn(status int) int {
	switch status {
	case http.StatusRequestTimeout:
		return http.StatusGatewayTimeout
	case http.StatusExpectationFailed, http.StatusMisdirectedRequest, http.StatusTooEarly, http.StatusUpgradeRequired,
		http.StatusRequestHeaderFieldsTooLarge:
		return http.StatusBadGateway
	}
	return status
}

// RetryAfterHeader returns a Retry-After header that asks the visitor to wait, in whole seconds, rounded up.
func RetryAfterHeader(wait time.Duration) http.Header {
	return http.Header{"Retry-After": {strconv.Itoa(WholeSeconds(wait))}}
}

// WholeSeconds returns d in whole seconds, rounded up.
func WholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
