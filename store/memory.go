package store

import (
	"context"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

func init() {
	caddy.RegisterModule(new(Memory))
}

// Memory keeps streams in the memory of the process. The streams survive a reload of the config. A visitor can continue
// an answer only at the instance that writes it.
type Memory struct{}

// CaddyModule returns the Caddy module information.
func (*Memory) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.illumichat.stores.memory",
		New: func() caddy.Module { return new(Memory) },
	}
}

// UnmarshalCaddyfile reads `store memory`, which has no options.
func (*Memory) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	if err := values.NoArgs(d); err != nil {
		return err
	}
	if d.NextBlock(d.Nesting()) {
		return d.Errf("memory has no subdirective '%s'", values.Printable(d.Val()))
	}
	return nil
}

// memories holds the open stores of this process by their scopes.
var memories = caddy.NewUsagePool()

// Open returns the store of a scope. All handlers of the process that open the same scope share one store.
func (*Memory) Open(scope string) (Store, error) {
	shared, _, err := memories.LoadOrNew(scope, func() (caddy.Destructor, error) {
		return &memory{scope: scope, logs: make(map[string]*log)}, nil
	})
	if err != nil {
		return nil, err
	}
	return shared.(*memory), nil
}

// memory is the store of one scope.
type memory struct {
	scope  string
	budget budget

	mu   sync.Mutex // taken after the locks of logs and of their budget
	logs map[string]*log
}

func (m *memory) Claim(id string, meta Meta, terms Terms) (Source, Listener) {
	l, first := newLog(meta, terms, &m.budget, func() { m.remove(id) })
	if l.kept {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.logs[id] = l
	}
	return l, first
}

func (m *memory) remove(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.logs, id)
}

func (m *memory) Find(_ context.Context, id string) (Stream, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l, ok := m.logs[id]; ok {
		return l, nil
	}
	return nil, ErrNotFound
}

func (*memory) Shared() bool { return false }

func (m *memory) Close() error {
	_, err := memories.Delete(m.scope)
	return err
}

// Destruct satisfies caddy.Destructor, which the pool needs. The garbage collector frees the streams that are left.
func (*memory) Destruct() error { return nil }

// Interface guards
var (
	_ Module                = (*Memory)(nil)
	_ caddyfile.Unmarshaler = (*Memory)(nil)
	_ Source                = (*log)(nil)
)
