package e2e

import (
	"bufio"
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// BenchmarkVisitorLeaves measures the time from a visitor's disconnect to the cancellation of the upstream request. The
// median should be under 10 ms.
func BenchmarkVisitorLeaves(b *testing.B) {
	for _, upstream := range sitetest.WireUpstreams {
		asked := make(chan *sitetest.Wire, 1)
		u := upstream.Start(b, func(w *sitetest.Wire) {
			if chatText(w.Body) == "stream" {
				_ = w.Head()
				_ = w.Send(sitetest.Delta)
			}
			asked <- w
			w.Stall()
		})
		s := sitetest.Serve(b, sitetest.ChatToURL(u.URL, upstream.Transport))
		leaveBy := map[string]func(b *testing.B, text string, ready func()){
			"FIN": func(b *testing.B, text string, ready func()) {
				conn := sitetest.SendRaw(b, s, sitetest.RawChat(sitetest.Saying(text)))
				if text == "stream" {
					readEvent(b, conn)
				}
				ready()
				conn.Close()
			},
		}
		for proto, visitor := range sitetest.Protocols(b) {
			if proto == "HTTP/1.1" {
				continue // the FIN above covers it
			}
			leaveBy[proto] = func(b *testing.B, text string, ready func()) {
				ctx, leave := context.WithCancel(b.Context())
				defer leave()
				req := sitetest.ChatRequest(b, s.Secure, sitetest.Saying(text)).WithContext(ctx)
				if text == "stream" {
					resp, err := visitor.RoundTrip(req)
					if err != nil {
						b.Fatal(err)
					}
					defer resp.Body.Close()
					readEvent(b, resp.Body)
					ready()
					return
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					if _, err := visitor.RoundTrip(req); err == nil {
						b.Error("there was an answer")
					}
				}()
				ready()
				leave()
				<-done
			}
		}
		for _, name := range slices.Sorted(maps.Keys(leaveBy)) {
			for _, phase := range []string{"wait", "stream"} {
				b.Run("visitor "+name+"/upstream "+upstream.Proto+"/"+phase, func(b *testing.B) {
					var took []time.Duration
					for b.Loop() {
						var w *sitetest.Wire
						var left time.Time
						leaveBy[name](b, phase, func() {
							w = <-asked
							left = time.Now()
						})
						<-w.Gone
						took = append(took, time.Since(left))
					}
					slices.Sort(took)
					b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/median")
					b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms/p99")
				})
			}
		}
	}
}

// readEvent reads up to the first data line of an answer.
func readEvent(tb testing.TB, answer io.Reader) {
	tb.Helper()
	in := bufio.NewReader(answer)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			tb.Fatalf("reading the first event: %v", err)
		}
		if strings.HasPrefix(line, "data:") {
			return
		}
	}
}
