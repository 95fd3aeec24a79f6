package illumichat

import (
	"cmp"
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/upstream"
	"github.com/illumichat/caddy-illumichat/store"
)

// loadStore loads the module of the store that keeps answers. It returns nil if neither resume nor a store is
// configured.
func (h *Handler) loadStore(ctx caddy.Context) (store.Module, error) {
	if h.StoreRaw == nil {
		if h.Resume == nil {
			return nil, nil
		}
		return new(store.Memory), nil
	}
	if err := storeModules.check(h.StoreRaw); err != nil {
		return nil, err
	}
	loaded, err := ctx.LoadModule(h, "StoreRaw")
	if err != nil {
		return nil, err
	}
	module, ok := loaded.(store.Module)
	if !ok {
		return nil, fmt.Errorf("%T is not a store", loaded)
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
