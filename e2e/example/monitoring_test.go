package example

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/docstest"
	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/require"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// ourMetric matches the name of one of our metrics, as queries write it.
var ourMetric = regexp.MustCompile(`caddy_illumichat_[a-z_]+`)

// The configuration and the rules of example/monitoring are valid, and the rules alert when they should.
func TestMonitoringExample(t *testing.T) {
	promtool := require.Program(t, "promtool")
	for _, args := range [][]string{{"check", "config", "prometheus.yml"}, {"test", "rules", "alerts_test.yml"}} {
		command := exec.CommandContext(t.Context(), promtool, args...)
		command.Dir = "example/monitoring"
		if output, err := command.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, output)
		}
	}
}

// Every metric that example/monitoring names exists. The series of all codes exist from the start.
func TestMonitoredMetricsExist(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, "metrics /metrics\n"+sitetest.ChatTo(server, "store redis {\naddress 127.0.0.1:1\n}")) // where no Redis is
	sitetest.ReadAll(t, s.AskAs("", sitetest.Saying("/events 2")))                                                // creates the histograms with an assistant label
	exported := make(map[string]bool)
	sitetest.Eventually(t, "the chat is counted", func() bool {
		for name := range sitetest.Scrape(t, s) {
			name, _, _ = strings.Cut(name, "{")
			exported[strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")] = true
			exported[name] = true
		}
		return exported["first_event_seconds_bucket"]
	})
	for _, file := range []string{"example/monitoring/alerts.yml", "example/monitoring/alerts_test.yml", "example/monitoring/dashboard.json"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := ourMetric.FindAllString(string(text), -1)
		if len(found) < 5 {
			t.Errorf("%s: %d metrics are named", file, len(found))
		}
		for _, name := range found {
			if !exported[strings.TrimPrefix(name, "caddy_illumichat_")] {
				t.Errorf("%s: there is no metric %s", file, name)
			}
		}
	}
	// docs/operate.md has them all, too: a real Caddy exports those that its tables list.
	documented := docstest.Read(t, "docs/operate.md").Families("caddy_illumichat_*")
	if len(documented) < 15 {
		t.Errorf("docs/operate.md lists the metrics %q", documented)
	}
	for _, name := range documented {
		if !exported[strings.TrimPrefix(name, "caddy_illumichat_")] {
			t.Errorf("docs/operate.md: there is no metric %s", name)
		}
	}
	// Each error of docs/errors.md, and each interruption, has a series from the start, at 0.
	wanted := []string{`tries_total{outcome="leak"}`, `requests_total{assistant="asst_demo",outcome="failed"}`}
	for _, row := range docstest.ErrorRows(t) {
		wanted = append(wanted, fmt.Sprintf("refusals_total{code=%q}", row.Code))
	}
	for _, i := range apierror.Interruptions() {
		if i != apierror.Abandoned { // nobody gets its finish
			wanted = append(wanted, fmt.Sprintf(`finishes_total{cause=%q,reason=%q}`, i.Code, i.FinishReason()))
		}
	}
	scraped := sitetest.Scrape(t, s)
	for _, name := range wanted {
		if _, ok := scraped[name]; !ok {
			t.Errorf("%s does not begin with 0", name)
		}
	}
}

// startPrometheus starts a real Prometheus that scrapes the site. The function that it returns runs a query, and returns
// the first value, or what is wrong with the query. Both are empty if there is no value yet.
func startPrometheus(t *testing.T, s *sitetest.Site, args ...string) (query func(promQL string) (value, wrong string)) {
	t.Helper()
	program := require.Program(t, "prometheus")
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	sitetest.WriteFile(t, config, fmt.Sprintf("global:\n  scrape_interval: 100ms\nscrape_configs:\n  - job_name: caddy\n    static_configs:\n      - targets: [%q]\n",
		strings.TrimPrefix(s.Plain, "http://")))
	address := fmt.Sprintf("127.0.0.1:%d", localhost.Port(t))
	args = append(args, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=error")
	command := exec.CommandContext(t.Context(), program, args...)
	command.Stdout, command.Stderr = t.Output(), t.Output()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	return func(promQL string) (value, wrong string) {
		resp, err := http.Get("http://" + address + "/api/v1/query?query=" + url.QueryEscape(promQL))
		if err != nil {
			return "", ""
		}
		defer resp.Body.Close()
		var answer struct {
			Error string
			Data  struct {
				Result []struct{ Value [2]any }
			}
		}
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || len(answer.Data.Result) == 0 {
			return "", answer.Error
		}
		return fmt.Sprint(answer.Data.Result[0].Value[1]), ""
	}
}

// A real Prometheus scrapes our histograms as native ones, including event_gap_seconds, which the module builds itself.
func TestPrometheusScrapesNativeHistograms(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, "metrics /metrics\n"+sitetest.ChatTo(server, ""))
	query := startPrometheus(t, s, "--enable-feature=native-histograms")
	before := sitetest.Scrape(t, s)
	sitetest.ReadAll(t, s.AskAs("", sitetest.Saying("/events 5")))
	sitetest.Eventually(t, "the chat is counted", func() bool {
		return sitetest.Scrape(t, s)["event_gap_seconds_count"] == before["event_gap_seconds_count"]+5
	})
	total := strconv.FormatFloat(sitetest.Scrape(t, s)["event_gap_seconds_count"], 'f', -1, 64) // as Prometheus formats it: no exponent, even for a million
	for promQL, want := range map[string]string{
		"histogram_count(caddy_illumichat_event_gap_seconds)":                 total,
		"histogram_count(sum(caddy_illumichat_first_event_seconds)) > bool 0": "1",
		// These gaps are in the zero bucket and some of the first buckets.
		"histogram_quantile(1, caddy_illumichat_event_gap_seconds) <= bool 64":  "1",
		"histogram_quantile(0.01, caddy_illumichat_event_gap_seconds) < bool 1": "1",
	} {
		var got string
		sitetest.Eventually(t, fmt.Sprintf("%s is %s", promQL, want), func() bool {
			got, _ = query(promQL)
			return got == want
		})
	}
}

// Each query of the dashboard is valid and has a value.
func TestDashboardHasData(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, "metrics /metrics\n"+sitetest.ChatTo(server, ""))
	query := startPrometheus(t, s)
	sitetest.ReadAll(t, s.AskAs("", sitetest.Saying("/events 5")))
	for _, expr := range dashboardQueries(t) {
		promQL := strings.NewReplacer("$__rate_interval", "1m", "$assistant", ".*").Replace(expr)
		promQL, _ = strings.CutSuffix(promQL, " > 0") // which hides values of 0
		var wrong string
		sitetest.Eventually(t, promQL+" has a value", func() bool {
			var value string
			value, wrong = query(promQL)
			return value != "" || wrong != ""
		})
		if wrong != "" {
			t.Errorf("%s: %s", expr, wrong)
		}
	}
}

// dashboardQueries returns the queries of the example's dashboard.
func dashboardQueries(t *testing.T) (queries []string) {
	t.Helper()
	text, err := os.ReadFile("example/monitoring/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			ID      int
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	ids := make(map[int]bool)
	for _, panel := range dashboard.Panels {
		if ids[panel.ID] || len(panel.Targets) == 0 {
			t.Errorf("panel %d is there twice, or asks nothing", panel.ID)
		}
		ids[panel.ID] = true
		for _, target := range panel.Targets {
			queries = append(queries, target.Expr)
		}
	}
	if len(queries) < 12 {
		t.Errorf("the dashboard has %d queries", len(queries))
	}
	return queries
}
