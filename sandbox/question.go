package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// maxBody is the largest body that is read, in bytes: generous, because limits
// are the business of whoever stands in front.
const maxBody = 64 << 20

// A question is a chat request that has been checked.
type question struct {
	AssistantID string    `json:"assistantId"`
	ChatID      string    `json:"chatId"`
	Messages    []message `json:"messages"`
}

// A message is one turn of the history that the client sends along.
type message struct {
	Role    string  `json:"role"`
	Content content `json:"content"`
}

// A content is what a message says. It may be a string or an array of parts,
// of which only the text counts here.
type content struct {
	given bool
	text  string
}

// UnmarshalJSON tells a content that says something from one that is empty or
// null, in whichever form.
func (c *content) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &c.text) == nil {
		c.given = c.text != ""
		return nil
	}
	var parts []any
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	for _, part := range parts {
		if fields, ok := part.(map[string]any); ok {
			text, _ := fields["text"].(string)
			c.text += text
		}
	}
	c.given = len(parts) > 0
	return nil
}

// readQuestion reads the request and checks it: method, token, media type,
// body, assistant.
func (a *API) readQuestion(w http.ResponseWriter, r *http.Request) (*question, *apiError) {
	if r.Method != http.MethodPost {
		return nil, errMethod
	}
	if r.Header.Get("Authorization") != "Bearer "+a.options.Token {
		return nil, errToken
	}
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return nil, errMediaType
	}
	// The body has to be read to its end even where it is wrong early: only
	// then does net/http notice that the client goes away.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, badRequest("The body could not be read.", nil)
	}
	q := new(question)
	if err := json.Unmarshal(body, q); err != nil {
		return nil, badRequest("The body is not the JSON of a chat request.", nil)
	}
	if details := q.check(); len(details) > 0 {
		return nil, badRequest("The request is not valid.", details)
	}
	if !slices.Contains(a.options.Assistants, q.AssistantID) {
		return nil, errUnknownAssistant
	}
	return q, nil
}

// check tells what is wrong, by field.
func (q *question) check() map[string]string {
	details := make(map[string]string)
	if q.AssistantID == "" {
		details["assistantId"] = "is required"
	}
	if len(q.Messages) == 0 {
		details["messages"] = "must not be empty"
	}
	for i, m := range q.Messages {
		if m.Role == "" {
			details[fmt.Sprintf("messages[%d].role", i)] = "is required"
		}
		if !m.Content.given {
			details[fmt.Sprintf("messages[%d].content", i)] = "is required"
		}
	}
	return details
}

// turns returns what the user said, oldest first.
func (q *question) turns() []string {
	var turns []string
	for _, m := range q.Messages {
		if m.Role == "user" {
			turns = append(turns, strings.TrimSpace(m.Content.text))
		}
	}
	return turns
}

// said returns what the user said last.
func (q *question) said() string {
	turns := q.turns()
	if len(turns) == 0 {
		return ""
	}
	return turns[len(turns)-1]
}
