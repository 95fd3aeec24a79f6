package illumichat

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// cutResponse is a response with a deadline of the server.
type cutResponse struct{ deadline time.Time }

func (cutResponse) IsCommitted() bool     { return true }
func (r cutResponse) Deadline() time.Time { return r.deadline }

// The server's deadline, an exit and max_duration are not the visitor's fault. A write that took write_timeout is, and
// so is a visitor's leaving before the upstream fails.
func TestCutOff(t *testing.T) {
	stalled := fmt.Errorf("%w: %w", apierror.ErrVisitorGone, os.ErrDeadlineExceeded)
	future, past := time.Now().Add(time.Hour), time.Now().Add(-time.Second)
	for name, tc := range map[string]struct {
		deadline time.Time
		due      *apierror.Interruption
		err      error
		want     *apierror.Interruption
	}{
		"the visitor left":                   {time.Time{}, nil, context.Canceled, nil},
		"left before the deadline":           {future, nil, context.Canceled, nil},
		"at the deadline":                    {past, nil, context.Canceled, apierror.MaxDuration},
		"a write stopped by the deadline":    {past, apierror.MaxDuration, stalled, apierror.MaxDuration},
		"a write stopped by write_timeout":   {future, apierror.MaxDuration, stalled, nil},
		"no finish at max_duration":          {time.Time{}, apierror.MaxDuration, apierror.ErrVisitorGone, apierror.MaxDuration},
		"no finish at an exit":               {time.Time{}, apierror.ShuttingDown, apierror.ErrVisitorGone, apierror.ShuttingDown},
		"left before the upstream has ended": {time.Time{}, apierror.Closed, apierror.ErrVisitorGone, nil},
	} {
		if got := (departure{output: cutResponse{tc.deadline}, due: tc.due, err: tc.err}).cutOff(); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}
