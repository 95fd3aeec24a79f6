package illumichat

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zapcore"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// The upstream's words decide about no label and no level.
func TestLabelsAreNotTheUpstreams(t *testing.T) {
	for _, code := range []string{"overloaded:chat", "shutting_down:proxy", "unauthorized:upstream"} {
		e := apierror.FromStatus(http.StatusInternalServerError)
		e.Upstream = http.StatusInternalServerError
		e.Adopt(fmt.Appendf(nil, `{"error":"Their words.","code":%q}`, code))
		if e.Level() != zapcore.ErrorLevel || e.Label() != "server_error:upstream" {
			t.Errorf("%s: got the level %s and the label %s", code, e.Level(), e.Label())
		}
		if got := tryLabel(t.Context(), e); got != "server_error" {
			t.Errorf("%s: the try is labelled %s", code, got)
		}
	}
}

// The time to cancel counts from the visitor's leaving.
func TestCancelTime(t *testing.T) {
	cancels := func() (n uint64, seconds float64) {
		registry := prometheus.NewRegistry()
		if err := registerMetrics(registry, metricSources{openStreams: openExchanges.count, coolDowns: coolDowns}); err != nil {
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
