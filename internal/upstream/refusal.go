package upstream

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

const (
	maxErrorText = 64 << 10 // bytes; the words of a longer error body are not used

	// errorTextTimeout is how long the words of an error may take. The status is known by then, and a visitor waits.
	errorTextTimeout = 5 * time.Second
)

var (
	errTokenRefused = &apierror.Error{
		Status: http.StatusBadGateway, Code: apierror.CodeUnauthorizedUpstream,
		Text: "the chat is not set up correctly",
		Hint: apierror.HintTokenRefused,
	}
	errBlocked = &apierror.Error{
		Status: http.StatusBadGateway, Code: apierror.CodeBlockedUpstream,
		Text: "the assistant does not accept this chat",
		Hint: "a firewall or a bot check in front of the API blocked this chat; ask IllumiChat to let this server's requests pass",
	}
)

// refused returns the error that the visitor gets for a response with a status other than 200. A body that is too slow,
// too long or broken costs at most its words.
func (a acceptance) refused(resp *http.Response) error {
	status := resp.StatusCode
	if status < 400 || status > 599 {
		// A redirect is not followed, because the token is meant only for the configured host.
		return errNoChatAnswer.Because(statusCause(status))
	}
	e := apierror.FromStatus(status)
	body, whole := readErrorText(resp.Body)
	switch {
	case status == http.StatusUnauthorized, status == http.StatusProxyAuthRequired:
		return errTokenRefused.Because(statusCause(status))
	case status == http.StatusForbidden && len(body) <= maxErrorText && apierror.IsStated(body): // whole or not: half a JSON is none
		return withAccountHint(errTokenRefused.Because(statusCause(status)), body)
	case status == http.StatusForbidden: // not the API's
		return withAccountHint(errBlocked.Because(statusCause(status)), body)
	case whole && e.Status == status: // another status: the words concern the upstream's connection, too
		e.Adopt(body)
	}
	if a.token.In(body) || a.token.In(e.Body()) {
		a.report(Leak{What: "its text is replaced", Status: status})
		e = apierror.FromStatus(status)
	}
	e.Upstream, e.Cause = status, statusCause(status)
	return withRetryAfter(e, resp.Header)
}

// stated returns the error that an answer of status 200 states, or nil if it states none. answer is the JSON of the
// whole answer, or of its first event.
func (a acceptance) stated(answer []byte, header http.Header) error {
	e := apierror.FromAnswer(answer)
	if e == nil {
		return nil
	}
	cause := fmt.Errorf("status 200, and an error that stands for status %d", e.Upstream)
	switch {
	case e.Upstream == http.StatusUnauthorized, e.Upstream == http.StatusForbidden:
		return withAccountHint(errTokenRefused.Because(cause), answer)
	case a.token.In(e.Body()):
		a.report(Leak{What: "its text is replaced", Status: http.StatusOK})
		status := e.Upstream
		e = apierror.FromStatus(status)
		e.Upstream = status
	}
	e.Cause = cause
	return withRetryAfter(e, header)
}

// readErrorText reads the body of an error response within errorTextTimeout. whole is false if the body is too long, or
// cannot be read to its end.
func readErrorText(body io.ReadCloser) (text []byte, whole bool) {
	timer := time.AfterFunc(errorTextTimeout, func() { body.Close() }) // makes Read fail
	defer timer.Stop()
	text, err := io.ReadAll(io.LimitReader(body, maxErrorText+1))
	return text, err == nil && len(text) <= maxErrorText
}

func statusCause(status int) error { return fmt.Errorf("status %d", status) }

// withAccountHint replaces the hint of e if body says that the operator's account is the reason, and returns e.
func withAccountHint(e *apierror.Error, body []byte) *apierror.Error {
	if apierror.ConcernsAccount(body) {
		e.Hint = apierror.HintAccount
	}
	return e
}

// withRetryAfter adds the pause that the upstream asks for, if it asks for one, and returns e.
func withRetryAfter(e *apierror.Error, header http.Header) *apierror.Error {
	if wait, ok := RetryAfter(header, time.Now()); ok {
		e.RetryAfter, e.Header = wait, apierror.RetryAfterHeader(wait)
	}
	return e
}
