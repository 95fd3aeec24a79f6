package illumichat

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// checkTokenIsNowhereElse returns an error if an option that is not secret holds the API token. Ids and aliases are checked
// with their placeholders replaced, by chat.NewRules.
func (h *Handler) checkTokenIsNowhereElse() error {
	for _, option := range []struct {
		name  string
		texts []string
	}{
		{"endpoint", []string{h.exchanges.endpoint.URL.String()}},
		{"roles", h.Roles},
		{"pass_fields", h.PassFields},
		{"allow_origins", h.AllowOrigins},
		{"limits: key", h.limitKeys()},
		{"resume: owner", h.owners()},
		{"transport", configTexts(h.TransportRaw)},
		{"store", configTexts(h.StoreRaw)},
	} {
		for _, text := range option.texts {
			if err := h.checkNoToken(text); err != nil {
				return fmt.Errorf("%s: %w", option.name, err)
			}
		}
	}
	return nil
}

// checkNoToken returns an error if text holds the API token, or a text of its form.
func (h *Handler) checkNoToken(text string) error {
	if h.exchanges.token.OccursIn(text) {
		return values.ErrIsToken
	}
	return values.CheckNoToken(text)
}

// configTexts returns all texts in the config of another module: names, and values with those placeholders replaced that
// Caddy knows while a config loads. It returns nil if the config is no JSON: the module reports that.
func configTexts(config json.RawMessage) []string {
	var root any
	if json.Unmarshal(config, &root) != nil {
		return nil
	}
	var texts []string
	repl := caddy.NewReplacer()
	var collect func(any)
	collect = func(value any) {
		switch v := value.(type) {
		case string:
			if path, ok := values.File(v); ok && !exists(path) {
				return // Caddy would log an error
			}
			texts = append(texts, repl.ReplaceKnown(v, ""))
		case []any:
			for _, each := range v {
				collect(each)
			}
		case map[string]any:
			for name, each := range v {
				texts = append(texts, name)
				collect(each)
			}
		}
	}
	collect(root)
	return texts
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (h *Handler) limitKeys() []string {
	keys := make([]string, len(h.Limits))
	for i, l := range h.Limits {
		keys[i] = l.Key
	}
	return keys
}

func (h *Handler) owners() []string {
	if h.Resume == nil {
		return nil
	}
	return []string{h.Resume.Owner}
}
