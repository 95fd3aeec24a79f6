package e2e

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// changes returns the series that have grown between two scrapes, and by how much. It leaves out buckets and sums,
// which depend on the time, and bytes_total.
func changes(before, after map[string]float64) []string {
	var grown []string
	for _, name := range slices.Sorted(maps.Keys(after)) {
		metric, _, _ := strings.Cut(name, "{")
		if strings.HasSuffix(metric, "_bucket") || strings.HasSuffix(metric, "_sum") || metric == "bytes_total" {
			continue
		}
		if n := after[name] - before[name]; n != 0 {
			grown = append(grown, fmt.Sprintf("%s %v", name, n))
		}
	}
	return grown
}

// Each kind of ending adds to the series that describe it, and to no others. A reload resets none of them.
func TestMetrics(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	config := "metrics /metrics\n" + sitetest.ChatTo(server, "alias help asst_demo\nheartbeat off\nresponse_timeout 300ms\nretry {\nattempts 2\nbackoff 1ms\n}")
	s := sitetest.Serve(t, config)
	const demo = `{assistant="asst_demo"`
	finished := func(label string, events int, outcome string) []string {
		want := []string{
			fmt.Sprintf(`duration_seconds_count{assistant=%q,outcome=%q} 1`, label, outcome),
			fmt.Sprintf(`event_gap_seconds_count %d`, events-1),
			fmt.Sprintf(`events_total{assistant=%q} %d`, label, events),
			fmt.Sprintf(`first_event_seconds_count{assistant=%q} 1`, label),
			fmt.Sprintf(`requests_total{assistant=%q,outcome=%q} 1`, label, outcome),
			`tries_total{outcome="answered"} 1`,
		}
		return want
	}
	refusedBy := func(label, outcome, code string, tries ...string) []string {
		want := []string{
			fmt.Sprintf(`duration_seconds_count{assistant=%q,outcome=%q} 1`, label, outcome),
			fmt.Sprintf(`refusals_total{code=%q} 1`, code),
			fmt.Sprintf(`requests_total{assistant=%q,outcome=%q} 1`, label, outcome),
		}
		return append(want, tries...)
	}
	for _, row := range []struct {
		name, chat string
		leave      bool
		want       []string
	}{
		{name: "an answer", chat: sitetest.Saying("/events 3"),
			want: append(finished("asst_demo", 4, "answered"), `finishes_total{cause="",reason="stop"} 1`)},
		{name: "an alias", chat: strings.Replace(sitetest.Saying("/events 3"), "asst_demo", "help", 1),
			want: append(finished("help", 4, "answered"), `finishes_total{cause="",reason="stop"} 1`)},
		{name: "a cut", chat: sitetest.Saying("/cut 3"),
			want: append(finished("asst_demo", 3, "broken"), `finishes_total{cause="closed:upstream",reason="error"} 1`)},
		{name: "an assistant that is not allowed", chat: strings.Replace(sitetest.Hello, "asst_demo", "asst_else", 1),
			want: refusedBy("", "refused", "forbidden:assistant")},
		{name: "a status", chat: sitetest.Saying("/status 503"),
			want: refusedBy("asst_demo", "failed", "overloaded:upstream", `tries_total{outcome="server_error"} 2`)},
		{name: "a limit", chat: sitetest.Saying("/status 429"),
			want: refusedBy("asst_demo", "failed", "rate_limit:upstream", `tries_total{outcome="rate_limited"} 2`)},
		{name: "a bad request", chat: sitetest.Saying("/status 400"),
			want: refusedBy("asst_demo", "failed", "bad_request:upstream", `tries_total{outcome="client_error"} 1`)},
		{name: "a token that is refused", chat: sitetest.Saying("/status 401"),
			want: refusedBy("asst_demo", "failed", "unauthorized:upstream", `tries_total{outcome="unauthorized"} 1`)},
		{name: "no event", chat: sitetest.Saying("/hang"),
			want: refusedBy("asst_demo", "failed", "timeout:upstream", `tries_total{outcome="timeout"} 1`)},
		{name: "a reset before an answer", chat: sitetest.Saying("/reset 0"),
			want: refusedBy("asst_demo", "failed", "bad_gateway:upstream", `tries_total{outcome="unreachable"} 2`)},
		{name: "a leak at once", chat: sitetest.Saying("/echo-token 0"),
			want: refusedBy("asst_demo", "failed", "bad_gateway:upstream", `tries_total{outcome="leak"} 1`)},
		{name: "JSON", chat: sitetest.Saying("/json"), want: []string{
			`duration_seconds_count{assistant="asst_demo",outcome="answered"} 1`,
			`requests_total{assistant="asst_demo",outcome="answered"} 1`,
			`tries_total{outcome="answered"} 1`,
		}},
		{name: "a visitor who leaves", chat: sitetest.Saying("/stall"), leave: true, want: []string{
			`cancel_seconds_count 1`,
			`duration_seconds_count{assistant="asst_demo",outcome="left"} 1`,
			`event_gap_seconds_count 2`,
			`events_total` + demo + `} 3`,
			`first_event_seconds_count` + demo + `} 1`,
			`requests_total{assistant="asst_demo",outcome="left"} 1`,
			`tries_total{outcome="answered"} 1`,
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := sitetest.Scrape(t, s)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			resp := s.Send(sitetest.OneShot, sitetest.ChatRequest(t, s.Plain, row.chat).WithContext(ctx))
			if row.leave {
				answer := bufio.NewReader(resp.Body)
				for range 3 {
					sitetest.NextEvent(t, answer)
				}
				if got := sitetest.Scrape(t, s)["streams"]; got != 1 {
					t.Errorf("%v streams are open, want 1", got)
				}
				leave()
			} else {
				sitetest.ReadAll(t, resp)
			}
			sitetest.Eventually(t, "the request is over", func() bool {
				return requestsOf(sitetest.Scrape(t, s)) > requestsOf(before)
			})
			after := sitetest.Scrape(t, s)
			slices.Sort(row.want)
			if got := changes(before, after); !slices.Equal(got, row.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(row.want, "\n\t"))
			}
			if row.leave && after["cancel_seconds_sum"]-before["cancel_seconds_sum"] > 1 {
				t.Errorf("it took %v s to cancel", after["cancel_seconds_sum"]-before["cancel_seconds_sum"])
			}
		})
	}

	// A reload loses no count. Several handlers in one config, and several configs, share the metrics.
	before := sitetest.Scrape(t, s)
	s.Reload(config)
	after := sitetest.Scrape(t, s)
	if got := changes(before, after); len(got) != 0 || len(after) < 20 {
		t.Errorf("after a reload: got %q", got)
	}
	sitetest.ReadAll(t, s.AskAs("", sitetest.Saying("/events 1")))
	sitetest.Eventually(t, "the request is counted", func() bool { return requestsOf(sitetest.Scrape(t, s)) > requestsOf(before) })
}

