package redisstore

import (
	"net"
	"regexp"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/illumichat/caddy-illumichat/internal/docstest"
)

// The documentation has each option, with its default, and each key of the JSON.
func TestDocsHaveEveryOption(t *testing.T) {
	page := docstest.Read(t, "docs/caddyfile.md")
	keys := docstest.JSONKeys(Redis{})
	docstest.WantNames(t, []docstest.Page{page}, "key", keys...)
	for name := range examples {
		if !slices.Contains(keys, name) { // an option of tls
			docstest.WantNames(t, []docstest.Page{page}, "option", name)
		}
	}
	page.WantDefault(t, "address", net.JoinHostPort("localhost", defaultPort))
	page.WantDefault(t, "db", "0")
	page.WantDefault(t, "prefix", defaultPrefix)
}

// The documentation has each metric. That it has no other is tested in the package telemetry.
func TestDocsHaveEveryMetric(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	if err := metrics.register(registry); err != nil {
		t.Fatal(err)
	}
	page := docstest.Read(t, "docs/operate.md")
	documented := page.Families("caddy_illumichat_*")
	descs := make(chan *prometheus.Desc, 99)
	registry.Describe(descs)
	close(descs)
	for desc := range descs {
		name := regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(desc.String())[1]
		if !slices.Contains(documented, name) && !docstest.Names([]docstest.Page{page}, name) {
			t.Errorf("docs/operate.md does not have the metric %s", name)
		}
	}
}
