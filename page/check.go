package page

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"

	"github.com/illumichat/caddy-illumichat/internal/origin"
	"github.com/illumichat/caddy-illumichat/internal/values"
)

// This file checks the values of options. Its errors say what to write.

// defaultLang is the page's language if none is configured.
const defaultLang = "en"

// maxTheme is how many bytes a theme may have: more than any theme needs, and less than a wrong file may have.
const maxTheme = 1 << 20

// option is an option of one word.
type option struct {
	name  string
	value *string
	check func(string) error
}

// options returns the options of one word.
func (h *Handler) options() []option {
	return []option{
		{"chat", &h.Chat, checkChat},
		{"assistant", &h.Assistant, checkText},
		{"title", &h.Title, checkText},
		{"greeting", &h.Greeting, checkText},
		{"lang", &h.Lang, checkLang},
		{"theme", &h.Theme, checkText},
		{"csp", &h.CSP, checkCSP},
	}
}

// check returns an error for the first option whose value is wrong.
func (h *Handler) check() error {
	if err := checkPath(h.Path); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	for _, o := range h.options() {
		if err := o.check(*o.value); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	if err := checkTexts(h.Suggestions); err != nil {
		return fmt.Errorf("suggestions: %w", err)
	}
	return nil
}

// plainPath matches a path that is not a pattern and needs no cleaning.
var plainPath = regexp.MustCompile(`^/$|^(?:/[^/*?#%{}\\\s]+)+/?$`)

// checkPath returns an error for a path of the page that is not plain.
func checkPath(path string) error {
	if path != "" && !plainPath.MatchString(path) {
		return fmt.Errorf("'%s' is not a path; write one such as /chat, without wildcards and placeholders", values.Printable(path))
	}
	return nil
}

// checkChat returns an error for a chat that a browser does not find.
func checkChat(chat string) error {
	if err := checkText(chat); err != nil {
		return err
	}
	_, err := originOf(chat)
	return err
}

// plainOrigin matches an origin that cannot end a directive of a policy.
var plainOrigin = regexp.MustCompile(`^https?://[0-9A-Za-z.:_\[\]-]+$`)

// originOf returns the origin of a chat's URL, or "" for a path. It returns an error for anything else.
func originOf(chat string) (string, error) {
	u, err := url.Parse(chat)
	switch {
	case err != nil || strings.ContainsAny(chat, "\\{} ") || u.Fragment != "":
		return "", noChat(chat)
	case strings.HasPrefix(chat, "/") && !strings.HasPrefix(chat, "//"):
		return "", nil
	case u.User != nil:
		return "", fmt.Errorf("'%s' has a user or password, which each visitor could read", values.Printable(chat))
	case u.Scheme != "http" && u.Scheme != "https":
		return "", noChat(chat)
	}
	of, err := origin.Parse(u.Scheme + "://" + u.Host)
	if err != nil || !plainOrigin.MatchString(of) {
		return "", noChat(chat)
	}
	return of, nil
}

// noChat returns the error for a chat that is neither a path nor a URL.
func noChat(chat string) error {
	return fmt.Errorf("'%s' is neither a path nor a URL; write one such as %s, or https://chat.example.com%[2]s", values.Printable(chat), defaultChat)
}

// likePlaceholder matches a placeholder, which visitors would see as it is.
var likePlaceholder = regexp.MustCompile(`\{[A-Za-z$][^{}\s]*\}`)

// checkText returns an error for a text that cannot be meant for visitors.
func checkText(text string) error {
	switch {
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return errors.New("it holds a line break or another control character, or is not UTF-8")
	case likePlaceholder.MatchString(text):
		return fmt.Errorf("'%s': a placeholder does not work here; write the text itself", values.Printable(text))
	}
	return values.CheckNoToken(text)
}

func checkTexts(texts []string) error {
	for _, text := range texts {
		if text == "" {
			return errors.New("an entry is empty")
		}
		if err := checkText(text); err != nil {
			return err
		}
	}
	return nil
}

func checkLang(lang string) error {
	_, err := parseLang(lang)
	return err
}

// parseLang parses a BCP 47 tag.
func parseLang(lang string) (language.Tag, error) {
	tag, err := language.Parse(lang)
	if err != nil || tag == language.Und {
		return language.Und, fmt.Errorf("'%s' is not a language; write a tag such as en, de or pt-BR", values.Printable(lang))
	}
	return tag, nil
}

func checkCSP(csp string) error {
	if csp != "" && csp != off {
		return fmt.Errorf("'%s' is not possible here; write off, or leave csp out", values.Printable(csp))
	}
	return nil
}

// readTheme returns the content of a style sheet.
func readTheme(file string) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, fmt.Errorf("theme: %w", values.PrintableError(err))
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("theme: %s is not a regular file", values.Printable(file))
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("theme: %w", values.PrintableError(err))
	}
	defer f.Close()
	theme, err := io.ReadAll(io.LimitReader(f, maxTheme+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("theme: %w", values.PrintableError(err))
	case len(theme) > maxTheme:
		return nil, fmt.Errorf("theme: %s has more than %d bytes", values.Printable(file), maxTheme)
	case !utf8.Valid(theme):
		return nil, fmt.Errorf("theme: %s is not UTF-8", values.Printable(file))
	}
	return theme, nil
}
