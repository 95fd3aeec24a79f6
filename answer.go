package illumichat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/sse"
)

const maxJSONAnswer = 1 << 20 // bytes of an answer that is no stream

var errNoChatAnswer = &apierror.Error{
	Status: http.StatusBadGateway, Code: apierror.CodeBadGateway,
	Text: "the assistant's answer is not a chat's",
	Hint: "see whether endpoint is the URL of the chat API",
}

// answer is what the upstream has answered with and the visitor gets: a stream that has begun, or JSON.
type answer struct {
	ex    *exchange
	ctx   context.Context // of the try
	body  io.ReadCloser
	relay *relay // nil: it is JSON
	json  []byte
}

// accept takes an answer for what it is.
func (ex *exchange) accept(ctx context.Context, resp *http.Response) (*answer, error) {
	if resp.StatusCode != http.StatusOK {
		return nil, ex.refused(ctx, resp)
	}
	for _, encoding := range resp.Header.Values("Content-Encoding") {
		if !strings.EqualFold(encoding, "identity") {
			return nil, errNoChatAnswer.Because(fmt.Errorf("it is encoded: %q", encoding))
		}
	}
	switch contentType := resp.Header.Get("Content-Type"); mediaType(contentType) {
	case sse.MediaType, "text/plain", "application/octet-stream", "":
		return ex.stream(ctx, resp)
	case typeJSON:
		return ex.json(ctx, resp)
	default:
		return nil, errNoChatAnswer.Because(fmt.Errorf("its type is %q", contentType))
	}
}

// mediaType is a Content-Type without its parameters, broken ones too.
func mediaType(contentType string) string {
	switch contentType {
	case typeJSON, sse.MediaType: // as they mostly are: without a parameter
		return contentType
	}
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) && contentType != "" {
		return "?"
	}
	return t
}

// stream takes an event stream, up to its first event.
func (ex *exchange) stream(ctx context.Context, resp *http.Response) (*answer, error) {
	ex.output.Prepare(ex.answerHeader(resp.Header), sse.MediaType)
	ex.watch.Accept()
	ex.relay = newRelay(ex.token, ex.output, &ex.watch)
	a := &answer{ex: ex, ctx: ctx, body: resp.Body, relay: ex.relay}
	if err := a.relay.start(resp.Body); err != nil {
		return nil, a.over(err)
	}
	return a, nil
}

// json takes an answer that is no stream but one JSON value.
func (ex *exchange) json(ctx context.Context, resp *http.Response) (*answer, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxJSONAnswer+1))
	switch {
	case err != nil:
		return nil, apierror.Closed.Because(err)
	case len(body) > maxJSONAnswer:
		return nil, errNoChatAnswer.Because(fmt.Errorf("it is larger than %d bytes", maxJSONAnswer))
	case ex.token.in(body):
		return nil, apierror.Leak
	}
	ex.output.Prepare(ex.answerHeader(resp.Header), typeJSON)
	return &answer{ex: ex, ctx: ctx, body: resp.Body, json: body}, nil
}

// pass passes the answer on to its end.
func (a *answer) pass() error {
	defer a.body.Close()
	if a.relay == nil {
		a.ex.watch.Stop()
		return a.ex.output.WriteAll(a.json)
	}
	return a.over(a.relay.copy(a.body))
}

// over gives back what a stream took, and returns why it has no finish, if it has none.
func (a *answer) over(err error) error {
	finished := a.relay.finished
	if !errors.Is(err, apierror.ErrVisitorGone) {
		a.relay.release() // HTTP/2 may still look at the bytes of a write that failed
	}
	switch _, known := errors.AsType[*apierror.Interruption](err); {
	case err == nil:
		return nil
	case finished && errors.Is(err, apierror.Leak):
		a.ex.h.tellOfLeak("the rest of the answer, after its finish, is dropped")
		return nil
	case known, errors.Is(err, apierror.ErrVisitorGone):
		return err
	}
	if timeout, ok := errors.AsType[*apierror.Interruption](context.Cause(a.ctx)); ok {
		return timeout
	}
	return apierror.Closed.Because(err)
}
