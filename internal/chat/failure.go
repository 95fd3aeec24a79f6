package chat

import (
	"bytes"
	"strings"

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
	maxFailureText = 1 << 10 // bytes; the rest of a longer text is not repeated

	// An error event begins with its type or its text. So its first bytes tell, and a large event costs no more than these.
	maxSearched = 256
)

// Nearly all events begin with these.
var (
	beginsWithData = []byte("data: ")
	beginsWithType = []byte(`{"type":"`)
)

// IsOther is a cheap test, which nearly all events pass: it reports whether an event begins with a type that is not that
// of an error, or is a JSON string.
func IsOther(event []byte) bool {
	data, ok := bytes.CutPrefix(event, beginsWithData)
	if !ok || len(data) == 0 {
		return false
	}
	if name, ok := bytes.CutPrefix(data, beginsWithType); ok {
		return len(name) > 0 && name[0] != 'e' && name[0] != '\\' // an escape may be an e
	}
	return data[0] == '"'
}

// MayFail is a cheap test: it reports whether an event may be an error event. It misses one whose first bytes do not say
// that it is an error.
func MayFail(event []byte) bool { return MayState(event[:min(len(event), maxSearched)]) }

// MayState is a test with no false negatives: it reports whether an event may be an error in the API's format.
func MayState(event []byte) bool {
	return bytes.Contains(event, []byte("error")) || escapesLetters(event)
}

// done is the data with which some APIs end each stream.
const done = "[DONE]"

// IsDone reports whether an event is `data: [DONE]`, which says nothing of the answer. Comments may follow the event.
func IsDone(event []byte) bool {
	field, data, _ := bytes.Cut(event[:min(len(event), 20)], []byte(":")) // an event that is none costs no more
	return string(field) == "data" && bytes.HasPrefix(bytes.TrimPrefix(data, []byte(" ")), []byte(done)) &&
		string(sse.AppendData(nil, event, false)) == done
}

// ReadFailure reads an error event: `{"type":"error",…}`, or an object in the API's error format. ok is false if the
// event is none. first means that it is the stream's first event, which may begin with a byte order mark.
func ReadFailure(event []byte, first bool) (f Failure, ok bool) {
	data := sse.AppendData(nil, event, first)
	var said struct {
		Type      jsontext.Value `json:"type"`
		ErrorText jsontext.Value `json:"errorText"`
		Error     jsontext.Value `json:"error"`
		Message   jsontext.Value `json:"message"`
		Code      jsontext.Value `json:"code"`
	}
	if json.Unmarshal(data, &said, asBrowsersRead...) != nil {
		return f, false
	}
	if stringOf(said.Type) != "error" && apierror.FromAnswer(data) == nil {
		return f, false
	}
	if code := stringOf(said.Code); apierror.ValidCode(code) {
		f.Code = code
	}
	for _, text := range []string{errorText(said.ErrorText), errorText(said.Error), errorText(said.Message)} {
		if text != "" {
			f.Text = cut(text)
			break
		}
	}
	return f, true
}

// cut returns the beginning of a long text.
func cut(text string) string {
	if len(text) <= maxFailureText {
		return text
	}
	return strings.ToValidUTF8(text[:maxFailureText], "") + "…"
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

// stringOf returns a value that is a string, or "".
func stringOf(value jsontext.Value) (text string) {
	_ = json.Unmarshal(value, &text, asBrowsersRead...) // a value of another kind is no text
	return text
}

var asBrowsersRead = []json.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
