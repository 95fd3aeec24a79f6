package apierror

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"

	"github.com/illumichat/caddy-illumichat/internal/docstest"
)

// The table of docs/errors.md has the codes in alphabetical order, and the levels at which they are logged.
func TestErrorsPageHasTheLevels(t *testing.T) {
	page := docstest.Read(t, "docs/errors.md").Text
	levels := make(map[string]zapcore.Level) // of interruptions, by code
	for _, i := range Interruptions() {
		levels[i.Code.String()] = i.Level()
	}
	var names []string
	rows := regexp.MustCompile("(?m)^\\| `([a-z_]+:[a-z]+)` \\| ([^|]+) \\| [^|]+ \\| [^|]+ \\| (\\w+)").FindAllStringSubmatch(page, -1)
	for _, row := range rows {
		name, status, level := row[1], row[2], row[3]
		names = append(names, name)
		want := levels[name]
		if status != "finish" {
			want = levelOfError(name, status)
		}
		if level != want.String() {
			t.Errorf("the row of %s, %s, has the level %s, want %s", name, status, level, want)
		}
	}
	if len(rows) < len(Codes()) || !slices.IsSorted(names) {
		t.Errorf("the table has the codes %q", names)
	}
}

// levelOfError returns the level of an error, as the root has it: an upstream that refuses a chat is a warning, unless the
// reason is the visitor's.
func levelOfError(name, status string) zapcore.Level {
	number, err := strconv.Atoi(status)
	switch {
	case status == "4xx":
		number = http.StatusBadRequest
	case err != nil: // other 5xx
		number = http.StatusInternalServerError
	}
	level := (&Error{Status: number, Code: Code{name}}).Level()
	refused := strings.HasSuffix(name, ":upstream") && number < http.StatusInternalServerError
	if refused && number != http.StatusRequestEntityTooLarge && number != http.StatusTooManyRequests {
		return zapcore.WarnLevel
	}
	return level
}
