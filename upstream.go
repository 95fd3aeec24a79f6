package illumichat

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/zap"
)

const (
	userAgent = "caddy-illumichat"

	maxJSONAnswer  = 1 << 20  // bytes of an answer that is no stream
	maxErrorAnswer = 64 << 10 // bytes of an error's body that are looked at

	maxRetryAfter     = time.Hour   // the most that an upstream may have visitors wait
	defaultRetryAfter = time.Second // where a 429 tells none
)

var (
	errTokenUnusable = &chatError{
		status: http.StatusBadGateway, code: "unauthorized:upstream",
		text: "the chat is not set up correctly",
		hint: "the token's file cannot be used; put the API token there again, no reload is needed",
	}
	errTokenRefused = &chatError{
		status: http.StatusBadGateway, code: "unauthorized:upstream",
		text: "the chat is not set up correctly",
		hint: "the upstream refused the API token; check that it was not revoked and may use this assistant",
	}
	errNoChatAnswer = &chatError{
		status: http.StatusBadGateway, code: "bad_gateway:upstream",
		text: "the assistant's answer is not a chat's",
	}
)

// request builds the request from what is ours alone: nothing of the visitor's headers goes upstream.
func (ex *exchange) request(body []byte) (*http.Request, error) {
	// Known to be in memory, head and body go out in one write. net/http keeps the reader for as long as
	// the answer takes, so it has to let go of the bytes when they are sent.
	reader := bytes.NewReader(body)
	ctx := httptrace.WithClientTrace(ex.ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { reader.Reset(nil) },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, ex.h.endpoint.String(), reader)
	if err != nil {
		return nil, err
	}
	// With GetBody, net/http repeats a POST that has an Idempotency-Key by itself, and HTTP/2 any.
	req.GetBody = nil
	req.Header = http.Header{
		"Authorization":   {ex.token.bearer()},
		"Content-Type":    {"application/json"},
		"Accept":          {"text/event-stream"},
		"Accept-Encoding": {"identity"},
		"User-Agent":      {userAgent},
		// A string of RFC 9651, as draft-ietf-httpapi-idempotency-key-header has it.
		"Idempotency-Key": {`"` + rand.Text() + `"`},
	}
	return req, nil
}

// pass hands an answer on as what it is.
func (ex *exchange) pass(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return ex.refused(resp)
	}
	for _, encoding := range resp.Header.Values("Content-Encoding") {
		if !strings.EqualFold(encoding, "identity") {
			return errNoChatAnswer.because(fmt.Errorf("it is encoded: %q", encoding))
		}
	}
	switch contentType := resp.Header.Get("Content-Type"); mediaType(contentType) {
	case "text/event-stream", "text/plain", "application/octet-stream", "":
		return ex.stream(resp)
	case "application/json":
		return ex.json(resp)
	default:
		return errNoChatAnswer.because(fmt.Errorf("its type is %q", contentType))
	}
}

// mediaType is a Content-Type without its parameters, broken ones too.
func mediaType(contentType string) string {
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) && contentType != "" {
		return "?"
	}
	return t
}

// stream relays an event stream.
func (ex *exchange) stream(resp *http.Response) error {
	ex.visitor.prepare(ex.answerHeader(resp.Header), "text/event-stream")
	ex.watch.accept()

	relay := newRelay(ex.token, ex.visitor, &ex.watch)
	err := relay.copy(resp.Body)
	ex.watch.stop()
	if !errors.Is(err, errVisitorGone) {
		relay.release() // HTTP/2 may still look at the bytes of a write that failed
	}
	switch {
	case err == nil:
		return nil
	case relay.finished && errors.Is(err, errLeak):
		ex.h.logger.Error("the upstream sent the API token back after its finish; the rest of the answer is dropped")
		return nil
	}
	return ex.broken(errClosed, err)
}

// json passes an answer on that is no stream but one JSON value.
func (ex *exchange) json(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxJSONAnswer+1))
	ex.watch.stop()
	if err != nil {
		return ex.broken(errClosed, err)
	}
	if len(body) > maxJSONAnswer {
		return errNoChatAnswer.because(fmt.Errorf("it is larger than %d bytes", maxJSONAnswer))
	}
	if ex.token.in(body) {
		return ex.broken(errLeak, errLeak)
	}
	ex.visitor.prepare(ex.answerHeader(resp.Header), "application/json")
	if err := ex.visitor.write(body, true); err != nil {
		return ex.gone(err)
	}
	return nil
}

// refused turns an answer other than 200 into the error that the visitor gets.
func (ex *exchange) refused(resp *http.Response) error {
	status := resp.StatusCode
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusProxyAuthRequired:
		return errTokenRefused.because(fmt.Errorf("status %d", status))
	case status < 400 || status > 599:
		// A redirect is not followed: the token is for the configured host alone.
		return errNoChatAnswer.because(fmt.Errorf("status %d", status))
	}
	e := statusError(status)
	e.cause = fmt.Errorf("status %d", status)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorAnswer+1))
	ex.watch.stop()
	if ex.ctx.Err() != nil {
		return ex.broken(errClosed, err)
	}
	if err == nil && len(body) <= maxErrorAnswer {
		e.adopt(body)
	}
	if ex.token.in(body) || ex.token.in(e.body()) {
		ex.h.logger.Error("the upstream sent the API token back; its words are replaced", zap.Int("status", status))
		e = statusError(status)
	}
	if after, ok := retryAfter(resp.Header, time.Now()); ok || status == http.StatusTooManyRequests {
		e.header = http.Header{"Retry-After": {strconv.Itoa(after)}}
	}
	return e
}

// statusError is what an upstream's 4xx or 5xx means where it does not say so in the documented shape.
func statusError(status int) *chatError {
	e := &chatError{status: status}
	switch {
	case status == http.StatusNotFound:
		e.code, e.text = "not_found:upstream", "the assistant or the chat does not exist"
	case status == http.StatusRequestEntityTooLarge:
		e.code, e.text = "too_large:upstream", "the chat is too large for the assistant"
	case status == http.StatusTooManyRequests:
		e.code, e.text = "rate_limit:upstream", "the assistant is asked too often; try again later"
	case status == http.StatusBadGateway:
		e.code, e.text = "bad_gateway:upstream", "the assistant cannot be reached"
	case status == http.StatusServiceUnavailable:
		e.code, e.text = "overloaded:upstream", "the assistant is busy; try again later"
	case status == http.StatusGatewayTimeout:
		e.code, e.text = "timeout:upstream", "the assistant took too long"
	case status < 500:
		e.code, e.text = "bad_request:upstream", "the assistant does not accept this chat"
	default:
		e.code, e.text = "server_error:upstream", "the assistant failed"
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
	e.text, e.code = theirs.Error, theirs.Code
	// Details of another shape than the documented one, field to text, are left out.
	if json.Unmarshal(theirs.Details, &e.details) != nil {
		e.details = nil
	}
}

// retryAfter reads a Retry-After (RFC 9110, § 10.2.3): the seconds to wait, and whether the upstream said so.
func retryAfter(header http.Header, now time.Time) (seconds int, ok bool) {
	value := header.Get("Retry-After")
	wait := defaultRetryAfter
	if n, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		wait, ok = time.Duration(min(n, uint64(maxRetryAfter/time.Second)))*time.Second, true
	} else if at, err := http.ParseTime(value); err == nil {
		wait, ok = min(max(at.Sub(now), 0), maxRetryAfter), true
	}
	return int(math.Ceil(wait.Seconds())), ok
}
