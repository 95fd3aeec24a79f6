package chat

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/illumichat/caddy-illumichat/internal/cause"
)

// The fields of a chat.
const (
	fieldAssistant = "assistantId"
	fieldMessages  = "messages"
	fieldChat      = "chatId"
	fieldRole      = "role"
	fieldContent   = "content"
)

var chatFields = []string{fieldAssistant, fieldMessages, fieldChat}

const (
	maxNesting      = 64  // levels of arrays and objects in a body
	maxChatIDLength = 256 // bytes
)

// parser reads a chat strictly: by RFC 8259, and with no name twice in an object, as RFC 7493 requires. It copies the
// parts that go upstream token by token, so that they cannot be read in two ways.
type parser struct {
	*codec
	rules *Rules
	read  int // size of the visitor's body, in bytes
	body  bytes.Buffer

	assistant string
	continued bool
}

// codec holds the decoder and the encoder of a parser.
type codec struct {
	in  *jsontext.Decoder
	out *jsontext.Encoder
}

// codecs pools codecs, because the names that they remember take more allocations than the rest of a chat. The codec of
// a large body is not pooled, because it may have grown large.
var codecs = sync.Pool{New: func() any {
	return &codec{jsontext.NewDecoder(http.NoBody), jsontext.NewEncoder(io.Discard)}
}}

const mostKept = 16 << 10 // size of the largest body whose codec is pooled, in bytes

func newParser(rules *Rules, body []byte) *parser {
	p := &parser{codec: codecs.Get().(*codec), rules: rules, read: len(body)}
	p.body.Grow(len(body) + 256) // room for the assistant, or the buffer would double for it
	p.in.Reset(bytes.NewBuffer(body))
	// The encoder need not check names again: the decoder has refused duplicates.
	p.out.Reset(&p.body, jsontext.AllowDuplicateNames(true))
	return p
}

// release returns the codec to the pool, without references to the bodies. It drops the codec of a large body.
func (p *parser) release() {
	if p.read > mostKept {
		return
	}
	p.in.Reset(http.NoBody)
	p.out.Reset(io.Discard)
	codecs.Put(p.codec)
}

// chat reads the whole body and copies the parts that go upstream. The copied object stays open for finish.
func (p *parser) chat() error {
	if err := p.begin('{', place{-1, "the body"}); err != nil {
		return err
	}
	var seenMessages bool
	for p.in.PeekKind() != '}' {
		name, err := p.token()
		if err != nil {
			return err
		}
		switch field := name.String(); {
		case (field == fieldAssistant || field == fieldChat) && p.in.PeekKind() == 'n':
			err = p.copyValue(nil) // null counts as omitted
		case field == fieldAssistant:
			p.assistant, err = p.nonEmptyString(fieldAssistant)
		case field == fieldChat:
			err = p.chatID()
		case field == fieldMessages:
			seenMessages = true
			err = p.messages()
		case slices.Contains(p.rules.passFields, field):
			if err = p.write(jsontext.String(field)); err == nil {
				err = p.copyValue(p.out)
			}
		default:
			err = p.copyValue(nil)
		}
		if err != nil {
			return err
		}
	}
	if _, err := p.token(); err != nil {
		return err
	}
	if _, err := p.in.ReadToken(); err != io.EOF {
		return errBadRequest("something follows the JSON object")
	}
	if !seenMessages {
		return errBadRequest("%s is missing", fieldMessages)
	}
	return nil
}

// finish adds the assistant's id as the last field, ends the object and returns the body.
func (p *parser) finish(assistant string) []byte {
	// Writing a checked string to memory cannot fail.
	_ = p.write(jsontext.String(fieldAssistant), jsontext.String(assistant), jsontext.EndObject)
	return bytes.TrimSuffix(p.body.Bytes(), []byte("\n"))
}

func (p *parser) chatID() error {
	id, err := p.nonEmptyString(fieldChat)
	if err != nil {
		return err
	}
	if len(id) > maxChatIDLength {
		return errBadRequest("%s is longer than %d bytes", fieldChat, maxChatIDLength)
	}
	p.continued = true
	return p.write(jsontext.String(fieldChat), jsontext.String(id))
}

func (p *parser) nonEmptyString(field string) (string, error) {
	token, err := p.token()
	if err != nil {
		return "", err
	}
	if token.Kind() != '"' || token.String() == "" {
		return "", errBadRequest("%s must be a string, and not empty", field)
	}
	return token.String(), nil
}

func (p *parser) messages() error {
	if err := p.write(jsontext.String(fieldMessages)); err != nil {
		return err
	}
	if err := p.begin('[', place{-1, fieldMessages}); err != nil {
		return err
	}
	n := 0
	for ; p.in.PeekKind() != ']'; n++ {
		if p.rules.maxMessages > 0 && n == p.rules.maxMessages {
			return errTooManyMessages(p.rules.maxMessages)
		}
		if err := p.message(n); err != nil {
			return err
		}
	}
	if n == 0 {
		return errBadRequest("%s is empty", fieldMessages)
	}
	return p.end()
}

// place names a message, a field of a message, or a field of the body. Its text is built only for an error, because a
// chat can have very many messages.
type place struct {
	message int // its index; -1 means none
	field   string
}

func (p place) String() string {
	switch {
	case p.message < 0:
		return p.field
	case p.field == "":
		return fmt.Sprintf("%s[%d]", fieldMessages, p.message)
	}
	return fmt.Sprintf("%s[%d].%s", fieldMessages, p.message, p.field)
}

