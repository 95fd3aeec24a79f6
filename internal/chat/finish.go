package chat

import (
	"bytes"
	"io"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/sse"
)

const typeFinish = "finish"

// MayFinish is a cheap test with no false negatives: it reports whether one of the events may be a finish. The JSON of
// a finish holds the word "finish" as it is, or ASCII letters escaped as \u006X or \u007X.
func MayFinish(events []byte) bool {
	return bytes.Contains(events, []byte(typeFinish)) || escapesLetters(events)
}

// escapesLetters reports whether p holds a \u006X or \u007X.
func escapesLetters(p []byte) bool {
	for {
		i := bytes.IndexByte(p, '\\')
		if i < 0 {
			return false
		}
		p = p[i+1:]
		if bytes.HasPrefix(p, []byte("u006")) || bytes.HasPrefix(p, []byte("u007")) {
			return true
		}
	}
}

// FinishReader tells a finish from other events. It reads an event's JSON as a browser does: of two equal names, the
// last one counts. A stream keeps its reader to the end, so that reading an event that merely quotes the word allocates
// nothing.
type FinishReader struct {
	json jsontext.Decoder
	in   bytes.Buffer
	data []byte
	text []byte

	reason []byte // the finishReason of the last event that was read; empty if longer than maxReason
}

// maxReason bounds the finishReason that is kept, in bytes of JSON. All known reasons are shorter.
const maxReason = 100

// finishReaders holds the readers that no stream uses at the moment.
var finishReaders = sync.Pool{New: func() any { return new(FinishReader) }}

// NewFinishReader returns a reader for one stream. Release makes it available to other streams.
func NewFinishReader() *FinishReader { return finishReaders.Get().(*FinishReader) }

// Release returns f to the pool, for other streams.
func (f *FinishReader) Release() { finishReaders.Put(f) }

// Reason returns the finishReason of the last event that was read. It is empty if there is none, or if it is longer
// than any known one. It is valid until the next event is read.
func (f *FinishReader) Reason() []byte { return f.reason }

var asBrowsersRead = []json.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// IsFinish reports whether ev, a whole event, is a finish. first means that ev is the stream's first event, which may
// begin with a byte order mark.
func (f *FinishReader) IsFinish(ev []byte, first bool) bool {
	finish, whole := f.read(ev, first)
	return finish && whole
}

// BeginsFinish reports whether ev already says that its event is a finish. ev is the beginning of an event that is too
// large for the buffer. The rest of the event is not checked. first is as for IsFinish.
func (f *FinishReader) BeginsFinish(ev []byte, first bool) bool {
	finish, _ := f.read(ev, first)
	return finish
}

// read reads the JSON object in an event's data, as far as the data goes. finish reports whether the part that was read
// has the type "finish". whole reports whether the data is exactly one object.
func (f *FinishReader) read(ev []byte, first bool) (finish, whole bool) {
	defer f.shrink()
	f.data = sse.AppendData(f.data[:0], ev, first)
	f.reason = f.reason[:0]
	f.in = *bytes.NewBuffer(f.data)
	f.json.Reset(&f.in, asBrowsersRead...)

	if token, err := f.json.ReadToken(); err != nil || token.Kind() != '{' {
		return false, false
	}
	for f.json.PeekKind() == '"' {
		name, err := f.json.ReadValue()
		if err != nil {
			return finish, false
		}
		f.text = unquote(f.text, name)
		isType, isReason := string(f.text) == "type", string(f.text) == "finishReason"
		value, err := f.json.ReadValue()
		if err != nil {
			return finish, false
		}
		switch {
		case isType:
			finish = f.isString(value, typeFinish)
		case isReason && len(value) <= maxReason:
			f.reason = unquote(f.reason, value)
		}
	}
	if token, err := f.json.ReadToken(); err != nil || token.Kind() != '}' {
		return finish, false
	}
	_, err := f.json.ReadToken()
	return finish, err == io.EOF
}

// maxKept bounds the memory that is kept for the next event, in bytes.
const maxKept = 4 << 10

// shrink frees the memory of a large event.
func (f *FinishReader) shrink() {
	if cap(f.data) <= maxKept {
		return
	}
	f.data, f.text, f.in = nil, nil, bytes.Buffer{}
	f.json.Reset(&f.in, asBrowsersRead...)
}

// isString reports whether value is the string s.
func (f *FinishReader) isString(value jsontext.Value, s string) bool {
	f.text = unquote(f.text, value)
	return value.Kind() == '"' && string(f.text) == s
}

// unquote overwrites dst with the string in value and returns it. It returns an empty slice if value is not a string.
func unquote(dst []byte, value jsontext.Value) []byte {
	if value.Kind() != '"' {
		return dst[:0]
	}
	// The decoder has checked the string, so the only possible error is invalid UTF-8, which AppendUnquote replaces.
	dst, _ = jsontext.AppendUnquote(dst[:0], value)
	return dst
}

// FinishEvent returns the event that ends a stream without a finish from the upstream.
func FinishEvent(b *apierror.Interruption) []byte {
	// Marshal cannot fail, because all text is constant and valid UTF-8.
	data, _ := json.Marshal(struct {
		Type   string `json:"type"`
		Reason string `json:"finishReason"`
		Error  string `json:"error,omitempty"`
		Code   string `json:"code"`
	}{typeFinish, b.FinishReason(), b.Text, b.Code.String()})
	return append(append([]byte("data: "), data...), "\n\n"...)
}
