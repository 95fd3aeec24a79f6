package illumichat

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/values"
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

// jsonType is the media type of a chat.
const jsonType = "application/json"

const (
	maxNesting      = 64  // levels of arrays and objects in a body
	maxChatIDLength = 256 // bytes
)

var (
	errMediaType = &apierror.Error{
		Status: http.StatusUnsupportedMediaType, Code: apierror.CodeUnsupportedMediaType,
		Text: "send the chat as application/json",
	}
	errBodyTimeout = &apierror.Error{
		Status: http.StatusRequestTimeout, Code: apierror.CodeTimeout,
		Text: "the request body took too long",
	}
	errAssistant = &apierror.Error{
		Status: http.StatusForbidden, Code: apierror.CodeForbiddenAssistant,
		Text: "this assistant may not be used here",
	}
)

func errTooLarge(format string, args ...any) *apierror.Error {
	return &apierror.Error{
		Status: http.StatusRequestEntityTooLarge, Code: apierror.CodeTooLarge,
		Text: fmt.Sprintf(format, args...),
	}
}

func errBadRequest(format string, args ...any) *apierror.Error {
	return &apierror.Error{
		Status: http.StatusBadRequest, Code: apierror.CodeBadRequest,
		Text: fmt.Sprintf(format, args...),
	}
}

// anyAssistant in the list of assistants allows all of them.
const anyAssistant = "*"

// otherAssistant is the label of all assistants that are allowed without being listed: what visitors may choose is no
// label.
const otherAssistant = "other"

// What the checks of the Caddyfile, which knows the line, and of JSON share.
var (
	errNoAssistants    = errors.New("assistants: at least one assistant is needed, or an alias of one")
	errAnyAmongOthers  = errors.New("assistants: * allows any assistant, so none can be named beside it")
	errPassFieldIsOurs = errors.New("assistantId, messages and chatId are always forwarded")
)

// chatConfig is what rules are made of, with placeholders as they are configured.
type chatConfig struct {
	assistants  []string
	aliases     map[string]string
	maxBodySize int64
	maxMessages int
	roles       []string
	passFields  []string
	bodyTimeout time.Duration
}

// chatRules are what a visitor's request must keep to.
type chatRules struct {
	assistants   map[string]string // what a page may name → the assistant's id
	anyAssistant bool
	maxBodySize  int64
	maxMessages  int
	roles        []string
	passFields   []string
	bodyTimeout  time.Duration
}

// newChatRules resolves what chats are checked against.
func newChatRules(config chatConfig) (*chatRules, error) {
	rules := &chatRules{
		assistants:  make(map[string]string, len(config.assistants)+len(config.aliases)),
		maxBodySize: config.maxBodySize,
		maxMessages: config.maxMessages,
		roles:       config.roles,
		passFields:  config.passFields,
		bodyTimeout: config.bodyTimeout,
	}
	var listed []string
	for _, configured := range config.assistants {
		if configured == anyAssistant {
			rules.anyAssistant = true
			continue
		}
		id, err := values.Expand(configured)
		if err != nil {
			return nil, fmt.Errorf("assistants: %w", err)
		}
		if err := checkAssistant(id); err != nil {
			return nil, fmt.Errorf("assistants: %w", err)
		}
		rules.assistants[id] = id
		listed = append(listed, id)
	}
	for name, configured := range config.aliases {
		id, err := values.Expand(configured)
		if err != nil {
			return nil, fmt.Errorf("aliases: %s: %w", name, err)
		}
		if err := checkAlias(name, id, listed); err != nil {
			return nil, fmt.Errorf("aliases: %w", err)
		}
		rules.assistants[name] = id
	}
	return rules, nil
}

// allowsAny reports whether any assistant is allowed.
func (c *chatRules) allowsAny() bool { return c.anyAssistant }

// allowedAssistants returns the names that are listed, and the ids that they stand for.
func (c *chatRules) allowedAssistants() map[string]string { return maps.Clone(c.assistants) }

// labels returns what metrics call the assistants that are allowed.
func (c *chatRules) labels() []string {
	labels := slices.Collect(maps.Keys(c.assistants))
	if c.anyAssistant {
		labels = append(labels, otherAssistant)
	}
	return labels
}

