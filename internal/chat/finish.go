package chat

import (
	"bytes"
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
// last one counts. An event may come in parts, and be larger than the memory of its stream. A stream keeps its reader to
// the end, so that reading an event that merely quotes the word allocates nothing.
type FinishReader struct {
	data sse.DataReader
	json objectReader

	held    []byte // the string that is being read, from its first quote on
	holding bool   // such a string is being read, and may matter
	text    []byte // memory for a decoded string

	field  finishField
	finish bool   // the last "type" so far is "finish"
	typed  bool   // there was a "type"
	reason []byte // the last "finishReason" so far; empty if it is no string, or longer than maxReason
}

// finishField is a field of an event that says whether the event is a finish, and why.
type finishField int

const (
	otherField finishField = iota
	typeField
	reasonField
)

const (
	maxReason = 100           // bytes of JSON; all known reasons are shorter
	maxHeld   = maxReason + 2 // with the quotes; the names that matter are shorter, even if each letter is escaped
	maxKept   = 4 << 10       // bytes of memory that are kept for the next event
)

// finishReaders holds the readers that no stream uses at the moment.
var finishReaders = sync.Pool{New: func() any { return new(FinishReader) }}

// NewFinishReader returns a reader for one stream. Release makes it available to other streams.
func NewFinishReader() *FinishReader { return finishReaders.Get().(*FinishReader) }

// Release returns f to the pool, for other streams.
func (f *FinishReader) Release() { finishReaders.Put(f) }

// IsFinish reports whether ev, a whole event, is a finish. first means that ev is the stream's first event, which may
// begin with a byte order mark.
func (f *FinishReader) IsFinish(ev []byte, first bool) bool {
	f.Begin(first)
	f.Read(ev)
	return f.ReadFinish()
}

// Begin prepares f for an event that comes in parts. first is as for IsFinish.
func (f *FinishReader) Begin(first bool) {
	f.data = sse.NewDataReader(first)
	if cap(f.json.open) > maxKept {
		f.json.open = nil
	}
	f.json.reset()
	f.holding, f.field, f.finish, f.typed, f.reason = false, otherField, false, false, f.reason[:0]
}

// Read reads the next part of the event.
func (f *FinishReader) Read(part []byte) {
	for len(part) > 0 {
		var data []byte
		data, part = f.data.Next(part)
		f.readData(data)
	}
}

// ReadFinish reports whether the event, whose parts have all been read, is a finish.
func (f *FinishReader) ReadFinish() bool { return f.finish && f.json.whole() }

// MayBeFinish reports whether the event may be a finish, as far as it has been read: its type is not known yet, or is
// that of a finish.
func (f *FinishReader) MayBeFinish() bool { return f.json.state != notJSON && (f.finish || !f.typed) }

// Reason returns the finishReason of the last event that was read. It is empty if there is none, or if it is longer
// than any known one. It is valid until the next event is read.
func (f *FinishReader) Reason() []byte { return f.reason }

// EndsStep reports whether the last event that was read ends only a step of the answer: the assistant calls a tool, and
// its result and further text follow.
func (f *FinishReader) EndsStep() bool {
	return string(f.reason) == "tool-calls" || string(f.reason) == "tool_calls"
}

func (f *FinishReader) readData(data []byte) {
	for len(data) > 0 {
		n, m := f.json.next(data)
		switch m {
		case noMark:
			f.hold(data[:n])
		case nameBegins:
			f.beginHolding()
		case nameEnds:
			f.hold(data[:n])
			f.endName()
		case valueBegins:
			f.beginValue()
		case stringBegins:
			f.beginValue()
			if f.field != otherField {
				f.beginHolding()
			}
		case stringEnds:
			f.hold(data[:n])
			f.endString()
		}
		data = data[n:]
	}
}

// beginHolding begins to hold a string, whose first quote has been read.
func (f *FinishReader) beginHolding() {
	f.held, f.holding = append(f.held[:0], '"'), true
}

// hold keeps the next bytes of a string. It gives up on a string that is too long to matter.
func (f *FinishReader) hold(p []byte) {
	if f.holding = f.holding && len(f.held)+len(p) <= maxHeld; f.holding {
		f.held = append(f.held, p...)
	}
}

// endHolding returns the string that was held, decoded. It returns an empty string if none was.
func (f *FinishReader) endHolding() []byte {
	if f.text = f.text[:0]; f.holding {
		// The string is well-formed JSON, so the only possible error is invalid UTF-8, which AppendUnquote replaces.
		f.text, _ = jsontext.AppendUnquote(f.text, f.held)
	}
	f.holding = false
	return f.text
}

func (f *FinishReader) endName() {
	switch string(f.endHolding()) {
	case "type":
		f.field = typeField
	case "finishReason":
		f.field = reasonField
	default:
		f.field = otherField
	}
}

// beginValue forgets an earlier value of the same field.
func (f *FinishReader) beginValue() {
	switch f.field {
	case typeField:
		f.typed, f.finish = true, false
	case reasonField:
		f.reason = f.reason[:0]
	}
}

func (f *FinishReader) endString() {
	switch text := f.endHolding(); f.field {
	case typeField:
		f.finish = string(text) == typeFinish
	case reasonField:
		f.reason = append(f.reason, text...)
	}
}

// finish is a finish event as this module writes it.
type finish struct {
	Type   string `json:"type"`
	Reason string `json:"finishReason"`
	Error  string `json:"error,omitempty"`
	Code   string `json:"code,omitempty"`
}

// FinishEvent returns the event that ends a stream without a finish from the upstream.
func FinishEvent(b *apierror.Interruption) []byte {
	return finish{typeFinish, b.FinishReason(), b.Text, b.SentCode()}.event()
}

// FinishAgain returns a finish with the reason of a finish that was sent already.
func FinishAgain(reason string) []byte { return finish{Type: typeFinish, Reason: reason}.event() }

func (f finish) event() []byte {
	// Marshal cannot fail, because all text is valid UTF-8: it is constant, or a string of JSON that was decoded.
	data, _ := json.Marshal(f)
	return append(append([]byte("data: "), data...), "\n\n"...)
}
