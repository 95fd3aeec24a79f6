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
	if err := values.NoArgs(d, "memory takes no argument"); err != nil {
		return err
	}
	if d.NextBlock(d.Nesting()) {
		return d.Errf("memory has no subdirective '%s'; leave its block out", values.Printable(d.Val()))
	}
	return nil
}

// memories holds the open stores of this process by their scopes.
var memories = caddy.NewUsagePool()

// Open returns the store of a scope. All handlers of the process that open the same scope share one store.
func (*Memory) Open(scope string) (Store, error) {
	shared, _, err := memories.LoadOrNew(scope, func() (caddy.Destructor, error) {
		return newMemory(new(Budget), func() error {
			_, err := memories.Delete(scope)
			return err
		}), nil
	})
	if err != nil {
		return nil, err
	}
	return shared.(*memory), nil
}

// NewMemory returns a store that keeps streams in memory, and that no module opens. It is for stores that are built on
// it. Its streams count in budget, in which its owner may count other bytes as well.
func NewMemory(budget *Budget) Store {
	return newMemory(budget, func() error { return nil })
}

// Taken returns the stream that has an id in a store of NewMemory, or nil. It may be a stream that is still written, but
// is no longer kept.
func Taken(s Store, id string) Stream {
	if l := s.(*memory).find(id); l != nil {
		return l
	}
	return nil
}

func newMemory(budget *Budget, release func() error) *memory {
	return &memory{budget: budget, release: release, logs: make(map[string]*log)}
}

// memory is the store of one scope.
type memory struct {
	budget  *Budget
	release func() error // releases what Open took

	mu   sync.Mutex // taken after the locks of logs and of their budget
	logs map[string]*log
}

func (m *memory) Create(id string, meta Meta, terms Terms) (Source, Listener) {
	l, first := newLog(m, id, meta, terms)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logs[id] = l
	return l, first
}

func (m *memory) Claim(id string, meta Meta, terms Terms, begins func()) (Source, Listener, Stream) {
	if taken := m.find(id); taken != nil {
		return nil, nil, taken
	}
	l, first := newLog(m, id, meta, terms) // not under the lock, because it may have to remove another log
	if taken := m.insert(l, begins); taken != nil {
		l.discard()
		return nil, nil, taken
	}
	return l, first, nil
}

// insert inserts a log, unless another one has its id, which insert returns. It calls begins before, if that is not nil.
func (m *memory) insert(l *log, begins func()) (taken *log) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if taken = m.logs[l.id]; taken != nil {
		return taken
	}
	if begins != nil {
		begins()
	}
	m.logs[l.id] = l
	return nil
}

// remove removes a log, unless another one has its id by now.
func (m *memory) remove(l *log) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.logs[l.id] == l {
		delete(m.logs, l.id)
	}
}

func (m *memory) Find(_ context.Context, id string) (Stream, error) {
	if l := m.find(id); l != nil && l.isKept() {
		return l, nil
	}
	return nil, ErrNotFound
}

func (m *memory) FindToStop(_ context.Context, id string) (Stream, error) {
	if l := m.find(id); l != nil {
		return l, nil
	}
	return nil, ErrNotFound
}

// find returns the log with an id, or nil. The log may no longer be kept. Then its id stays taken until it ends.
func (m *memory) find(id string) *log {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.logs[id]
}

func (*memory) Shared() bool { return false }

func (m *memory) Close() error { return m.release() }

// Destruct satisfies caddy.Destructor, which the pool needs. The garbage collector frees the streams that are left.
func (*memory) Destruct() error { return nil }

// Interface guards
var (
	_ Module                = (*Memory)(nil)
	_ caddyfile.Unmarshaler = (*Memory)(nil)
	_ Source                = (*log)(nil)
)