// checkAssistant checks an id after its placeholders are replaced. A * there would be an id, and not the
// leave to talk to any assistant that whoever set it may have meant.
func checkAssistant(id string) error {
	switch {
	case id == "":
		return errors.New("an assistant's id is empty")
	case id == anyAssistant:
		return errors.New("* is no assistant's id; alone, and not by a placeholder, it allows any")
	case !utf8.ValidString(id):
		return fmt.Errorf("%q is no assistant's id: it is not valid UTF-8", id)
	case strings.ContainsFunc(id, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return fmt.Errorf("%q is no assistant's id: it holds a space or a control character", id)
	}
	return nil
}

// checkAlias refuses a name that means two assistants.
func checkAlias(name, id string, listed []string) error {
	if name == "" {
		return errors.New("the name is empty")
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("the name %q is not valid UTF-8", name)
	}
	if slices.Contains(listed, name) {
		return fmt.Errorf("'%s' is the id of a listed assistant", name)
	}
	return checkAssistant(id)
}

func checkRole(role string) error {
	if role == "" {
		return errors.New("a role is empty")
	}
	return nil
}

// checkPassField refuses fields that have a meaning of their own, in any case of their letters: an
// upstream that is lenient about case would read them as those.
func checkPassField(name string) error {
	if name == "" {
		return errors.New("a field's name is empty")
	}
	if slices.ContainsFunc(chatFields, func(field string) bool { return strings.EqualFold(field, name) }) {
		return fmt.Errorf("%q: %w", name, errPassFieldIsOurs)
	}
	return nil
}

// chat is what a visitor asks for, checked.
type chat struct {
	body      []byte // that is sent upstream, written anew from what was checked
	assistant string
	alias     string // under which the page knows the assistant, where that is not its id
	label     string // the configured name of the assistant, for metrics
	continued bool   // it has an id
}

// read reads the visitor's request to its end and checks it.
func (c *chatRules) read(w http.ResponseWriter, r *http.Request) (chat, error) {
	if !isJSON(r.Header.Get("Content-Type")) {
		return chat{}, errMediaType
	}
	body, err := c.readBody(w, r)
	if err != nil {
		return chat{}, err
	}
	return c.parse(body)
}

// isJSON reports whether a body of this Content-Type is a page's JSON. Most pages say so without a parameter.
func isJSON(contentType string) bool {
	if contentType == jsonType {
		return true
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && mediaType == jsonType
}

// readBody reads the body to its end, and not just to the end of its JSON: only then does net/http
// watch an HTTP/1 connection for a visitor who leaves.
func (c *chatRules) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > c.maxBodySize {
		return nil, errTooLarge("the request body is larger than %d bytes", c.maxBodySize)
	}
	// One deadline for the whole body. It is not reset afterwards: that would hit the read in which
	// net/http waits for the visitor to leave. Where the writer knows no deadlines (in tests), there is none.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(c.bodyTimeout))

	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, c.maxBodySize))
	if err != nil {
		return nil, bodyError(r, err)
	}
	return body, nil
}

// bodyError tells a body that is too slow, too large or malformed from a visitor who is gone.
func bodyError(r *http.Request, err error) error {
	var tooLarge *http.MaxBytesError // ours, or that of the request_body directive
	var network *net.OpError
	switch {
	case errors.As(err, &tooLarge):
		return errTooLarge("the request body is larger than %d bytes", tooLarge.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errBodyTimeout.Because(apierror.WithoutAddress(err))
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network), len(r.TransferEncoding) == 0:
		return apierror.ErrVisitorGone
	}
	// HTTP/1.1 alone has a coding of the body that can be malformed while the connection lives.
	return errBadRequest("the chunks of the request body are malformed").Because(apierror.WithoutAddress(err))
}

// parse checks a body and writes it anew.
func (c *chatRules) parse(body []byte) (chat, error) {
	p := newParser(c, body)
	defer p.release()
	if err := p.chat(); err != nil {
		return chat{}, err
	}
	name, id, err := c.allowed(p.assistant)
	if err != nil {
		return chat{}, err
	}
	checked := chat{body: p.finish(id), assistant: id, label: name, continued: p.continued}
	if _, listed := c.assistants[name]; !listed {
		checked.label = otherAssistant
	}
	if name != id {
		checked.alias = name
	}
	return checked, nil
}

