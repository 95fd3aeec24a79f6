package telemetry

import (
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/docstest"
)

const operate = "docs/operate.md"

// redisMetrics are the metrics of the package redisstore, whose own test has the documentation name them.
var redisMetrics = []string{"redis_up", "redis_failures_total", "redis_unshared_total"}

// The documentation has every metric and no other.
func TestDocsHaveEveryMetric(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	if err := Register(registry, Sources{OpenStreams: func() int { return 0 }}); err != nil {
		t.Fatal(err)
	}
	descs := make(chan *prometheus.Desc, 99)
	registry.Describe(descs)
	close(descs)
	var known []string
	for desc := range descs {
		known = append(known, regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(desc.String())[1])
	}
	if len(known) < 14 {
		t.Errorf("there are the metrics %q", known)
	}
	page := docstest.Read(t, operate)
	documented := page.Families("caddy_illumichat_*")
	for _, name := range known {
		if !slices.Contains(documented, name) && !docstest.Names([]docstest.Page{page}, name) {
			t.Errorf("%s does not have the metric %s: name it, or list it in a table whose first header is `caddy_illumichat_…`", operate, name)
		}
	}
	for _, name := range redisMetrics {
		known = append(known, metricName(name))
	}
	for _, page := range docstest.Pages(t) {
		found := append(page.Families("caddy_illumichat_*"), regexp.MustCompile(`\bcaddy_illumichat_[a-z_]*[a-z]\b`).FindAllString(page.Text, -1)...)
		for _, name := range found {
			base := regexp.MustCompile(`_(?:bucket|sum|count)$`).ReplaceAllString(name, "")
			if !slices.Contains(known, name) && !slices.Contains(known, base) {
				t.Errorf("%s: there is no metric %s", page.File, name)
			}
		}
	}
}

// The documentation has every placeholder, which is also a field of the access log, and no other.
func TestDocsHaveEveryPlaceholder(t *testing.T) {
	page := docstest.Read(t, operate)
	documented := page.Families("{http.illumichat.*}")
	for _, field := range recordFields {
		name := "{http.illumichat." + field.name + "}"
		if !slices.Contains(documented, name) && !docstest.Names([]docstest.Page{page}, name) {
			t.Errorf("%s does not have the placeholder %s: name it, or list it in a table whose first header is `{http.illumichat.<field>}`", operate, name)
		}
	}
	for _, page := range docstest.Pages(t) {
		found := append(page.Families("{http.illumichat.*}"), regexp.MustCompile(`\{http\.illumichat\.\w+\}`).FindAllString(page.Text, -1)...)
		for _, name := range found {
			key := strings.Trim(name, "{}")
			if _, ok := new(Record).placeholder(key); !ok {
				t.Errorf("%s: there is no placeholder %s", page.File, name)
			}
		}
	}
}

// Every code that the documentation names is one of the module, or one of the client for pages.
func TestDocsHaveNoOtherCode(t *testing.T) {
	known := []string{CauseLeft, CauseStalled, causePanic}
	for _, code := range apierror.Codes() {
		known = append(known, code.String())
	}
	for _, i := range apierror.Interruptions() {
		known = append(known, i.Code.String())
	}
	form := regexp.MustCompile(`'([a-z_]+:[a-z]+)'`)
	client := docstest.Top(t) + "/client"
	err := fs.WalkDir(os.DirFS(client), ".", func(name string, entry fs.DirEntry, err error) error {
		if entry.IsDir() && entry.Name() == "node_modules" {
			return fs.SkipDir
		}
		if strings.HasSuffix(name, ".js") {
			text, err := os.ReadFile(client + "/" + name)
			for _, match := range form.FindAllStringSubmatch(string(text), -1) {
				known = append(known, match[1])
			}
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(known, "stopped:page") {
		t.Error("the client's codes are not found")
	}
	types, contexts := make(map[string]bool), make(map[string]bool)
	for _, code := range known {
		kind, context, _ := strings.Cut(code, ":")
		types[kind], contexts[context] = true, true
	}
	// Other words with a colon, such as `host:port`, have neither the type nor the context of a code.
	word := regexp.MustCompile(`(?:^|[^\w:./-])([a-z_]+):([a-z]+)(?:$|[^\w:/-])`)
	for _, page := range docstest.Pages(t) {
		for _, code := range page.Code() {
			for _, match := range word.FindAllStringSubmatch(code, -1) {
				found := match[1] + ":" + match[2]
				if (types[match[1]] || contexts[match[2]]) && !slices.Contains(known, found) {
					t.Errorf("%s: there is no code %s, in %q", page.File, found, strings.TrimSpace(code))
				}
			}
		}
	}
}
