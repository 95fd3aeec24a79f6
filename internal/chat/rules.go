package chat

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// Any in the list of assistants allows all of them.
const Any = "*"

// otherAssistant is the label of all assistants that are allowed without being listed: what visitors may choose is no
// label.
const otherAssistant = "other"

// What the checks of the Caddyfile, which knows the line, and of JSON share.
var (
	ErrNoAssistants    = errors.New("assistants: at least one assistant is needed, or an alias of one")
	ErrAnyAmongOthers  = errors.New("assistants: * allows any assistant, so none can be named beside it")
	errPassFieldIsOurs = errors.New("assistantId, messages and chatId are always forwarded")
)

// Config is what rules are made of, with placeholders as they are configured.
type Config struct {
	Assistants  []string
	Aliases     map[string]string
	MaxBodySize int64
	MaxMessages int
	Roles       []string
	PassFields  []string
	BodyTimeout time.Duration
}

// Rules are what a visitor's request must keep to.
type Rules struct {
	assistants  map[string]string // what a page may name → the assistant's id
	any         bool
	maxBodySize int64
	maxMessages int
	roles       []string
	passFields  []string
	bodyTimeout time.Duration
}

// NewRules resolves what chats are checked against.
func NewRules(config Config) (*Rules, error) {
	rules := &Rules{
		assistants:  make(map[string]string, len(config.Assistants)+len(config.Aliases)),
		maxBodySize: config.MaxBodySize,
		maxMessages: config.MaxMessages,
		roles:       config.Roles,
		passFields:  config.PassFields,
		bodyTimeout: config.BodyTimeout,
	}
	var listed []string
	for _, configured := range config.Assistants {
		if configured == Any {
			rules.any = true
			continue
		}
		id, err := values.Expand(configured)
		if err != nil {
			return nil, fmt.Errorf("assistants: %w", err)
		}
		if err := CheckAssistant(id); err != nil {
			return nil, fmt.Errorf("assistants: %w", err)
		}
		rules.assistants[id] = id
		listed = append(listed, id)
	}
	for name, configured := range config.Aliases {
		id, err := values.Expand(configured)
		if err != nil {
			return nil, fmt.Errorf("aliases: %s: %w", name, err)
		}
		if err := CheckAlias(name, id, listed); err != nil {
			return nil, fmt.Errorf("aliases: %w", err)
		}
		rules.assistants[name] = id
	}
	return rules, nil
}

// AllowsAny reports whether any assistant is allowed.
func (c *Rules) AllowsAny() bool { return c.any }

// Assistants returns the names that are listed, and the ids that they stand for.
func (c *Rules) Assistants() map[string]string { return maps.Clone(c.assistants) }

// Labels returns what metrics call the assistants that are allowed.
func (c *Rules) Labels() []string {
	labels := slices.Collect(maps.Keys(c.assistants))
	if c.any {
		labels = append(labels, otherAssistant)
	}
	return labels
}

// CheckAssistant checks an id after its placeholders are replaced. A * there would be an id, and not the
// leave to talk to any assistant that whoever set it may have meant.
func CheckAssistant(id string) error {
	switch {
	case id == "":
		return errors.New("an assistant's id is empty")
	case id == Any:
		return errors.New("* is no assistant's id; alone, and not by a placeholder, it allows any")
	case !utf8.ValidString(id):
		return fmt.Errorf("%q is no assistant's id: it is not valid UTF-8", id)
	case strings.ContainsFunc(id, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return fmt.Errorf("%q is no assistant's id: it holds a space or a control character", id)
	}
	return nil
}

// CheckAlias refuses a name that means two assistants.
func CheckAlias(name, id string, listed []string) error {
	if name == "" {
		return errors.New("the name is empty")
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("the name %q is not valid UTF-8", name)
	}
	if slices.Contains(listed, name) {
		return fmt.Errorf("'%s' is the id of a listed assistant", name)
	}
	return CheckAssistant(id)
}

func CheckRole(role string) error {
	if role == "" {
		return errors.New("a role is empty")
	}
	return nil
}

// CheckPassField refuses fields that have a meaning of their own, in any case of their letters: an
// upstream that is lenient about case would read them as those.
func CheckPassField(name string) error {
	if name == "" {
		return errors.New("a field's name is empty")
	}
	if slices.ContainsFunc(chatFields, func(field string) bool { return strings.EqualFold(field, name) }) {
		return fmt.Errorf("%q: %w", name, errPassFieldIsOurs)
	}
	return nil
}

// allowed returns the configured name and the id of the assistant that a page means by name, "" being the only one.
func (c *Rules) allowed(name string) (configured, id string, err error) {
	if name == "" {
		if len(c.assistants) != 1 || c.any {
			return "", "", errBadRequest("%s is missing", fieldAssistant)
		}
		for configured, id := range c.assistants {
			return configured, id, nil
		}
	}
	if id, ok := c.assistants[name]; ok {
		return name, id, nil
	}
	if c.any {
		return name, name, nil
	}
	return "", "", errAssistant
}
