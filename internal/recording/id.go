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

// Header is the field of an answer that names its stream, and of a DELETE that stops one.
const Header = "Illumichat-Stream"

var (
	ErrStreamMissing = &apierror.Error{
		Status: http.StatusBadRequest, Code: apierror.CodeBadRequestStream,
		Text: "say which answer is meant: a GET by Last-Event-ID or ?stream=, a DELETE by " + Header,
	}
	errEventID = &apierror.Error{
		Status: http.StatusBadRequest, Code: apierror.CodeBadRequestStream,
		Text: "the id of the last event is a stream's, a colon and a number",
	}
)

// NewID returns 128 random bits.
func NewID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // which never fails
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// validID is what newStreamID returns.
var validID = regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`)

// ValidID reports whether id has the form of one. Anything else needs not to be looked for.
func ValidID(id string) bool { return validID.MatchString(id) }

// LastEvent reads which event of which stream a visitor has had last: by the header that a browser's EventSource sends by
// itself (HTML Standard, § 9.2.4), or by the query, as it cannot send one at its first request.
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
