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
	errOther           = errors.New("other is the metrics label of all assistants that are not listed; write another name, such as that of an alias")
	ErrAnyAmongOthers  = errors.New("assistants: * allows any assistant, so no other can be listed with it")
	errPassFieldIsOurs = errors.New("assistantId, messages and chatId are always forwarded")
)

// Config configures Rules. NewRules replaces the placeholders in Assistants, in the ids of Aliases and in Default.
type Config struct {
	Assistants  []string
	Aliases     map[string]string // name → the assistant's id
	Default     string            // an alias, or an id as in Assistants, for pages that name no assistant; "": none
	MaxBodySize int64             // bytes
	MaxMessages int               // 0 means no limit
	Roles       []string
	PassFields  []string // further top-level fields that go upstream

	// HoldsToken reports whether a text holds the API token; nil: no text does. Ids and names that do are refused, because
	// visitors, logs and metrics would show them.
	HoldsToken func(string) bool
}

// Rules are the rules that a visitor's request is checked against.
type Rules struct {
	assistants  map[string]string // name that a page may use → the assistant's id
	any         bool
	byDefault   string            // the name for pages that use none; "": there must be one
	holdsToken  func(string) bool // reports whether a text holds the API token
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
	if config.HoldsToken == nil {
		config.HoldsToken = func(string) bool { return false }
	}
	rules.holdsToken = config.HoldsToken
	var listed []string
	for _, configured := range config.Assistants {
		if configured == Any {
			rules.any = true
			listed = append(listed, Any)
			continue
		}
		id, err := config.resolveID(configured)
		if err == nil && id == Other {
			err = aboutID(configured, errOther)
		}
		if err != nil {
			return nil, fmt.Errorf("assistants: %w", err)
		}
		rules.assistants[id] = id
		listed = append(listed, id)
	}
	for name, configured := range config.Aliases {
		if config.HoldsToken(name) {
			return nil, fmt.Errorf("aliases: a name: %w", values.ErrIsToken)
		}
		if err := checkName(name, listed); err != nil {
			return nil, fmt.Errorf("aliases: %w", err)
		}
		id, err := config.resolveID(configured)
		if err != nil {
			return nil, fmt.Errorf("aliases: %s: %w", values.Printable(name), err)
		}
		rules.assistants[name] = id
	}
	var err error
	if rules.byDefault, err = config.resolveDefault(rules); err != nil {
		return nil, fmt.Errorf("default_assistant: %w", err)
	}
	return rules, nil
}

// resolveDefault returns the name of the assistant for pages that name none, or "" if they must name one.
func (c *Config) resolveDefault(rules *Rules) (name string, err error) {
	if _, isAlias := c.Aliases[c.Default]; isAlias {
		return c.Default, nil
	}
	if c.Default == "" {
		return rules.only(), nil
	}
	id, err := c.resolveID(c.Default)
	if err != nil {
		return "", err
	}
	if _, listed := rules.assistants[id]; !listed && !rules.any {
		return "", aboutID(c.Default, errNoDefault(c.Default, c.Assistants, c.Aliases))
	}
	return id, nil
}

// only returns the name of the only assistant, or "" if pages can choose.
func (c *Rules) only() string {
	if len(c.assistants) != 1 || c.any {
		return ""
	}
	for name := range c.assistants {
		return name
	}
	return ""
}

// resolveID replaces the placeholders of an id and checks the result. An error names the placeholders and not their
// values.
func (c *Config) resolveID(configured string) (string, error) {
	if err := checkSpelling(configured); err != nil {
		return "", err
	}
	id, err := values.Expand(configured)
	if err != nil {
		return "", err
	}
	if err = checkID(id); c.HoldsToken(id) {
		err = values.ErrIsToken
	}
	return id, aboutID(configured, err)
}

