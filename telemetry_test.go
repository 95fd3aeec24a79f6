package illumichat

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/shutdown"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
)

// The time to cancel counts from the visitor's leaving.
func TestCancelTime(t *testing.T) {
	cancels := func() (n uint64, seconds float64) {
		registry := prometheus.NewRegistry()
		if err := telemetry.Register(registry, telemetry.Sources{OpenStreams: shutdown.Count, CoolDowns: limit.CoolDowns}); err != nil {
			t.Fatal(err)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == "caddy_illumichat_cancel_seconds" {
				histogram := family.GetMetric()[0].GetHistogram()
				return histogram.GetSampleCount(), histogram.GetSampleSum()
			}
		}
		t.Fatal("there is no such metric")
		return 0, 0
	}
	synctest.Test(t, func(t *testing.T) {
		n, sum := cancels()
		ctx, leave := context.WithTimeout(t.Context(), 10*time.Second)
		defer leave()
		c := &fakeChat{ctx: ctx, answers: []fakeAnswer{accepted(step{data: sitetest.Delta}, step{wait: 20 * time.Second})}}
		c.run(t)
		if after, sumAfter := cancels(); after != n+1 || sumAfter-sum > 1 {
			t.Errorf("%d were cancelled, in %v s", after-n, sumAfter-sum)
		}
	})
}
