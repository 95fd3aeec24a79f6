package chat

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/cause"
)

// jsonType is the media type of a chat.
const jsonType = "application/json"

var (
	errMediaType = &apierror.Error{
		Status: http.StatusUnsupportedMediaType, Code: apierror.CodeUnsupportedMediaType,
		Text: "send the chat as application/json",
	}
	errBodyTimeout = &apierror.Error{
		Status: http.StatusRequestTimeout, Code: apierror.CodeTimeout,
		Text: "the request body took too long",
	}
	errCoding = &apierror.Error{
		Status: http.StatusUnsupportedMediaType, Code: apierror.CodeUnsupportedMediaType,
		Text: "the request body is compressed; send it without Content-Encoding",
	}
	errAssistant = &apierror.Error{
		Status: http.StatusForbidden, Code: apierror.CodeForbiddenAssistant,
		Text: "this assistant is not allowed here",
	}
)

func errTooLarge(format string, args ...any) *apierror.Error {
	return &apierror.Error{
		Status: http.StatusRequestEntityTooLarge, Code: apierror.CodeTooLarge,
		Text: fmt.Sprintf(format, args...),
	}
}

func errTooManyMessages(most int) *apierror.Error {
	return &apierror.Error{
		Status: http.StatusRequestEntityTooLarge, Code: apierror.CodeTooManyMessages,
		Text: fmt.Sprintf("%s has more than %d entries", fieldMessages, most),
	}
}

func errBadRequest(format string, args ...any) *apierror.Error {
	return &apierror.Error{
		Status: http.StatusBadRequest, Code: apierror.CodeBadRequest,
		Text: fmt.Sprintf(format, args...),
	}
}

// byteOrderMark is U+FEFF in UTF-8. RFC 8259, § 8.1, forbids it at the beginning of JSON.
var byteOrderMark = []byte("\xef\xbb\xbf")

// Chat is a visitor's request after it was checked.
type Chat struct {
	Body      []byte // sent upstream; rewritten from the checked request
	Assistant string // its id
	Alias     string // the page's name for the assistant; "" if that is its id
	Label     string // the assistant's label in metrics: its configured name, or "other"
	Continued bool   // the request has a chatId
}

// Read reads the body of the visitor's request r to its end and checks it. The caller bounds how long body may take.
// Read's error is an *apierror.Error, or apierror.ErrVisitorGone.
func (c *Rules) Read(r *http.Request, body io.Reader) (Chat, error) {
	if !isJSON(r.Header.Get("Content-Type")) {
		return Chat{}, errMediaType
	}
	if coding := strings.Join(r.Header.Values("Content-Encoding"), ","); coding != "" && !strings.EqualFold(coding, "identity") {
		return Chat{}, errCoding
	}
	read, err := c.readBody(r, body)
	if err != nil {
		return Chat{}, err
	}
	return c.parse(read)
}

// isJSON reports whether a Content-Type is that of JSON. Most pages send it without a parameter: then nothing is
// parsed.
func isJSON(contentType string) bool {
	if contentType == jsonType {
		return true
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && mediaType == jsonType
}

// readBody reads the body to its end, not just to the end of its JSON. net/http detects that an HTTP/1 visitor leaves
// only after the whole body is read.
func (c *Rules) readBody(r *http.Request, body io.Reader) ([]byte, error) {
	if r.ContentLength > c.maxBodySize {
		return nil, errTooLarge("the request body is larger than %d bytes", c.maxBodySize)
	}
	read, err := io.ReadAll(http.MaxBytesReader(nil, io.NopCloser(body), c.maxBodySize))
	if err != nil {
		return nil, bodyError(r, err)
	}
	return read, nil
}

// bodyError returns the error for a body that is too slow, too large or malformed. It returns apierror.ErrVisitorGone
// if the visitor left.
func bodyError(r *http.Request, err error) error {
	var tooLarge *http.MaxBytesError // from this package or from Caddy's request_body directive
	var network *net.OpError
	switch {
	case errors.As(err, &tooLarge):
		return errTooLarge("the request body is larger than %d bytes", tooLarge.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errBodyTimeout.Because(cause.Of(err))
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network), len(r.TransferEncoding) == 0:
		return apierror.ErrVisitorGone
	}
	// Only the chunked coding of HTTP/1.1 can be malformed while the connection is alive.
	return errBadRequest("the chunks of the request body are malformed").Because(cause.Of(err))
}

// parse checks a body and rewrites it. It may change body.
func (c *Rules) parse(body []byte) (Chat, error) {
	if bytes.HasPrefix(body, byteOrderMark) {
		return Chat{}, errBadRequest("the body begins with a byte order mark; send it without one")
	}
	replaceHalfPairs(body)
	p := newParser(c, body)
	defer p.release()
	if err := p.chat(); err != nil {
		return Chat{}, err
	}
	name, id, err := c.allowed(p.assistant)
	if err != nil {
		return Chat{}, err
	}
	checked := Chat{Body: p.finish(id), Assistant: id, Label: name, Continued: p.continued}
	if _, listed := c.assistants[name]; !listed {
		checked.Label = Other
	}
	if name != id {
		checked.Alias = name
	}
	return checked, nil
}
