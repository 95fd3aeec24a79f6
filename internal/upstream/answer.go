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
	maxJSONAnswer  = 1 << 20  // bytes of an answer that is no stream
	maxErrorAnswer = 64 << 10 // bytes of an error's body that are looked at
)

// Media types.
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

// Answer is an answer that the visitor gets: an event stream, or JSON.
type Answer struct {
	Header http.Header   // what the visitor gets of it
	Body   io.ReadCloser // of a stream
	JSON   []byte        // of an answer that is no stream; nil: it is one
}

// Leak is where the upstream sent the API token back, and what is done about it.
type Leak struct {
	What   string // is done
	Header string // the field that has the token; "" for none
	Status int    // of the error that has the token; 0 for none
}

// acceptance takes an answer for what it is.
type acceptance struct {
	token  Token
	report func(Leak)
}

// Accept takes an answer for what it is, or returns why the visitor does not get it. What is left out of it because it holds the
// token is told to report.
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

// json takes an answer that is no stream but one JSON value.
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

// mediaType is a Content-Type without its parameters, broken ones too.
func mediaType(contentType string) string {
	switch contentType {
	case jsonType, streamType: // as they mostly are: without a parameter
		return contentType
	}
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) && contentType != "" {
		return "?"
	}
	return t
}

// refused turns an answer other than 200 into the error that the visitor gets.
func (a acceptance) refused(ctx context.Context, resp *http.Response) error {
	status := resp.StatusCode
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusProxyAuthRequired:
		return errTokenRefused.Because(fmt.Errorf("status %d", status))
	case status < 400 || status > 599:
		// A redirect is not followed: the token is for the configured host alone.
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