func (p *parser) message(n int) error {
	if err := p.begin('{', place{n, ""}); err != nil {
		return err
	}
	var seenRole, seenContent, seenParts bool
	for p.in.PeekKind() != '}' {
		token, err := p.token()
		if err != nil {
			return err
		}
		name := token.String()
		if err := p.write(jsontext.String(name)); err != nil {
			return err
		}
		switch {
		case name == fieldRole:
			seenRole = true
			err = p.role(n)
		case name == fieldContent:
			seenContent = true
			err = p.content(n)
		case strings.EqualFold(name, fieldRole), strings.EqualFold(name, fieldContent):
			return errBadRequest("%s must be written in lower case", place{n, name})
		default:
			seenParts = seenParts || name == "parts" || name == "text"
			err = p.copyValue(p.out)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case !seenContent && seenParts: // as some libraries write messages
		return errBadRequest("%s is missing; send the text of parts or text as content", place{n, fieldContent})
	case !seenRole:
		return errBadRequest("%s is missing", place{n, fieldRole})
	case !seenContent:
		return errBadRequest("%s is missing", place{n, fieldContent})
	}
	return p.end()
}

func (p *parser) role(n int) error {
	token, err := p.token()
	if err != nil {
		return err
	}
	if token.Kind() != '"' || !slices.Contains(p.rules.roles, token.String()) {
		return errBadRequest("%s must be one of: %s", place{n, fieldRole}, strings.Join(p.rules.roles, ", "))
	}
	return p.write(token)
}

// content copies a message's content, which must be a string or an array, and not empty.
func (p *parser) content(n int) error {
	if p.in.PeekKind() != '[' {
		token, err := p.token()
		if err != nil {
			return err
		}
		if token.Kind() != '"' || token.String() == "" {
			return errContent(n)
		}
		return p.write(token)
	}
	if err := p.begin('[', place{n, fieldContent}); err != nil {
		return err
	}
	if p.in.PeekKind() == ']' {
		return errContent(n)
	}
	for p.in.PeekKind() != ']' {
		if err := p.copyValue(p.out); err != nil {
			return err
		}
	}
	return p.end()
}

func errContent(n int) error {
	return errBadRequest("%s must be a string or an array, and not empty", place{n, fieldContent})
}

// copyValue checks the next value and copies it to out. If out is nil, it drops the value.
func (p *parser) copyValue(out *jsontext.Encoder) error {
	for depth := p.in.StackDepth(); ; {
		token, err := p.token()
		if err != nil {
			return err
		}
		if out != nil {
			if err := p.write(token); err != nil {
				return err
			}
		}
		if p.in.StackDepth() == depth {
			return nil
		}
	}
}

// begin copies the opening delimiter of an object or array. It returns an error, which names at, if the next value is
// of another kind.
func (p *parser) begin(kind jsontext.Kind, at place) error {
	token, err := p.token()
	if err != nil {
		return err
	}
	if token.Kind() != kind {
		if kind == '{' {
			return errBadRequest("%s must be an object", at)
		}
		return errBadRequest("%s must be an array", at)
	}
	return p.write(token)
}

// end copies the closing delimiter, at which the caller has peeked.
func (p *parser) end() error {
	token, err := p.token()
	if err != nil {
		return err
	}
	return p.write(token)
}

// token returns the next token, which is valid until the next call. It returns an error if the body is not valid JSON,
// or is nested too deeply.
func (p *parser) token() (jsontext.Token, error) {
	token, err := p.in.ReadToken()
	if err != nil {
		return token, syntaxError(err)
	}
	if p.in.StackDepth() > maxNesting {
		return token, errBadRequest("%s is nested deeper than %d levels", fieldPath(p.in.StackPointer()), maxNesting)
	}
	return token, nil
}

func (p *parser) write(tokens ...jsontext.Token) error {
	for _, token := range tokens {
		if err := p.out.WriteToken(token); err != nil {
			return syntaxError(err)
		}
	}
	return nil
}

// syntaxError returns an error that says where a body stops being JSON. Its text repeats nothing of the body but names.
func syntaxError(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case err == io.EOF:
		return errBadRequest("the body is empty")
	case !errors.As(err, &syntax):
		return errBadRequest("the body is not valid JSON").Because(cause.Of(err))
	case errors.Is(err, jsontext.ErrDuplicateName):
		return errBadRequest("%s is given twice", fieldPath(syntax.JSONPointer))
	}
	return errBadRequest("%s is not valid JSON, at byte %d", fieldPath(syntax.JSONPointer), syntax.ByteOffset)
}

// maxPathLength bounds a field's path in an error, in bytes, because a visitor's names have no bound.
const maxPathLength = 100

// fieldPath returns a JSON Pointer (RFC 6901) as a page's author would write it: messages[2].role.
func fieldPath(pointer jsontext.Pointer) string {
	var path strings.Builder
	for name := range pointer.Tokens() {
		if _, err := strconv.ParseUint(name, 10, 64); err == nil {
			fmt.Fprintf(&path, "[%s]", name)
			continue
		}
		if path.Len() > 0 {
			path.WriteByte('.')
		}
		path.WriteString(name)
	}
	switch p := path.String(); {
	case p == "":
		return "the body"
	case len(p) > maxPathLength:
		return strings.ToValidUTF8(p[:maxPathLength], "") + "…"
	default:
		return p
	}
}
