package apierror

import (
	"slices"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/docstest"
)

// The documentation's page of errors has every code of an error, and the documentation has every code of an interruption. That
// it has no other code is tested in the package telemetry.
func TestDocsHaveEveryCode(t *testing.T) {
	errors := []docstest.Page{docstest.Read(t, "docs/errors.md")}
	for _, code := range Codes() {
		docstest.WantNames(t, errors, "code", code.String())
	}
	pages := docstest.Glob(t, "docs/*.md")
	for _, i := range Interruptions() {
		docstest.WantNames(t, pages, "code", i.Code.String())
	}
}

// The table of errors has the statuses that the module itself gives to its codes.
func TestDocsHaveTheStatuses(t *testing.T) {
	want := []docstest.ErrorRow{}
	for _, i := range Interruptions() {
		if e := i.Before(); !i.IsStop() && i != Abandoned { // nobody gets these two as an error
			want = append(want, docstest.ErrorRow{Code: e.Code.String(), Status: e.Status})
		}
	}
	rows := docstest.ErrorRows(t)
	for _, row := range want {
		if !slices.Contains(rows, row) {
			t.Errorf("docs/errors.md has no row of %s with the status %d", row.Code, row.Status)
		}
	}
}
