package recording

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// Header is the header field with a stream's id: in responses, in DELETE requests that stop the stream, and in POST
// requests whose page chose the id.
const Header = "Illumichat-Stream"

var (
	// ErrStreamMissing is the error for a request that does not say which stream it means.
	ErrStreamMissing = &apierror.Error{
		Status: http.StatusBadRequest, Code: apierror.CodeBadRequestStream,
		Text: "use POST to send a chat; to continue an answer, send a GET with Last-Event-ID or ?stream=; to stop one, send a DELETE with " + Header,
	}
	errEventID = &apierror.Error{
		Status: http.StatusBadRequest, Code: apierror.CodeBadRequestStream,
		Text: "the id of the last event is a stream's, a colon and a number",
	}
	errChosenID = &apierror.Error{
		Status: http.StatusBadRequest, Code: apierror.CodeBadRequestStream,
		Text: Header + " must be 22 characters of base64url (A-Z, a-z, 0-9, - and _): 128 random bits",
	}
	errTwoStreams = &apierror.Error{
		Status: http.StatusBadRequest, Code: apierror.CodeBadRequestStream,
		Text: Header + " and Last-Event-ID name two different answers",
	}
)

// NewID returns a new id: 128 random bits as 22 characters of unpadded base64url.
func NewID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // rand.Read never fails
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// validID matches the ids that NewID returns.
var validID = regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`)

// ValidID reports whether id has the form of an id. No other string can be one, so the store need not be asked.
func ValidID(id string) bool { return validID.MatchString(id) }

// LastEvent returns the stream that r asks for and the number of the last event that the visitor has. A number of 0
// means none. It reads both from Last-Event-ID, which a browser's EventSource sends by itself (HTML Standard, § 9.2.4).
// Without that header, it reads them from the query, because EventSource cannot send the header in its first request,
// and some polyfills never send it. It returns an error if r names no stream, or if the number is not valid.
func LastEvent(r *http.Request) (id string, n int64, err error) {
	if last := lastEventID(r); last != "" {
		return parseEventID(last)
	}
	query := r.URL.Query()
	id = query.Get("stream")
	switch {
	case id == "":
		return "", 0, ErrStreamMissing
	case query.Has("after"):
		return parseEventID(id + ":" + query.Get("after"))
	}
	return id, 0, nil
}

// lastEventID returns the id of the last event that the visitor has, or "" if there is none.
func lastEventID(r *http.Request) string {
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		return last
	}
	if r.URL.RawQuery == "" {
		return ""
	}
	return r.URL.Query().Get("lastEventId") // the name that polyfills of EventSource use
}

func parseEventID(last string) (id string, n int64, err error) {
	id, number, _ := strings.Cut(last, ":")
	n, err = strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || id == "" {
		return "", 0, errEventID
	}
	return id, n, nil
}

// Question is what a POST says of the stream that its answer becomes.
type Question struct {
	ID     string // the stream's id, if the page chose it or continues an answer; "": the server chooses it
	Chosen bool   // the page chose the id, so the stream may begin with this request
	After  int64  // the number of the last event that the visitor has; 0: none
}

// QuestionOf returns what a POST says of its answer's stream. A page that chooses the id sends it in the header field.
// A client that repeats its POST sends Last-Event-ID, too. QuestionOf returns an error if an id is malformed, or if both
// fields name different streams.
func QuestionOf(r *http.Request) (q Question, err error) {
	_, q.Chosen = r.Header[Header]
	q.ID = r.Header.Get(Header)
	if q.Chosen && !ValidID(q.ID) {
		return q, errChosenID
	}
	last := lastEventID(r)
	if last == "" {
		return q, nil
	}
	id, after, err := parseEventID(last)
	switch {
	case err != nil:
		return q, err
	case q.Chosen && id != q.ID:
		return q, errTwoStreams
	}
	q.ID, q.After = id, after
	return q, nil
}
