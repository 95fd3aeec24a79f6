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

// Header is the header field with a stream's id, in responses and in DELETE requests that stop the stream.
const Header = "Illumichat-Stream"

var (
	// ErrStreamMissing is the error for a request that does not say which stream it means.
	ErrStreamMissing = &apierror.Error{
		Status: http.StatusBadRequest, Code: apierror.CodeBadRequestStream,
		Text: "say which answer is meant: a GET by Last-Event-ID or ?stream=, a DELETE by " + Header,
	}
	errEventID = &apierror.Error{
		Status: http.StatusBadRequest, Code: apierror.CodeBadRequestStream,
		Text: "the id of the last event is a stream's, a colon and a number",
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
// Without that header, it reads them from the query, because EventSource cannot send the header in its first request.
// It returns an error if r names no stream, or if the number is not valid.
func LastEvent(r *http.Request) (id string, n int64, err error) {
	number := ""
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		id, number, _ = strings.Cut(last, ":")
	} else {
		query := r.URL.Query()
		id, number = query.Get("stream"), query.Get("after")
		if id == "" {
			return "", 0, ErrStreamMissing
		}
		if !query.Has("after") {
			number = "0"
		}
	}
	n, err = strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || id == "" {
		return "", 0, errEventID
	}
	return id, n, nil
}
