package illumichat

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/recording"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/store"
)

// brokenStream is a stream to which nobody can listen, because of err.
type brokenStream struct {
	store.Stream
	err error
}

func (b brokenStream) Meta() store.Meta { return store.Meta{} }

func (b brokenStream) Listen(int64) (store.Listener, error) { return nil, b.err }

// If the store fails between finding a stream and listening to it, that does not count as the visitor's leaving.
func TestListeningFails(t *testing.T) {
	broken := errors.New("broken")
	left, leave := context.WithCancel(t.Context())
	leave()
	for name, tc := range map[string]struct {
		ctx       context.Context
		err, want error
	}{
		"the store is broken": {t.Context(), broken, errStore.Because(broken)},
		"the stream is gone":  {t.Context(), store.ErrNotFound, errStreamUnknown},
		"the visitor is gone": {left, broken, apierror.ErrVisitorGone},
	} {
		r := httptest.NewRequestWithContext(tc.ctx, http.MethodGet, "/", nil)
		var m resumer
		err := m.attach(httptest.NewRecorder(), r, new(telemetry.Record), attachment{stream: brokenStream{err: tc.err}, id: recording.NewID()})
		if !reflect.DeepEqual(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
}
