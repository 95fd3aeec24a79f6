package redisstore

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/store"
	"github.com/illumichat/caddy-illumichat/store/storetest"
)

// provision returns the module as a config has it.
func provision(t *testing.T, config string) *Redis {
	t.Helper()
	c := new(Redis)
	if err := json.Unmarshal([]byte(config), c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := c.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c
}

// openInstance opens the test's scope as another instance would.
func openInstance(t *testing.T, server *redistest.Server) *redisStore {
	t.Helper()
	c := provision(t, `{"address": ["`+server.Socket+`"]}`)
	s, err := c.newStore(t.Name(), newInstance())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Destruct(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestRedis(t *testing.T) {
	server := redistest.Start(t)
	storetest.Run(t, func(t *testing.T) store.Store { return openInstance(t, server) })
}
