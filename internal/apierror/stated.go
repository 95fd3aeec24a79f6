package apierror

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// stated is an error in the API's format: `{"error": "<text>", "code": "<type>:<context>"}`.
type stated struct {
	Type    string         `json:"type"` // of an event; "" if the error is no event
	Error   string         `json:"error"`
	Code    string         `json:"code"`
	Details jsontext.Value `json:"details"`
}

// asBrowsersRead are the options that read JSON as JSON.parse does: of two equal names, the last one counts, and invalid
// UTF-8 is replaced.
var asBrowsersRead = []json.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// codeFormat is the form of the API's codes, <type>:<context>.
var codeFormat = regexp.MustCompile(`^[a-z0-9_]{1,40}:[a-z0-9_]{1,40}$`)

// accountCode matches codes, of whatever form, of services whose customers have to pay or to choose another plan.
var accountCode = regexp.MustCompile(`(?i)(?:^|[^a-z])(?:billing|credits?|payment|plan|quota|subscription|upgrade)(?:[^a-z]|$)`)

// accountText matches texts that speak to such a customer.
var accountText = regexp.MustCompile(`(?i)\byour (?:account|balance|credits?|plan|subscription)\b`)

// ConcernsAccount reports whether body is an error, with a code of whatever form, whose reason is the operator's account:
// its plan, or what is paid.
func ConcernsAccount(body []byte) bool {
	s, ok := parseStated(body)
	return ok && s.concernsAccount()
}

func (s stated) concernsAccount() bool {
	return accountCode.MatchString(s.Code) || accountText.MatchString(s.Error)
}

// ValidCode reports whether code has the form of the API's codes, <type>:<context>.
func ValidCode(code string) bool { return codeFormat.MatchString(code) }

// parseStated reads an error of the API. ok is false if body has no text or no code.
func parseStated(body []byte) (s stated, ok bool) {
	err := json.Unmarshal(body, &s, asBrowsersRead...)
	return s, err == nil && s.Error != "" && s.Code != ""
}

// IsStated reports whether body is an error in the API's format. Other services in front of the API have errors with
// codes of another form.
func IsStated(body []byte) bool {
	s, ok := parseStated(body)
	return ok && ValidCode(s.Code)
}

// Adopt replaces the text, the sent code and the details with the upstream's own. It changes nothing if body has no
// text or no code. The code may have any form.
func (e *Error) Adopt(body []byte) {
	if theirs, ok := parseStated(body); ok {
		e.adopt(theirs)
	}
}

func (e *Error) adopt(theirs stated) {
	e.Text, e.adopted = theirs.Error, theirs.Code
	if e.Hint != "" && theirs.concernsAccount() {
		e.Hint = HintAccount
	}
	// The documented shape of details maps a field to a text. Details of any other shape are left out.
	if json.Unmarshal(theirs.Details, &e.details) != nil {
		e.details = nil
	}
}

// FromAnswer returns the error that an answer of status 200 states in the API's format. Its status is the one that its
// code stands for. answer is JSON: the whole answer, or the data of its first event. FromAnswer returns nil if answer
// is no such error.
func FromAnswer(answer []byte) *Error {
	theirs, ok := parseStated(answer)
	if !ok || !ValidCode(theirs.Code) {
		return nil
	}
	if theirs.Type != "" && theirs.Type != "error" { // an event of another type may also have these fields
		return nil
	}
	return ofStated(theirs)
}

// ofStated returns the error for an error of the API whose code has the API's form.
func ofStated(theirs stated) *Error {
	kind, _, _ := strings.Cut(theirs.Code, ":")
	status := statusOf(kind)
	e := FromStatus(status)
	e.Upstream = status
	e.adopt(theirs)
	return e
}

// statusOf returns the status that the type of a code stands for.
func statusOf(kind string) int {
	switch kind {
	case "bad_request":
		return http.StatusBadRequest
	case "unauthorized":
		return http.StatusUnauthorized
	case "forbidden":
		return http.StatusForbidden
	case "not_found":
		return http.StatusNotFound
	case "rate_limit":
		return http.StatusTooManyRequests
	}
	return http.StatusBadGateway
}
