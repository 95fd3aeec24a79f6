package chat

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// Any is the entry in the list of assistants that allows all of them.
const Any = "*"

// Other is the metrics label of all assistants that are allowed but not listed, because visitors must not choose labels.
const Other = "other"

// Errors that the Caddyfile parser, which adds the line, and the checks of the JSON config have in common.
var (
	ErrNoAssistants    = errors.New("assistants: at least one assistant is needed, or an alias of one")
	ErrAnyAmongOthers  = errors.New("assistants: * allows any assistant, so none can be named beside it")
	errPassFieldIsOurs = errors.New("assistantId, messages and chatId are always forwarded")
)

// Config configures Rules. NewRules replaces the placeholders in Assistants and in the ids of Aliases.
type Config struct {
	Assistants  []string
	Aliases     map[string]string // name → the assistant's id
	MaxBodySize int64             // bytes
	MaxMessages int               // 0 means no limit
	Roles       []string
	PassFields  []string // further top-level fields that go upstream
}

// Rules are the rules that a visitor's request is checked against.
type Rules struct {
	assistants  map[string]string // name that a page may use → the assistant's id
	any         bool
	maxBodySize int64
	maxMessages int
	roles       []string
	passFields  []string
}

// NewRules returns the rules of a config, with its placeholders replaced. It returns an error if an assistant or an
// alias is not valid.
func NewRules(config Config) (*Rules, error) {
	rules := &Rules{
		assistants:  make(map[string]string, len(config.Assistants)+len(config.Aliases)),
		maxBodySize: config.MaxBodySize,
		maxMessages: config.MaxMessages,
		roles:       config.Roles,
		passFields:  config.PassFields,
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

// Assistants returns the listed ids and the aliases, each with the id that it stands for.
func (c *Rules) Assistants() map[string]string { return maps.Clone(c.assistants) }

// Labels returns the metrics labels of the assistants that are allowed.
func (c *Rules) Labels() []string {
	labels := slices.Collect(maps.Keys(c.assistants))
	if c.any {
		labels = append(labels, Other)
	}
	return labels
}

// CheckAssistant checks an assistant's id whose placeholders have been replaced. It refuses a * from a placeholder,
// because that would be an id. The operator may have meant to allow any assistant.
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

// CheckAlias checks the name and the id of an alias. It refuses a name that is the id of a listed assistant, because
// the name would mean two assistants.
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

// CheckRole returns an error if a role is empty.
func CheckRole(role string) error {
	if role == "" {
		return errors.New("a role is empty")
	}
	return nil
}

// CheckPassField returns an error if name is empty, or is assistantId, messages or chatId in any letter case. An
// upstream that ignores case would take such a field for the real one.
func CheckPassField(name string) error {
	if name == "" {
		return errors.New("a field's name is empty")
	}
	if slices.ContainsFunc(chatFields, func(field string) bool { return strings.EqualFold(field, name) }) {
		return fmt.Errorf("%q: %w", name, errPassFieldIsOurs)
	}
	return nil
}

// allowed returns the configured name and the id of the assistant that a page names. An empty name means the only
// configured assistant. It returns an error if there is no such assistant, or if the page may not use it.
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
