package redisstore

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// word is an option that is taken as it is written.
type word struct{ option, text string }

// words returns the options that take no placeholders.
func (c *Redis) words() []word {
	words := []word{{"master_name", c.MasterName}}
	if c.TLS != nil {
		words = append(words, word{"tls: server_name", c.TLS.ServerName}, word{"tls: client_certificate_file", c.TLS.ClientCertificateFile},
			word{"tls: client_certificate_key_file", c.TLS.ClientCertificateKeyFile})
	}
	return words
}

// checkWords returns an error if an option that is taken as it is written holds a placeholder or an API token.
func (c *Redis) checkWords() error {
	for _, w := range c.words() {
		err := values.CheckNoToken(w.text)
		if err == nil {
			err = values.CheckNoPlaceholder(w.text)
		}
		if err != nil {
			return fmt.Errorf("%s: '%s': %w", w.option, values.Printable(w.text), err)
		}
	}
	return checkPrefix(c.Prefix)
}

// checkPrefix returns an error if the prefix holds a brace, because braces select a key's slot in a Redis Cluster. It also
// refuses a variable of a shell and an API token.
func checkPrefix(prefix string) error {
	err := values.CheckNoToken(prefix)
	switch {
	case strings.ContainsAny(prefix, "{}"):
		return fmt.Errorf("prefix: '%s' holds a brace", values.Printable(prefix))
	case err == nil:
		err = values.CheckNoPlaceholder(prefix)
	}
	if err != nil {
		return fmt.Errorf("prefix: '%s': %w", values.Printable(prefix), err)
	}
	return nil
}

// unreplaced matches a password that the operator meant as a placeholder. A password may hold a brace or a dollar sign.
var unreplaced = regexp.MustCompile(`^\$?\{(?:env|file)\.[^{}]*$|^\$\{?[A-Z][A-Z0-9_]+\}?$|^(?:env\.[A-Za-z_][A-Za-z0-9_]*|file\..*/.*)\}?$`)

// checkPassword returns an error if a password is a placeholder that is not written as one. The error does not show it.
func checkPassword(configured string) error {
	if unreplaced.MatchString(configured) {
		return errors.New("it looks like a placeholder, but is not written as one; write {env.NAME} or {file.PATH}")
	}
	return nil
}

// expandNoToken replaces the placeholders of an option. It returns an error if one is not written as one, or if the result
// holds an API token.
func expandNoToken(configured string) (string, error) {
	if err := values.CheckBraces(configured); err != nil {
		return "", err
	}
	value, err := values.Expand(configured)
	if err != nil {
		return "", err
	}
	return value, values.CheckNoToken(value)
}
