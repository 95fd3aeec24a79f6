package sandbox

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// An apiError is an error answer in the shape that the API documents.
type apiError struct {
	status  int
	Text    string            `json:"error"`
	Code    string            `json:"code"`
	Details map[string]string `json:"details,omitempty"`
}

var (
	errMethod = &apiError{
		status: http.StatusMethodNotAllowed,
		Text:   "The chat endpoint takes POST only.",
		Code:   "method_not_allowed:chat",
	}
	errToken = &apiError{
		status: http.StatusUnauthorized,
		Text:   "The API token is missing or not valid.",
		Code:   "unauthorized:chat",
	}
	errMediaType = &apiError{
		status: http.StatusUnsupportedMediaType,
		Text:   "The body has to be application/json.",
		Code:   "unsupported_media_type:chat",
	}
	errUnknownAssistant = &apiError{
		status: http.StatusNotFound,
		Text:   "There is no such assistant in this workspace.",
		Code:   "not_found:chat",
	}
	errUnknownChat = &apiError{
		status: http.StatusNotFound,
		Text:   "There is no such chat with this assistant.",
		Code:   "not_found:chat",
	}
)

// badRequest is the answer to a body that the API cannot accept, with what is
// wrong field by field.
func badRequest(text string, details map[string]string) *apiError {
	return &apiError{
		status:  http.StatusBadRequest,
		Text:    text,
		Code:    "bad_request:chat",
		Details: details,
	}
}

// documentedErrors are the error answers of the API that need no cause, by
// status.
var documentedErrors = map[int]*apiError{
	http.StatusBadRequest: badRequest("The request is not valid.", map[string]string{
		"messages": "The sandbox was asked to refuse them.",
	}),
	http.StatusUnauthorized: errToken,
	http.StatusForbidden: {
		status: http.StatusForbidden,
		Text:   "The API token does not permit this.",
		Code:   "forbidden:api",
	},
	http.StatusNotFound: errUnknownAssistant,
	http.StatusTooManyRequests: {
		status: http.StatusTooManyRequests,
		Text:   "Too many requests; please wait a little.",
		Code:   "rate_limit:chat",
	},
	http.StatusInternalServerError: {
		status: http.StatusInternalServerError,
		Text:   "Something went wrong on our side.",
		Code:   "server_error:chat",
	},
}

// body is the JSON text of the error.
func (e *apiError) body() []byte {
	body, _ := json.Marshal(e) // strings always marshal
	return body
}

func (e *apiError) write(w http.ResponseWriter) {
	body := e.body()
	if e.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.status)
	_, _ = w.Write(body) // a client that is gone misses nothing
}
