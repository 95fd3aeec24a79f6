package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// maxJSONAnswer is the size of the largest JSON answer, in bytes. A longer one is an error.
const maxJSONAnswer = 1 << 20

var errNoChatAnswer = &apierror.Error{
	Status: http.StatusBadGateway, Code: apierror.CodeBadGateway,
	Text: "the assistant's answer is not an answer to a chat",
	Hint: "check whether endpoint is the URL of the chat API",
}

var errEncoded = &apierror.Error{
	Status: errNoChatAnswer.Status, Code: errNoChatAnswer.Code, Text: errNoChatAnswer.Text,
	Hint: "the upstream, or a proxy in front of it, sends a Content-Encoding although the request asks for identity; turn its compression off",
}

// ErrNoStream is the error of an attempt whose answer has the type of an event stream, but not the form.
var ErrNoStream = errNoChatAnswer.Because(errors.New("it has no field of an event stream"))

// Answer is an answer for the visitor: an event stream, or one JSON value.
type Answer struct {
	Header http.Header   // the response headers that the visitor gets
	Body   io.ReadCloser // the event stream; the caller closes it, for JSON too
	JSON   []byte        // the JSON value; nil if the answer is a stream

	acceptance acceptance
	received   http.Header // all response headers
}

// Stated returns the error that the first event of the stream states, or nil if the event is no error. data is the data
// of the event.
func (a Answer) Stated(data []byte) error { return a.acceptance.stated(data, a.received) }

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
// instead. A JSON answer that states an error in the API's format counts as that error. Accept leaves out a header field
// or an error text that holds the token, and calls report for it. A JSON body that holds the token is the error
// apierror.Leak. After an error, the caller closes the response's body.
func Accept(resp *http.Response, token Token, report func(Leak)) (Answer, error) {
	a := acceptance{token, report}
	if resp.StatusCode != http.StatusOK {
		return Answer{}, a.refused(resp)
	}
	if err := checkCodings(resp.Header); err != nil {
		return Answer{}, errEncoded.Because(err)
	}
	kind, err := answerType(resp.Header)
	switch {
	case err != nil:
		return Answer{}, errNoChatAnswer.Because(err)
	case kind == jsonType:
		return a.json(resp)
	}
	return Answer{Header: a.filter(resp.Header), Body: resp.Body, acceptance: a, received: resp.Header}, nil
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
	case len(bytes.TrimSpace(body)) == 0: // as a stream without an event
		return Answer{}, apierror.Closed.Because(io.ErrUnexpectedEOF)
	}
	if err := a.stated(body, resp.Header); err != nil {
		return Answer{}, err
	}
	return Answer{Header: a.filter(resp.Header), Body: resp.Body, JSON: body}, nil
}
