package sitetest

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// Scrape returns the module's metrics by name and labels, without the prefix caddy_illumichat_. The site must serve them at
// /metrics.
func Scrape(t *testing.T, s *Site) map[string]float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Plain+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for line := range strings.Lines(ReadAll(t, s.Send(OneShot, req))) {
		metric, ok := strings.CutPrefix(line, "caddy_illumichat_")
		if !ok {
			continue
		}
		name, number, _ := strings.Cut(strings.TrimSpace(metric), "} ")
		if name == strings.TrimSpace(metric) {
			name, number, _ = strings.Cut(name, " ")
		} else {
			name += "}"
		}
		if values[name], err = strconv.ParseFloat(number, 64); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	return values
}
