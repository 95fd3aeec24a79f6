package redisstore

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// fingerprint returns a text that two configs have in common if they mean the same connections to Redis, except for what
// placeholders stand for. Provision calls it before Caddy loads the trust pool, because Caddy then removes it from the
// config.
func (c *Redis) fingerprint() (string, error) {
	config, err := json.Marshal(c)
	if err != nil || c.TLS == nil {
		return string(config), err
	}
	return string(config) + trust(c.TLS), nil
}

// trust returns a text that two TLS configs have in common if the contents of their certificate files are the same.
func trust(t *reverseproxy.TLSConfig) string {
	//lint:ignore SA1019 configs may still have the deprecated field
	files := slices.Concat(t.RootCAPEMFiles, []string{t.ClientCertificateFile, t.ClientCertificateKeyFile})
	known := t.ClientCertificateAutomate == "" && addFiles(&files, t.CARaw)
	text := ""
	for _, file := range files {
		if file == "" {
			continue
		}
		content, err := os.ReadFile(file)
		known = known && err == nil
		text += hash(string(content))
	}
	if !known {
		return newInstance() // the certificates come from somewhere else, and may have changed
	}
	return text
}

// addFiles adds the files of a trust pool. It returns false if the pool has its certificates from somewhere else.
func addFiles(files *[]string, raw json.RawMessage) bool {
	if raw == nil {
		return true
	}
	var pool struct {
		Provider string            `json:"provider"`
		Files    []string          `json:"pem_files"`
		Sources  []json.RawMessage `json:"sources"`
	}
	if json.Unmarshal(raw, &pool) != nil {
		return false
	}
	switch pool.Provider {
	case "file":
		*files = append(*files, pool.Files...)
		return true
	case "inline", "system":
		return true
	case "combined":
		for _, source := range pool.Sources {
			if !addFiles(files, source) {
				return false
			}
		}
		return true
	}
	return false
}

// poolKey returns a key that two modules have in common if they can share a store. The key is a hash, so it shows no
// secret.
func (c *Redis) poolKey(scope string) string {
	return hash(fmt.Sprintf("%q", []any{scope, c.print, c.addresses, c.username, c.password.fixed}))
}
