package chat

import (
	"bytes"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/sse"
)

// Failure is what an error event says: why the answer ends here. The zero Failure says nothing.
type Failure struct {
	Text string // for people
	Code string // "<type>:<context>"; "" if the event has none of that form
}

const (
	maxFailure     = 2 << 10 // bytes of an error event; a larger event is no error
	maxFailureText = 1 << 10 // bytes; a longer text is not repeated
)

// textDelta is how nearly all events begin.
var textDelta = []byte(`data: {"type":"text-delta"`)

// MayFail is a cheap test: it reports whether an event may be an error event. An event that begins as text is taken for
// text.
func MayFail(event []byte) bool {
	return len(event) <= maxFailure && !bytes.HasPrefix(event, textDelta) &&
		(bytes.Contains(event, []byte("error")) || escapesLetters(event))
}

// ReadFailure reads an error event: `{"type":"error",…}`, or an object in the API's error format. ok is false if the
// event is none. first means that it is the stream's first event, which may begin with a byte order mark.
func ReadFailure(event []byte, first bool) (f Failure, ok bool) {
	data := sse.AppendData(nil, event, first)
	var said struct {
		Type      string         `json:"type"`
		ErrorText string         `json:"errorText"`
		Error     jsontext.Value `json:"error"`
		Message   string         `json:"message"`
		Code      string         `json:"code"`
	}
	if json.Unmarshal(data, &said, asBrowsersRead...) != nil {
		return f, false
	}
	if said.Type != "error" && apierror.FromAnswer(data) == nil {
		return f, false
	}
	if apierror.ValidCode(said.Code) {
		f.Code = said.Code
	}
	for _, text := range []string{said.ErrorText, errorText(said.Error), said.Message} {
		if text != "" && len(text) <= maxFailureText {
			f.Text = text
			break
		}
	}
	return f, true
}

// errorText returns the text of an error, which is a string, or an object with a message.
func errorText(value jsontext.Value) string {
	var text string
	if json.Unmarshal(value, &text, asBrowsersRead...) == nil {
		return text
	}
	var said struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(value, &said, asBrowsersRead...) // an error of another form has no text
	return said.Message
}

var asBrowsersRead = []json.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
