package e2e

import (
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// With Caddy's tracing directive, the upstream gets a traceparent header only if propagate_trace is set. It never gets
// the visitor's tracestate and baggage.
func TestTracingDirective(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, "tracing\n"+sitetest.ChatToURL(upstream.URL, "")+"\nhandle /told {\n"+strings.Replace(sitetest.ChatToURL(upstream.URL, "propagate_trace"), sitetest.ChatPath, "", 1)+"\n}")
	const id = "0af7651916cd43dd8448eb211c80319c"
	for path, told := range map[string]bool{sitetest.ChatPath: false, "/told": true} {
		req := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
		req.URL.Path = path
		req.Header.Set("Traceparent", "00-"+id+"-b7ad6b7169203331-01")
		req.Header.Set("Tracestate", "visitor=anna")
		req.Header.Set("Baggage", "user=anna")
		sitetest.ReadAll(t, s.Send(sitetest.OneShot, req))
		asked := upstream.Take()
		if len(asked) != 1 {
			t.Fatalf("%s: the upstream was asked %d times", path, len(asked))
		}
		got := asked[0].Header.Get("Traceparent")
		if told && (!strings.HasPrefix(got, "00-"+id) || strings.Contains(got, "b7ad6b7169203331")) || !told && got != "" {
			t.Errorf("%s: the upstream got Traceparent: %q", path, got)
		}
		for _, name := range []string{"Baggage", "Tracestate"} {
			if got := asked[0].Header.Get(name); got != "" {
				t.Errorf("%s: the upstream got %s: %q", path, name, got)
			}
		}
	}
}
