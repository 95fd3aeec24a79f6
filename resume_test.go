package illumichat

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/recording"
	"github.com/illumichat/caddy-illumichat/store"
)

// brokenStore finds every stream, but fails to listen to it with err.
type brokenStore struct {
	store.Store
	store.Stream
	err error
}

func (b brokenStore) Find(context.Context, string) (store.Stream, error) { return b, nil }

func (b brokenStore) Meta() store.Meta { return store.Meta{} }

func (b brokenStore) Listen(int64) (store.Listener, error) { return nil, b.err }

// If the store fails between finding a stream and listening to it, that does not count as the visitor's leaving.
func TestListeningFails(t *testing.T) {
	broken := errors.New("broken")
	left, leave := context.WithCancel(t.Context())
	leave()
	for name, tc := range map[string]struct {
		ctx       context.Context
		err, want error
	}{
		"the store is broken":   {t.Context(), broken, errStore.Because(broken)},
		"the stream is gone":    {t.Context(), store.ErrNotFound, errStreamUnknown},
		"nothing is left of it": {t.Context(), io.EOF, io.EOF},
		"the visitor is gone":   {left, broken, apierror.ErrVisitorGone},
	} {
		m := &resumer{store: brokenStore{err: tc.err}}
		_, _, err := m.listen(httptest.NewRequestWithContext(tc.ctx, http.MethodGet, "/", nil), recording.NewID(), 0)
		if !reflect.DeepEqual(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
}
