package illumichat

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/upstream"
	"github.com/illumichat/caddy-illumichat/internal/values"
)

// This file checks the names of the modules that a handler loads. Caddy's error for a name that it does not know prints the
// name, which may be a secret in the wrong place, and does not say which names there are.

// moduleKind is a kind of module that a handler loads.
type moduleKind struct {
	noun, namespace string
	key             string // has the module's name in JSON
	example         string
}

var (
	storeModules     = moduleKind{"store", "http.handlers.illumichat.stores", "module", "store memory"}
	transportModules = moduleKind{"transport", upstream.TransportNamespace, "protocol", "transport http"}
)

// redisStore is the ID of the store whose package is not in every build.
var redisStore = storeModules.namespace + ".redis"

var errNoRedis = errors.New("this build of Caddy has no redis store; build Caddy with xcaddy build --with github.com/illumichat/caddy-illumichat/store/redisstore")

// check is checkName for the config of a module in JSON. Caddy reports a config without a name.
func (k moduleKind) check(config json.RawMessage) error {
	var fields map[string]json.RawMessage
	var name string
	if json.Unmarshal(config, &fields) != nil || json.Unmarshal(fields[k.key], &name) != nil || name == "" {
		return nil
	}
	if err := k.checkName(name); err != nil {
		return fmt.Errorf("%s: %w", k.key, err)
	}
	return nil
}

// checkName returns an error for a module that this build of Caddy does not have.
func (k moduleKind) checkName(name string) error {
	if values.Printable(name) != name {
		return fmt.Errorf("%s is no %s; an example is: %s", values.Printable(name), k.noun, k.example)
	}
	id := k.namespace + "." + name
	if _, err := caddy.GetModule(id); err == nil {
		return nil
	}
	if id == redisStore {
		return errNoRedis
	}
	suggestion := values.DidYouMean(name, k.names()...)
	if suggestion == "" {
		suggestion = "; an example is: " + k.example
	}
	return fmt.Errorf("there is no %s '%s'%s", k.noun, name, suggestion)
}

// names returns the names of all modules of the kind.
func (k moduleKind) names() []string {
	var names []string
	if k == storeModules {
		names = append(names, "redis")
	}
	for _, module := range caddy.GetModules(k.namespace) {
		if name := module.ID.Name(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
