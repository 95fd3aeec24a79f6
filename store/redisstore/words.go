package redisstore

import (
	"fmt"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// word is an option that is taken as it is written.
type word struct{ option, text string }

// words returns the options that take no placeholders.
func (c *Redis) words() []word {
	words := []word{{"master_name", c.MasterName}, {"prefix", c.Prefix}}
	if c.TLS != nil {
		words = append(words, word{"tls: server_name", c.TLS.ServerName}, word{"tls: client_certificate_file", c.TLS.ClientCertificateFile},
			word{"tls: client_certificate_key_file", c.TLS.ClientCertificateKeyFile})
	}
	return words
}

// checkWords returns an error if an option that is taken as it is written holds an API token.
func (c *Redis) checkWords() error {
	for _, w := range c.words() {
		if err := values.CheckNoToken(w.text); err != nil {
			return fmt.Errorf("%s: %w", w.option, err)
		}
	}
	return nil
}
