package chat

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/chat/chattest"
)

// maxBodyCost bounds the bytes that are allocated to check a body, as a multiple of its size. Nearly all of them soon
// become garbage. A chat with one long text takes 4 times its size. The most expensive body takes 20, or 25 with the
// race detector.
const maxBodyCost = 32

var hostileRules = Rules{
	assistants: map[string]string{"asst_demo": "asst_demo"},
	byDefault:  "asst_demo",
	roles:      []string{"user", "assistant"},
	passFields: []string{"model"},
}

func TestHostileBodiesAreCheap(t *testing.T) {
	const size = 1 << 20
	for _, row := range chattest.Hostile(size) {
		t.Run(row.Name, func(t *testing.T) {
			if len(row.Body) < size*9/10 || len(row.Body) > size {
				t.Fatalf("it has %d bytes", len(row.Body))
			}
			rules := hostileRules
			body := []byte(row.Body)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := rules.parse(body)
			runtime.ReadMemStats(&after)
			if refusal, ok := errors.AsType[*apierror.Error](err); ok != (row.Status != 0) || ok && refusal.Status != row.Status {
				t.Errorf("got %v, want status %d", err, row.Status)
			}
			cost := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(body))
			t.Logf("%.1f bytes are allocated for each", cost)
			if cost > maxBodyCost {
				t.Errorf("%.1f bytes are allocated for each, want at most %d", cost, maxBodyCost)
			}
			if refusal, ok := errors.AsType[*apierror.Error](err); ok && len(refusal.Text) > 500 {
				t.Errorf("the error has %d bytes", len(refusal.Text))
			}
		})
	}
}

// A million messages cost no more than their bytes. If maxMessages is set, only the messages before that limit are
// read.
func TestAMillionMessages(t *testing.T) {
	body := []byte(`{"messages":[` + strings.Repeat(chattest.Hi+",", 999_999) + chattest.Hi + `]}`)
	rules := hostileRules
	if _, err := rules.parse(body); err != nil {
		t.Error(err)
	}
	rules.maxMessages = 50
	allocated := testing.AllocsPerRun(1, func() {
		if _, err := rules.parse(body); err == nil || !strings.Contains(err.Error(), "more than 50") {
			t.Errorf("got %v", err)
		}
	})
	if allocated > 1000 {
		t.Errorf("there were %v allocations", allocated)
	}
}

func BenchmarkHostileBodies(b *testing.B) {
	for _, row := range chattest.Hostile(1 << 20) {
		b.Run(row.Name, func(b *testing.B) {
			rules := hostileRules
			body := []byte(row.Body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = rules.parse(body)
			}
		})
	}
}
