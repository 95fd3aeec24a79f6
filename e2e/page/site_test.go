package page

import (
	"os/exec"
	"testing"
)

// The scripts of the example's page use the client as its types say, by TypeScript's strict rules.
func TestSiteUsesTheClientByItsTypes(t *testing.T) {
	requirePackages(t, packageDir)
	check := exec.CommandContext(t.Context(), tool(t, "tsc"), "-p", "e2e/page/testdata/site")
	if output, err := check.CombinedOutput(); err != nil {
		t.Errorf("checking the types: %v\n%s", err, output)
	}
}