// aboutID adds to an error which id it is about. It names the placeholders of an id that has some. It does not name an id
// that is the token.
func aboutID(configured string, err error) error {
	switch {
	case err == nil || configured == "" || configured == Any:
		return err
	case values.HasPlaceholder(configured):
		return fmt.Errorf("the value of %s: %w", values.Placeholders(configured), err)
	case errors.Is(err, values.ErrIsToken):
		return err
	}
	return fmt.Errorf("%q: %w", values.Printable(configured), err)
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

// CheckAssistant checks an assistant's id as it is configured. Of an id with placeholders, it checks how they are written:
// the rest can be checked only when they are replaced.
func CheckAssistant(configured string) error {
	if err := checkSpelling(configured); err != nil {
		return err
	}
	if values.HasPlaceholder(configured) {
		return values.CheckSources(configured)
	}
	return aboutID(configured, checkID(configured))
}

// CheckListed is CheckAssistant for an entry of the list of assistants, which may also be Any. It refuses an id that is the
// metrics label of unlisted assistants.
func CheckListed(configured string) error {
	switch configured {
	case Any:
		return nil
	case Other:
		return aboutID(configured, errOther)
	}
	return CheckAssistant(configured)
}

// checkSpelling returns an error if a placeholder of an id is not written as one, so that it would be the id.
func checkSpelling(configured string) error {
	if err := values.CheckSpelling(configured); err != nil {
		return fmt.Errorf("%q: %w", values.Printable(configured), err)
	}
	return nil
}

// idBeginning is how the vendor's ids begin.
const idBeginning = "asst_"

// LooksLikeID reports whether a name has the form of the vendor's ids.
func LooksLikeID(name string) bool { return strings.HasPrefix(name, idBeginning) }

// checkID checks an assistant's id. It refuses a * from a placeholder, because that would be an id. The operator may
// have meant to allow any assistant. Its errors do not show the id.
func checkID(id string) error {
	switch {
	case id == "":
		return errors.New("an assistant's id is empty")
	case id == Any:
		return errors.New("* is not an assistant's id; only a single * in assistants, and not by a placeholder, allows any assistant")
	case values.HoldsToken(id):
		return values.ErrLikeToken
	case !utf8.ValidString(id):
		return errors.New("it is not an assistant's id: it is not valid UTF-8")
	case strings.ContainsFunc(id, isSpaceOrControl):
		return errors.New("it is not an assistant's id: it holds a space or a control character")
	case strings.Contains(id, ","):
		return errors.New("it is not an assistant's id: it holds a comma; separate ids by spaces")
	case strings.ContainsAny(id, quotationMarks):
		return errors.New("it is not an assistant's id: it holds quotation marks; leave them out")
	case strings.ContainsAny(id, ";[]="):
		return errors.New("it is not an assistant's id: it holds one of ; [ ] =; write ids alone, and spaces between them")
	case strings.Contains(id, "://"):
		return errors.New("it is not an assistant's id: it is a URL; write the id alone, such as asst_abc123")
	}
	return nil
}

func isSpaceOrControl(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// quotationMarks are those of keyboards and of word processors.
const quotationMarks = "\"'`“”„‘’«»"

// CheckDefault checks the assistant for pages that name none, as it is configured, against the listed ids and the aliases.
// If any of them has a placeholder, the rest can be checked only when they are replaced.
func CheckDefault(configured string, listed []string, aliases map[string]string) error {
	if _, isAlias := aliases[configured]; isAlias || slices.Contains(listed, configured) && configured != Any {
		return nil
	}
	if err := CheckAssistant(configured); err != nil {
		return err
	}
	if slices.Contains(listed, Any) || values.HasPlaceholder(configured) || slices.ContainsFunc(listed, values.HasPlaceholder) {
		return nil
	}
	return aboutID(configured, errNoDefault(configured, listed, aliases))
}

// mostNamed bounds how many assistants an error names.
const mostNamed = 8

// errNoDefault returns the error for a default assistant that is not configured. It names those that are.
func errNoDefault(configured string, listed []string, aliases map[string]string) error {
	names := slices.DeleteFunc(ShownNames(slices.Concat(listed, slices.Sorted(maps.Keys(aliases)))), func(name string) bool { return name == Any })
	meant := values.DidYouMean(configured, names...)
	if values.HasPlaceholder(configured) { // its name is not like a value
		meant = ""
	}
	switch {
	case meant != "":
		return errors.New("it is neither a listed id nor an alias" + meant)
	case len(names) > mostNamed:
		names = append(names[:mostNamed:mostNamed], "…")
	}
	return errors.New("it is neither a listed id nor an alias; write one of: " + strings.Join(names, " "))
}

// ShownNames returns those of the configured ids and names of assistants that an error or a log may show. It leaves out those
// that may be the API token in the wrong place: long ones that do not look like an id.
func ShownNames(configured []string) []string {
	var names []string
	for _, name := range configured {
		if name = values.Printable(name); len(name) < values.MinTokenLength || LooksLikeID(name) || values.IsPlaceholder(name) {
			names = append(names, name)
		}
	}
	return names
}

// CheckAlias checks the name and the configured id of an alias. It refuses a name that is the id of a listed assistant,
// because the name would mean two assistants. It also refuses the metrics label of unlisted assistants if listed has Any.
func CheckAlias(name, configured string, listed []string) error {
	if err := checkName(name, listed); err != nil {
		return err
	}
	if err := CheckAssistant(configured); err != nil {
		return fmt.Errorf("%s: %w", values.Printable(name), err)
	}
	return nil
}

func checkName(name string, listed []string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case values.HoldsToken(name):
		return fmt.Errorf("the name: %w", values.ErrLikeToken)
	case values.CheckNoPlaceholder(name) != nil || values.CheckSpelling(name) != nil:
		return fmt.Errorf("the name %q is a placeholder, which only the id may be; write the name itself", values.Printable(name))
	case name == Any:
		return errors.New("the name * is not supported, because it would be no pattern; write assistants * to allow any assistant")
	case name == Other && slices.Contains(listed, Any):
		return errOther
	case !utf8.ValidString(name):
		return fmt.Errorf("the name %q is not valid UTF-8", values.Printable(name))
	case strings.ContainsFunc(name, isSpaceOrControl):
		return fmt.Errorf("the name %q holds a space or a control character; write a hyphen or an underscore", values.Printable(name))
	case strings.Contains(name, ","):
		return fmt.Errorf("the name %q holds a comma; write one alias for each name", values.Printable(name))
	case strings.ContainsAny(name, quotationMarks):
		return fmt.Errorf("the name %q holds quotation marks; leave them out", values.Printable(name))
	case slices.Contains(listed, name):
		return fmt.Errorf("'%s' is the id of a listed assistant", values.Printable(name))
	}
	return nil
}

// CheckRole returns an error if a role is empty, a placeholder or a list.
func CheckRole(role string) error {
	switch {
	case role == "":
		return errors.New("a role is empty")
	case strings.Contains(role, ","):
		return fmt.Errorf("%q holds a comma; separate roles by spaces", values.Printable(role))
	case values.CheckNoPlaceholder(role) != nil:
		return fmt.Errorf("%q: %w", values.Printable(role), values.CheckNoPlaceholder(role))
	}
	return nil
}

// CheckPassField returns an error if name is empty, a placeholder, a list, or assistantId, messages or chatId in any letter case. An
// upstream that ignores case would take such a field for the real one.
func CheckPassField(name string) error {
	if name == "" {
		return errors.New("a field's name is empty")
	}
	if err := values.CheckNoPlaceholder(name); err != nil {
		return fmt.Errorf("%q: %w", values.Printable(name), err)
	}
	if strings.Contains(name, ",") {
		return fmt.Errorf("%q holds a comma; separate fields by spaces", values.Printable(name))
	}
	if slices.ContainsFunc(chatFields, func(field string) bool { return strings.EqualFold(field, name) }) {
		return fmt.Errorf("%q: %w", name, errPassFieldIsOurs)
	}
	return nil
}

// allowed returns the configured name and the id of the assistant that a page names. An empty name means the default
// assistant. It returns an error if there is no such assistant, or if the page may not use it.
func (c *Rules) allowed(name string) (configured, id string, err error) {
	if name == "" {
		if name = c.byDefault; name == "" {
			return "", "", errBadRequest("%s is missing, and this chat has more than one assistant", fieldAssistant)
		}
	}
	if id, ok := c.assistants[name]; ok {
		return name, id, nil
	}
	if c.any && !c.holdsToken(name) && !values.HoldsToken(name) { // logs and metrics show ids
		return name, name, nil
	}
	return "", "", errAssistant
}
