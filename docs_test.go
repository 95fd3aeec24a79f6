package illumichat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/docstest"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/internal/upstream"
)

// The documentation's tables of options have the defaults of the code.
func TestDocsHaveTheDefaults(t *testing.T) {
	page := docstest.Read(t, "docs/caddyfile.md")
	var retry Retry
	retry.setDefaults()
	short := strings.NewReplacer("m0s", "m")
	for option, value := range map[string]any{
		"endpoint":         upstream.DefaultEndpoint,
		"max_body_size":    strings.ReplaceAll(humanize.IBytes(defaultMaxBodySize), ".0 ", ""),
		"body_timeout":     defaultBodyTimeout,
		"response_timeout": defaultResponseTimeout,
		"commit_after":     defaultCommitAfter,
		"idle_timeout":     defaultIdleTimeout,
		"write_timeout":    defaultWriteTimeout,
		"max_duration":     defaultMaxDuration,
		"heartbeat":        defaultHeartbeat,
		"grace":            defaultGrace,
		"keep":             defaultKeep,
		"max_size":         strings.ReplaceAll(humanize.IBytes(defaultMaxSize), ".0 ", ""),
		"max_total":        strings.ReplaceAll(humanize.IBytes(defaultMaxTotal), " ", ""),
		"attempts":         defaultAttempts,
		"backoff":          fmt.Sprint(time.Duration(defaultBackoff), " ", time.Duration(defaultBackoffCap)),
		"on":               strings.Trim(fmt.Sprint(retry.On), "[]"),
	} {
		if d, ok := value.(caddy.Duration); ok {
			value = short.Replace(time.Duration(d).String())
		}
		page.WantDefault(t, option, fmt.Sprint(value))
	}
}

// The documentation has every option of the directive and its blocks, and every key of its JSON.
func TestDocsHaveEveryOption(t *testing.T) {
	page := docstest.Read(t, "docs/caddyfile.md")
	for name := range examples {
		page.WantOption(t, name)
	}
	for _, options := range nestedExamples {
		for name := range options {
			page.WantOption(t, name)
		}
	}
	keys := docstest.JSONKeys(Handler{})
	for _, key := range []string{"token", "aliases", "requests", "backoff_cap", "max_total", "store"} {
		if !slices.Contains(keys, key) {
			t.Errorf("the keys are %q, without %s", keys, key)
		}
	}
	docstest.WantNames(t, []docstest.Page{page}, "key", keys...)
}

// The documentation has every flag of the command, and the commands in it have no other.
func TestDocsHaveEveryFlag(t *testing.T) {
	flags := newCheckCommand().Flags()
	pages := docstest.Glob(t, "docs/*.md")
	all := regexp.MustCompile(`(?m)^ +(?:-\w, )?(--[\w-]+)`).FindAllStringSubmatch(flags.FlagUsages(), -1)
	if len(all) < 9 {
		t.Errorf("the usage has the flags %q", all)
	}
	for _, flag := range all {
		docstest.WantNames(t, pages, "flag", flag[1])
	}
	for _, page := range docstest.Pages(t) {
		for _, command := range commandLines(page) {
			for _, word := range strings.Fields(command) {
				name, ok := strings.CutPrefix(word, "--")
				if name, _, _ = strings.Cut(name, "="); ok && name != "help" && flags.Lookup(name) == nil {
					t.Errorf("%s: the command has no flag --%s: %s", page.File, name, command)
				}
			}
		}
	}
}

// commandLines returns the lines of a page's code with the command.
func commandLines(page docstest.Page) (lines []string) {
	for _, code := range page.Code() {
		for line := range strings.Lines(code) {
			if strings.Contains(line, "caddy illumichat check") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
	}
	return lines
}

// The documentation has every field that the admin endpoint shows, and an answer that it could give.
func TestDocsShowTheAdminEndpoint(t *testing.T) {
	page := docstest.Read(t, "docs/operate.md")
	docstest.WantNames(t, []docstest.Page{page}, "field", docstest.JSONKeys(handlerStatus{})...)
	shown := 0
	for _, block := range page.Blocks() {
		command, output, _ := strings.Cut(block.Text, "\n")
		if block.Language != "console" || !strings.Contains(command, adminPath) {
			continue
		}
		shown++
		var handlers []handlerStatus
		decoder := json.NewDecoder(strings.NewReader(output))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&handlers); err != nil || len(handlers) == 0 {
			t.Errorf("%s:%d: %d handlers, %v", block.File, block.Line, len(handlers), err)
		}
	}
	if shown == 0 {
		t.Errorf("%s has no console with an answer of %s", page.File, adminPath)
	}
}

