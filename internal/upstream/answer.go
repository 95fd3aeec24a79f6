package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

const (
	maxJSONAnswer  = 1 << 20  // bytes; a longer JSON answer is an error
	maxErrorAnswer = 64 << 10 // bytes; the text of a longer error body is not used
)

const (
	jsonType   = "application/json"
	streamType = "text/event-stream"
)

var (
	errNoChatAnswer = &apierror.Error{
		Status: http.StatusBadGateway, Code: apierror.CodeBadGateway,
		Text: "the assistant's answer is not a chat's",
		Hint: "see whether endpoint is the URL of the chat API",
	}
	errTokenRefused = &apierror.Error{
		Status: http.StatusBadGateway, Code: apierror.CodeUnauthorizedUpstream,
		Text: "the chat is not set up correctly",
		Hint: "the upstream refused the API token; check that it was not revoked and may use this assistant",
	}
)

// Answer is an answer for the visitor: an event stream, or one JSON value.
type Answer struct {
	Header http.Header   // the response headers that the visitor gets
	Body   io.ReadCloser // the event stream; the caller closes it, for JSON too
	JSON   []byte        // the JSON value; nil if the answer is a stream
}

// Leak describes where the upstream sent the API token back, and what was done about it.
type Leak struct {
	What   string // what was done about it
	Header string // the response header that holds the token; "" if none does
	Status int    // the status of the error response whose body holds the token; 0 if none does
}

// acceptance checks one response of the upstream, and reports the token if the response holds it.
type acceptance struct {
	token  Token
	report func(Leak)
}

// Accept checks a response of the upstream. It returns the answer for the visitor, or the error that the visitor gets
// instead. It leaves out a header field or an error text that holds the token, and calls report for it. A JSON body
// that holds the token is the error apierror.Leak. After an error, the caller closes the response's body.
func Accept(ctx context.Context, resp *http.Response, token Token, report func(Leak)) (Answer, error) {
	a := acceptance{token, report}
	if resp.StatusCode != http.StatusOK {
		return Answer{}, a.refused(ctx, resp)
	}
	for _, encoding := range resp.Header.Values("Content-Encoding") {
		if !strings.EqualFold(encoding, "identity") {
			return Answer{}, errNoChatAnswer.Because(fmt.Errorf("it is encoded: %q", encoding))
		}
	}
	switch contentType := resp.Header.Get("Content-Type"); mediaType(contentType) {
	case streamType, "text/plain", "application/octet-stream", "":
		return Answer{Header: a.filter(resp.Header), Body: resp.Body}, nil
	case jsonType:
		return a.json(resp)
	default:
		return Answer{}, errNoChatAnswer.Because(fmt.Errorf("its type is %q", contentType))
	}
}

// json reads an answer that is one JSON value.
func (a acceptance) json(resp *http.Response) (Answer, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxJSONAnswer+1))
	switch {
	case err != nil:
		return Answer{}, apierror.Closed.Because(err)
	case len(body) > maxJSONAnswer:
		return Answer{}, errNoChatAnswer.Because(fmt.Errorf("it is larger than %d bytes", maxJSONAnswer))
	case a.token.In(body):
		return Answer{}, apierror.Leak
	}
	return Answer{Header: a.filter(resp.Header), Body: resp.Body, JSON: body}, nil
}

// mediaType returns a Content-Type without its parameters, even if those are malformed. It returns "?" if the type
// itself is malformed.
func mediaType(contentType string) string {
	switch contentType {
	case jsonType, streamType: // the common case: no parameters
		return contentType
	}
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) && contentType != "" {
		return "?"
	}
	return t
}

// refused returns the error that the visitor gets for a response with a status other than 200.
func (a acceptance) refused(ctx context.Context, resp *http.Response) error {
	status := resp.StatusCode
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusProxyAuthRequired:
		return errTokenRefused.Because(fmt.Errorf("status %d", status))
	case status < 400 || status > 599:
		// A redirect is not followed, because the token is meant only for the configured host.
		return errNoChatAnswer.Because(fmt.Errorf("status %d", status))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorAnswer+1))
	if ctx.Err() != nil {
		return apierror.Closed.Because(err)
	}
	e := apierror.FromStatus(status)
	if err == nil && len(body) <= maxErrorAnswer {
		e.Adopt(body)
	}
	if a.token.In(body) || a.token.In(e.Body()) {
		a.report(Leak{What: "its words are replaced", Status: status})
		e = apierror.FromStatus(status)
	}
	e.Cause = fmt.Errorf("status %d", status)
	e.Upstream = status
	if wait, ok := RetryAfter(resp.Header, time.Now()); ok {
		e.RetryAfter, e.Header = wait, apierror.RetryAfterHeader(wait)
	}
	return e
}