func requestsOf(metrics map[string]float64) (n float64) {
	for name, value := range metrics {
		if strings.HasPrefix(name, "requests_total{") {
			n += value
		}
	}
	return n
}

// An assistant id that visitors may choose freely never becomes a label.
func TestMetricsOfAnyAssistant(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, "metrics /metrics\n"+strings.Replace(sitetest.ChatToURL(upstream.URL, ""), "assistants asst_demo", "assistants *", 1))
	for _, name := range []string{"asst_one", "asst_two"} {
		sitetest.ReadAll(t, s.AskAs("", strings.Replace(sitetest.Hello, "asst_demo", name, 1)))
	}
	sitetest.Eventually(t, "the requests are counted", func() bool {
		return sitetest.Scrape(t, s)[`requests_total{assistant="other",outcome="answered"}`] >= 2
	})
	for name := range sitetest.Scrape(t, s) {
		if strings.Contains(name, "asst_one") {
			t.Errorf("the visitor's word is a label: %s", name)
		}
	}
}

// A gauge says how long the cool-down of each assistant still lasts.
func TestCoolDownMetric(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, "metrics /metrics\n"+sitetest.ChatTo(server, "alias help asst_demo\nalias sales asst_sales\n"+sitetest.Once))
	name := func(assistant string) string {
		return fmt.Sprintf("cool_down_seconds{assistant=%q,endpoint=%q}", assistant, server.URL)
	}
	before := sitetest.Scrape(t, s)
	for _, assistant := range []string{"asst_demo", "help", "sales"} {
		if got, ok := before[name(assistant)]; !ok || got != 0 {
			t.Errorf("%s, without a cool-down: got %v, %v", assistant, got, ok)
		}
	}
	sitetest.ReadAll(t, s.AskAs("", sitetest.Saying("/status 429 100")))
	after := sitetest.Scrape(t, s)
	for _, assistant := range []string{"asst_demo", "help"} {
		if got := after[name(assistant)]; got < 90 || got > 100 {
			t.Errorf("%s, in a cool-down: got %v", assistant, got)
		}
	}
	if got, ok := after[name("sales")]; !ok || got != 0 {
		t.Errorf("sales, during the cool-down of another: got %v, %v", got, ok)
	}
}

// Where visitors may choose any assistant, the cool-downs of those without a name share one series: the longest.
func TestCoolDownMetricOfAnyAssistant(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(map[string]http.HandlerFunc{
		"long":  sitetest.Answering(http.StatusTooManyRequests, "", "Retry-After", "2000"),
		"short": sitetest.Answering(http.StatusTooManyRequests, "", "Retry-After", "1000"),
	}))
	directive := sitetest.ChatToURL(upstream.URL, "alias sales asst_sales\n"+sitetest.Once)
	s := sitetest.Serve(t, "metrics /metrics\n"+strings.Replace(directive, "assistants asst_demo", "assistants *", 1))
	for _, chat := range [][2]string{{"asst_one", "short"}, {"asst_two", "long"}, {"asst_three", "short"}, {"sales", "short"}} {
		sitetest.WantError(t, s.AskAs("", asking(chat[0], chat[1])), http.StatusTooManyRequests, "rate_limit:upstream")
	}
	var names []string
	for name, left := range sitetest.Scrape(t, s) {
		if strings.HasPrefix(name, "cool_down_seconds") && strings.Contains(name, upstream.URL) {
			names = append(names, name)
			if other := strings.Contains(name, `"other"`); other && left < 1900 || !other && (left < 900 || left > 1000) {
				t.Errorf("%s: got %v", name, left)
			}
		}
	}
	if len(names) != 2 {
		t.Errorf("got the series %q, want those of sales and other", names)
	}
}