// README.md says how to run and to build the module, with the path and the version of Caddy in go.mod. No page has another version.
func TestDocsHaveTheVersionsOfGoMod(t *testing.T) {
	path, caddy := docstest.Module(t)
	var commands bytes.Buffer
	for _, block := range docstest.Read(t, "README.md").Blocks() {
		commands.WriteString("\n" + block.Text)
	}
	for _, line := range []string{
		`xcaddy build (?:v\S+ )?--with ` + regexp.QuoteMeta(path) + `(?:[@=]\S+)?`,
		`go run \./cmd/caddy run --config example/Caddyfile`,
	} {
		if !regexp.MustCompile(`\n` + line + `\n`).MatchString(commands.String()) {
			t.Errorf("README.md has no command %s", line)
		}
	}
	version := regexp.MustCompile(`(?:Caddy v|caddy:|xcaddy build v)(\d+\.\d+\.\d+)\b`)
	for _, page := range docstest.Pages(t) {
		found := version.FindAllStringSubmatch(page.Text, -1)
		for _, match := range found {
			if match[1] != caddy {
				t.Errorf("%s: %s is not the version %s of go.mod", page.File, match[0], caddy)
			}
		}
		if len(found) == 0 && (page.File == "README.md" || page.File == "docs/install.md") {
			t.Errorf("%s does not say that the module needs Caddy v%s", page.File, caddy)
		}
	}
}

// The table of errors has the codes in alphabetical order, and the level at which each one is logged.
func TestDocsHaveTheLevelsOfErrors(t *testing.T) {
	codes := make(map[string]apierror.Code)
	for _, code := range apierror.Codes() {
		codes[code.String()] = code
	}
	interruptions := make(map[string]*apierror.Interruption)
	for _, i := range apierror.Interruptions() {
		interruptions[i.Code.String()] = i
	}
	var names []string
	for _, table := range docstest.Read(t, "docs/errors.md").Tables() {
		status, log := table.Column("status"), table.Column("log")
		if log < 0 {
			continue
		}
		for _, row := range table.Rows {
			code, ok := codes[strings.Trim(row.Cell(0), "`")]
			if !ok { // a code of the API's own
				continue
			}
			names = append(names, code.String())
			var want zapcore.Level
			if row.Cell(status) == "finish" {
				want = interruptions[code.String()].Level()
			} else {
				want = levelInDocs(t, code, row.Cell(status))
			}
			if got := regexp.MustCompile(`^\w+`).FindString(row.Cell(log)); got != want.String() {
				t.Errorf("docs/errors.md:%d: %s has the level %q, want %s", row.Line, code, got, want)
			}
		}
	}
	if len(names) < len(codes) || !slices.IsSorted(names) {
		t.Errorf("the table has the codes %q", names)
	}
}

// levelInDocs returns the level of an error whose status the documentation has as a number, or as 4xx or 5xx. A code of the upstream
// means that the upstream has answered an admitted chat with this status.
func levelInDocs(t *testing.T, code apierror.Code, status string) zapcore.Level {
	t.Helper()
	number, err := strconv.Atoi(strings.ReplaceAll(status[max(0, len(status)-3):], "xx", "00"))
	if err != nil {
		t.Fatalf("%s has the status %q", code, status)
	}
	e, c := &apierror.Error{Status: number, Code: code}, new(telemetry.Record)
	if strings.HasSuffix(code.String(), ":upstream") {
		e.Upstream, c.Admitted = number, true
	}
	return levelOf(c, e)
}
