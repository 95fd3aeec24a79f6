package illumichat

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/upstream"
	"github.com/illumichat/caddy-illumichat/internal/values"
	"github.com/illumichat/caddy-illumichat/store"
)

// storeNamespace is where the modules of `store` are registered.
const storeNamespace = "http.handlers.illumichat.stores"

// redisStore is the name of the store whose package is not in every build.
const redisStore = "redis"

var errNoRedis = errors.New("this build of Caddy has no store redis; build it --with github.com/illumichat/caddy-illumichat/store/redisstore")

// checkStoreName returns an error for a store that this build of Caddy does not have.
func checkStoreName(name string) error {
	if _, err := caddy.GetModule(storeNamespace + "." + name); err == nil || name == "" { // Caddy reports a missing name
		return nil
	}
	if name == redisStore {
		return errNoRedis
	}
	names := []string{redisStore}
	for _, module := range caddy.GetModules(storeNamespace) {
		names = append(names, module.ID.Name())
	}
	return fmt.Errorf("there is no store '%s'%s", name, cmp.Or(values.DidYouMean(name, names...), "; write memory or redis"))
}

// loadStore loads the module of the store that keeps answers. It returns nil if neither resume nor a store is
// configured.
func (h *Handler) loadStore(ctx caddy.Context) (store.Module, error) {
	if h.StoreRaw == nil {
		if h.Resume == nil {
			return nil, nil
		}
		return new(store.Memory), nil
	}
	if err := checkModuleName(h.StoreRaw, "module"); err != nil {
		return nil, err
	}
	if err := checkStoreName(moduleName(h.StoreRaw, "module")); err != nil {
		return nil, err
	}
	loaded, err := ctx.LoadModule(h, "StoreRaw")
	if err != nil {
		return nil, err
	}
	module, ok := loaded.(store.Module)
	if !ok {
		return nil, fmt.Errorf("%T is no store", loaded)
	}
	return module, nil
}

// openStore opens the store of a module; nil: there is none. A store may also count requests for all instances together
// (store.Counter).
func (h *Handler) openStore(module store.Module) error {
	if module == nil {
		return nil
	}
	// The key has the configured endpoint, not the resolved one: other instances may reach the endpoint by another URL.
	key := limit.NewKey(cmp.Or(h.Endpoint, upstream.DefaultEndpoint), h.Token)
	var err error
	h.store, err = module.Open(key.Scope())
	return err
}