// allowed returns the configured name and the id of the assistant that a page means by name, "" being the only one.
func (c *chatRules) allowed(name string) (configured, id string, err error) {
	if name == "" {
		if len(c.assistants) != 1 || c.anyAssistant {
			return "", "", errBadRequest("%s is missing", fieldAssistant)
		}
		for configured, id := range c.assistants {
			return configured, id, nil
		}
	}
	if id, ok := c.assistants[name]; ok {
		return name, id, nil
	}
	if c.anyAssistant {
		return name, name, nil
	}
	return "", "", errAssistant
}

// parser reads a chat strictly (RFC 8259, and no name twice in an object, as RFC 7493 has it) and copies
// what goes upstream token by token, so that nothing the visitor wrote can be read in two ways.
type parser struct {
	*codec
	rules *chatRules
	read  int // bytes of the visitor's body
	body  bytes.Buffer

	assistant string
	continued bool
}

// codec is what a parser reads and writes with.
type codec struct {
	in  *jsontext.Decoder
	out *jsontext.Encoder
}

// codecs are kept, because what they remember of names takes more allocations than the rest of a chat. That of a large body
// is not: it may have grown large.
var codecs = sync.Pool{New: func() any {
	return &codec{jsontext.NewDecoder(http.NoBody), jsontext.NewEncoder(io.Discard)}
}}

const mostKept = 16 << 10 // bytes of a body whose codec is kept

func newParser(rules *chatRules, body []byte) *parser {
	p := &parser{codec: codecs.Get().(*codec), rules: rules, read: len(body)}
	p.body.Grow(len(body) + 256) // with room for the assistant, for which it would be doubled
	p.in.Reset(bytes.NewBuffer(body))
	// The decoder has checked what the encoder gets.
	p.out.Reset(&p.body, jsontext.AllowDuplicateNames(true))
	return p
}

// release gives the codec back, without the bodies.
func (p *parser) release() {
	if p.read > mostKept {
		return
	}
	p.in.Reset(http.NoBody)
	p.out.Reset(io.Discard)
	codecs.Put(p.codec)
}

// chat reads the whole body.
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
		case field == fieldAssistant:
			p.assistant, err = p.nonEmptyString(fieldAssistant)
		case field == fieldChat && p.in.PeekKind() == 'n':
			err = p.copyValue(nil) // null counts as left out
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

// finish ends the object with the assistant that was decided on, and returns it.
func (p *parser) finish(assistant string) []byte {
	// A write of a checked string to memory cannot fail.
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
			return errTooLarge("%s has more than %d entries", fieldMessages, p.rules.maxMessages)
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

// place is a message, or a field of it or of the body. Its text is made only where there is an error: there can
// be very many messages.
type place struct {
	message int // its index; none: -1
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
	var seenRole, seenContent bool
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
			err = p.copyValue(p.out)
		}
		if err != nil {
			return err
		}
	}
	switch {
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

// content reads a string or an array, neither of them empty.
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

// copyValue copies the next value to out, or checks and drops it where there is none.
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

// begin copies the opening delimiter of what must be an object or array.
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

// end copies the closing delimiter that was peeked at.
func (p *parser) end() error {
	token, err := p.token()
	if err != nil {
		return err
	}
	return p.write(token)
}

// token reads the next token. It is valid until the next one is read.
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

// syntaxError says where a body stops being JSON, in words that repeat none of it but names.
func syntaxError(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case err == io.EOF:
		return errBadRequest("the body is empty")
	case !errors.As(err, &syntax):
		return errBadRequest("the body is not valid JSON").Because(err)
	case errors.Is(err, jsontext.ErrDuplicateName):
		return errBadRequest("%s is given twice", fieldPath(syntax.JSONPointer))
	}
	return errBadRequest("%s is not valid JSON, at byte %d", fieldPath(syntax.JSONPointer), syntax.ByteOffset)
}

// maxPathLength is how much of a field's path is told, in bytes: a visitor's names have no bound.
const maxPathLength = 100

// fieldPath writes a JSON Pointer (RFC 6901) as a page's author would: messages[2].role.
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
