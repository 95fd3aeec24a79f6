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

// MayFinish is a cheap test whose no is certain: an event can be a finish only if its JSON holds the word
// as it is, or letters of ASCII written as \u006X or \u007X.
func MayFinish(events []byte) bool {
	return bytes.Contains(events, []byte(typeFinish)) || escapesLetters(events)
}

// escapesLetters reports whether there is a \u006X or \u007X.
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

// FinishReader tells a finish from other events. It reads an event's JSON as a browser would, to which
// the last of two equal names counts. It is kept for a stream's life so that a look at an event that quotes
// the word allocates nothing.
type FinishReader struct {
	json jsontext.Decoder
	in   bytes.Buffer
	data []byte
	text []byte

	reason []byte // the finishReason of the event that was read last, unless it is longer than any that is known
}

// maxReason is how long a finishReason may be that is remembered, in bytes of JSON.
const maxReason = 100

// finishReaders are those that no stream has at the moment.
var finishReaders = sync.Pool{New: func() any { return new(FinishReader) }}

func NewFinishReader() *FinishReader { return finishReaders.Get().(*FinishReader) }

// Release gives the reader back, for other streams.
func (f *FinishReader) Release() { finishReaders.Put(f) }

// Reason returns the finishReason of the event that was read last, unless it is longer than any that is known.
func (f *FinishReader) Reason() []byte { return f.reason }

var asBrowsersRead = []json.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// IsFinish reports whether ev, a whole event, is a finish.
func (f *FinishReader) IsFinish(ev []byte, first bool) bool {
	finish, whole := f.read(ev, first)
	return finish && whole
}

// BeginsFinish reports whether ev, the beginning of an event that is too large to be held, says that it
// is a finish. What the rest of it says is not looked at.
func (f *FinishReader) BeginsFinish(ev []byte, first bool) bool {
	finish, _ := f.read(ev, first)
	return finish
}

// read reads the object that is an event's data as far as it goes.
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

// maxKept is how much memory is kept for the next event, in bytes.
const maxKept = 4 << 10

// shrink gives the memory of a large event back.
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

// unquote returns the string that value is, in the memory of dst; what is no string is empty.
func unquote(dst []byte, value jsontext.Value) []byte {
	if value.Kind() != '"' {
		return dst[:0]
	}
	// The only fault a string that was read can have is that it is no valid UTF-8, which is replaced.
	dst, _ = jsontext.AppendUnquote(dst[:0], value)
	return dst
}

// FinishEvent is the event that ends a stream which has none of its own.
func FinishEvent(b *apierror.Interruption) []byte {
	// Constant, valid text: nothing here can fail.
	data, _ := json.Marshal(struct {
		Type   string `json:"type"`
		Reason string `json:"finishReason"`
		Error  string `json:"error,omitempty"`
		Code   string `json:"code"`
	}{typeFinish, b.FinishReason(), b.Text, b.Code.String()})
	return append(append([]byte("data: "), data...), "\n\n"...)
}
