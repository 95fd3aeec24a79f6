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
		e.Code, e.Text = codeRateLimitUpstream, "the assistant gets too many requests; try again later"
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
	e.Hint = hintFor(e.Status)
	return e
}

// hintFor returns what the operator can do about an upstream's status. It returns "" for a status that is the visitor's
// own matter, whatever the visitor sends.
func hintFor(status int) string {
	switch status {
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return ""
	case http.StatusUnauthorized, http.StatusForbidden:
		return HintTokenRefused
	case http.StatusPaymentRequired:
		return HintAccount
	case http.StatusNotFound, http.StatusGone:
		return "the upstream does not know this chat API or this assistant; check endpoint and the assistant's id"
	case http.StatusMethodNotAllowed:
		return "check whether endpoint is the URL of the chat API"
	case http.StatusLoopDetected:
		return HintLoop
	}
	if status < 500 {
		return "check endpoint and the assistant's id; if roles or pass_fields is set, check whether the API allows what it adds"
	}
	return "the upstream failed; if this continues, report it to IllumiChat"
}

// Hints at reasons that an upstream can give with several statuses.
const (
	HintTokenRefused = "the upstream refused the API token; check that it was not revoked and may use this assistant"
	HintLoop         = "the endpoint leads to a chat of this module with the same token, such as this chat itself; write the URL of IllumiChat's API, not the one that " +
		"your pages use"
	HintAccount = "check the plan and the balance of the IllumiChat account to which the token belongs"
)

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
