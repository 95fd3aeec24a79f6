package values

import (
	"errors"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// Template is a text with placeholders that are replaced for each request. Its values are visitors' texts, so it never
// looks for placeholders in them.
type Template struct {
	source string // as configured
	parts  []templatePart
	names  []string // of the placeholders
}

// templatePart is a literal text, or a placeholder if name is not empty.
type templatePart struct{ text, name string }

var (
	errBrace       = errors.New("it has a brace without its partner; a placeholder is written {name}")
	errPlaceholder = errors.New("a placeholder in it is empty, or holds a space or a brace; one is written {name}")
)

// ParseTemplate parses a text with placeholders. As in Caddy, a backslash before a brace makes the brace a literal one.
// Unlike Caddy, ParseTemplate returns an error for a brace without a partner: it is a mistake.
func ParseTemplate(s string) (Template, error) {
	t := Template{source: s}
	var text strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '{' || s[i+1] == '}'):
			i++
			text.WriteByte(s[i])
		case s[i] == '}':
			return Template{}, errBrace
		case s[i] == '{':
			length := strings.IndexByte(s[i:], '}')
			if length < 0 {
				return Template{}, errBrace
			}
			name := s[i+1 : i+length]
			if name == "" || strings.ContainsAny(name, "{\\ \t\r\n") {
				return Template{}, errPlaceholder
			}
			t.parts = append(t.parts, templatePart{text: text.String()}, templatePart{name: name})
			t.names = append(t.names, name)
			text.Reset()
			i += length
		default:
			text.WriteByte(s[i])
		}
	}
	t.parts = append(t.parts, templatePart{text: text.String()})
	return t, nil
}

// String returns the text as it is configured.
func (t Template) String() string { return t.source }

// Names returns the names of the placeholders, without braces.
func (t Template) Names() []string { return t.names }

// Expand returns the text with the values of its placeholders, each of which is passed through normalize. It returns
// false if a value is empty, or if it is the address of every visitor at a Unix socket.
//
// Two different lists of values never give the same text. If there are several placeholders, each value has its length
// before it. Otherwise a visitor who chooses one value could shift its border to another and pose as somebody else.
func (t Template) Expand(repl *caddy.Replacer, normalize func(string) string) (text string, complete bool) {
	var b strings.Builder
	for _, part := range t.parts {
		if part.name == "" {
			b.WriteString(part.text)
			continue
		}
		found, _ := repl.Get(part.name)
		value := KnownVisitor(caddy.ToString(found))
		if value == "" {
			return "", false
		}
		value = normalize(value)
		if len(t.names) > 1 {
			b.WriteString(strconv.Itoa(len(value)))
			b.WriteByte(':')
		}
		b.WriteString(value)
	}
	return b.String(), true
}
