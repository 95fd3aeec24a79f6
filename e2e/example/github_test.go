package example

import (
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// readYAML decodes a file into a value that has only some of the file's keys.
func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// filesIn returns the files that match a pattern, of which there is at least one.
func filesIn(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no %s: %v", pattern, err)
	}
	return files
}

// Each workflow limits its permissions, the time of each job, and the actions to a major version. No checkout leaves the token
// behind for later steps.
func TestWorkflowsAreComplete(t *testing.T) {
	type step struct {
		Uses string         `yaml:"uses"`
		Run  string         `yaml:"run"`
		With map[string]any `yaml:"with"`
	}
	var workflow struct {
		Name        string            `yaml:"name"`
		On          any               `yaml:"on"`
		Permissions map[string]string `yaml:"permissions"`
		Jobs        map[string]struct {
			RunsOn      string            `yaml:"runs-on"`
			Uses        string            `yaml:"uses"`
			Timeout     int               `yaml:"timeout-minutes"`
			Permissions map[string]string `yaml:"permissions"`
			Steps       []step            `yaml:"steps"`
		} `yaml:"jobs"`
	}
	pinned := regexp.MustCompile(`^[\w.-]+/[\w./-]+@v\d+$`)
	for _, file := range filesIn(t, ".github/workflows/*.yml") {
		workflow.Permissions, workflow.Jobs = nil, nil
		readYAML(t, file, &workflow)
		if workflow.Name == "" || workflow.On == nil || len(workflow.Jobs) == 0 || workflow.Permissions == nil {
			t.Errorf("%s lacks one of name, on, jobs and permissions", file)
		}
		for scope, access := range workflow.Permissions {
			if access == "write" {
				t.Errorf("%s: all jobs may write %s", file, scope)
			}
		}
		for name, job := range workflow.Jobs {
			if job.Uses != "" {
				continue // A job of another workflow has its own steps.
			}
			if job.RunsOn == "" || job.Timeout == 0 || len(job.Steps) == 0 {
				t.Errorf("%s: %s lacks one of runs-on, timeout-minutes and steps", file, name)
			}
			for _, step := range job.Steps {
				if step.Uses != "" && !pinned.MatchString(step.Uses) && !strings.HasPrefix(step.Uses, "./") {
					t.Errorf("%s: %s uses %s, which has no major version", file, name, step.Uses)
				}
				if persist, ok := step.With["persist-credentials"].(bool); strings.HasPrefix(step.Uses, "actions/checkout@") && (!ok || persist) {
					t.Errorf("%s: %s lets its checkout keep the token", file, name)
				}
			}
		}
	}
}

// The release runs the checks of every change before it publishes anything. Only the job that publishes to a place may write
// there.
func TestReleaseChecksBeforeItPublishes(t *testing.T) {
	var workflow struct {
		Jobs map[string]struct {
			Needs       string            `yaml:"needs"`
			Permissions map[string]string `yaml:"permissions"`
			Steps       []struct {
				Run  string         `yaml:"run"`
				With map[string]any `yaml:"with"`
			} `yaml:"steps"`
		} `yaml:"jobs"`
	}
	readYAML(t, ".github/workflows/release.yml", &workflow)
	writes := map[string][]string{
		"check":  nil,
		"github": {"contents"},
		"npm":    {"id-token"},
		"image":  {"attestations", "id-token", "packages"},
	}
	if len(workflow.Jobs) != len(writes) {
		t.Errorf("there are %d jobs, want %d", len(workflow.Jobs), len(writes))
	}
	for name, want := range writes {
		job := workflow.Jobs[name]
		if needs := "check"; name != needs && job.Needs != needs {
			t.Errorf("%s needs %q, want %q", name, job.Needs, needs)
		}
		var got []string
		for _, scope := range slices.Sorted(maps.Keys(job.Permissions)) {
			if job.Permissions[scope] == "write" {
				got = append(got, scope)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s may write %q, want %q", name, got, want)
		}
	}
	var commands string
	for _, step := range workflow.Jobs["check"].Steps {
		commands += step.Run + "\n"
	}
	for _, want := range []string{`bash .ci/release-notes.sh "$GITHUB_REF_NAME"`, "bash .ci/run"} {
		if !strings.Contains(commands, want+"\n") {
			t.Errorf("the check does not run %q", want)
		}
	}
	dockerfile, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	built := false
	for _, step := range workflow.Jobs["image"].Steps {
		built = built || step.With["build-args"] == "ILLUMICHAT_VERSION=${{ github.ref_name }}"
	}
	if !built || !strings.Contains(string(dockerfile), "\nARG ILLUMICHAT_VERSION=") {
		t.Error("the image is not built with the version of the tag")
	}
}

// GitHub shows a form only if it has these keys. Each form warns of pasted tokens, and each of its inputs has a label.
func TestIssueFormsAreComplete(t *testing.T) {
	kinds := []string{"checkboxes", "dropdown", "input", "markdown", "textarea"}
	for _, file := range filesIn(t, ".github/ISSUE_TEMPLATE/*.yml") {
		if path.Base(file) == "config.yml" {
			continue
		}
		var form struct {
			Name        string   `yaml:"name"`
			Description string   `yaml:"description"`
			Labels      []string `yaml:"labels"`
			Body        []struct {
				Type       string `yaml:"type"`
				ID         string `yaml:"id"`
				Attributes struct {
					Label       string `yaml:"label"`
					Description string `yaml:"description"`
					Value       string `yaml:"value"`
					Render      string `yaml:"render"`
					Options     []struct {
						Label    string `yaml:"label"`
						Required bool   `yaml:"required"`
					} `yaml:"options"`
				} `yaml:"attributes"`
				Validations map[string]bool `yaml:"validations"`
			} `yaml:"body"`
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		decodeYAML(t, string(text), &form)
		if form.Name == "" || form.Description == "" || len(form.Body) == 0 {
			t.Errorf("%s lacks one of name, description and body", file)
			continue
		}
		if first := form.Body[0]; first.Type != "markdown" || !strings.Contains(first.Attributes.Value, "Never paste an API token") {
			t.Errorf("%s does not begin with a warning about tokens", file)
		}
		ids := make(map[string]bool)
		for _, field := range form.Body {
			if !slices.Contains(kinds, field.Type) {
				t.Errorf("%s has a field of the type %q", file, field.Type)
			}
			if field.Type == "markdown" {
				continue
			}
			if field.Attributes.Label == "" || field.ID == "" || ids[field.ID] {
				t.Errorf("%s: the field %q has no label, or no id of its own", file, field.ID)
			}
			ids[field.ID] = true
		}
	}

	var config struct {
		BlankIssues *bool `yaml:"blank_issues_enabled"`
		Links       []struct {
			Name  string `yaml:"name"`
			URL   string `yaml:"url"`
			About string `yaml:"about"`
		} `yaml:"contact_links"`
	}
	text, err := os.ReadFile(".github/ISSUE_TEMPLATE/config.yml")
	if err != nil {
		t.Fatal(err)
	}
	decodeYAML(t, string(text), &config)
	if config.BlankIssues == nil || *config.BlankIssues {
		t.Error("blank issues are allowed")
	}
	for _, link := range config.Links {
		if link.Name == "" || link.About == "" || !strings.HasPrefix(link.URL, "https://") {
			t.Errorf("the contact link %+v is not complete", link)
		}
	}
}

// Dependabot updates each folder that has versions of others' modules, packages or images.
func TestDependabotKnowsEveryFolder(t *testing.T) {
	var config struct {
		Version int `yaml:"version"`
		Updates []struct {
			Ecosystem   string            `yaml:"package-ecosystem"`
			Directory   string            `yaml:"directory"`
			Directories []string          `yaml:"directories"`
			Schedule    map[string]string `yaml:"schedule"`
			Groups      map[string]struct {
				Patterns []string `yaml:"patterns"`
			} `yaml:"groups"`
		} `yaml:"updates"`
	}
	text, err := os.ReadFile(".github/dependabot.yml")
	if err != nil {
		t.Fatal(err)
	}
	decodeYAML(t, string(text), &config)
	if config.Version != 2 {
		t.Errorf("the version is %d", config.Version)
	}
	got := make(map[string][]string)
	for _, update := range config.Updates {
		folders := update.Directories
		if update.Directory != "" {
			folders = append(folders, update.Directory)
		}
		got[update.Ecosystem] = slices.Sorted(slices.Values(folders))
		if update.Schedule["interval"] != "weekly" || len(update.Groups) == 0 {
			t.Errorf("the updates of %s are not weekly, or not in groups", update.Ecosystem)
		}
	}

	want := map[string][]string{"github-actions": {"/"}}
	ecosystems := map[string]string{"go.mod": "gomod", "package.json": "npm", "Dockerfile": "docker"}
	err = filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git") {
			return fs.SkipDir
		}
		if ecosystem := ecosystems[path.Base(file)]; ecosystem != "" {
			want[ecosystem] = append(want[ecosystem], path.Join("/", filepath.ToSlash(filepath.Dir(file))))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for ecosystem, folders := range want {
		slices.Sort(folders)
		if !slices.Equal(got[ecosystem], folders) {
			t.Errorf("%s: dependabot.yml has the folders %q, want %q", ecosystem, got[ecosystem], folders)
		}
	}
	if len(got) != len(want) {
		t.Errorf("dependabot.yml has %d ecosystems, want %d", len(got), len(want))
	}
}

// The script prints the section of the version and nothing else. It refuses a version without a section, without text, or with
// another npm package.
func TestReleaseNotes(t *testing.T) {
	script, err := filepath.Abs(".ci/release-notes.sh")
	if err != nil {
		t.Fatal(err)
	}
	const changelog = `# Changelog

Some words.

## [Unreleased]

- Not yet.

## [1.2.0] - 2026-12-24

### Added

- A thing, see [its page](docs/thing.md#use) and [another site](https://example.com/).

### Fixed

- Another thing.

## [1.2.0-rc.1] - 2026-12-20

- A candidate.

## [1.1.0] - 2026-11-11

## [1.0.0] - 2026-10-10

- The first.

[1.0.0]: https://example.com/v1.0.0
`
	tests := []struct{ tag, npm, want, complaint string }{
		{"v1.2.0", "1.2.0", "### Added\n\n- A thing, see [its page](https://github.com/illumichat/caddy-illumichat/blob/v1.2.0/docs/thing.md#use)" +
			" and [another site](https://example.com/).\n\n### Fixed\n\n- Another thing.\n", ""},
		{"v1.2.0-rc.1", "1.2.0-rc.1", "- A candidate.\n", ""},
		{"v1.0.0", "1.0.0", "- The first.\n", ""},
		{"v1.2.1", "1.2.1", "", `CHANGELOG.md has no text in a section "## [1.2.1]"`},
		{"v1.2", "1.2", "", "v1.2 is not a tag"},
		{"v1.1.0", "1.1.0", "", `CHANGELOG.md has no text in a section "## [1.1.0]"`},
		{"v1.2.0", "1.1.9", "", "client/package.json has the version 1.1.9, not 1.2.0"},
		{"Unreleased", "0.1.0", "", "Unreleased is not a tag"},
	}
	for _, test := range tests {
		t.Run(test.tag+" "+test.npm, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "client"), 0o755); err != nil {
				t.Fatal(err)
			}
			sitetest.WriteFile(t, filepath.Join(dir, "CHANGELOG.md"), changelog)
			sitetest.WriteFile(t, filepath.Join(dir, "client", "package.json"), "{\n\t\"name\": \"caddy-illumichat\",\n\t\"version\": \""+test.npm+"\",\n\t\"license\": \"\"\n}\n")
			var complaint strings.Builder
			run := exec.CommandContext(t.Context(), "bash", script, test.tag)
			run.Dir, run.Stderr = dir, &complaint
			got, err := run.Output()
			if string(got) != test.want || !strings.Contains(complaint.String(), test.complaint) || (err == nil) != (test.complaint == "") {
				t.Errorf("got %q, %v, %q", got, err, complaint.String())
			}
		})
	}
}

// The script finds the version of the real package, and CHANGELOG.md names its sections as the script expects them.
func TestReleaseNotesFitTheRepository(t *testing.T) {
	text, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	section := regexp.MustCompile(`(?m)^## .*$`)
	known := regexp.MustCompile(`^## \[(?:Unreleased|\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?)\](?: - \d{4}-\d\d-\d\d)?$`)
	for _, heading := range section.FindAllString(string(text), -1) {
		if !known.MatchString(heading) {
			t.Errorf("CHANGELOG.md has the heading %q", heading)
		}
	}
	dir := t.TempDir()
	manifest, err := os.ReadFile("client/package.json")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^\t"version": "(.+)",$`).FindSubmatch(manifest)
	if version == nil {
		t.Fatal("client/package.json has no version where the script looks for it")
	}
	if err := os.Mkdir(filepath.Join(dir, "client"), 0o755); err != nil {
		t.Fatal(err)
	}
	sitetest.WriteFile(t, filepath.Join(dir, "client", "package.json"), string(manifest))
	sitetest.WriteFile(t, filepath.Join(dir, "CHANGELOG.md"), strings.Replace(string(text), "## [Unreleased]", "## ["+string(version[1])+"] - 2026-12-24", 1))
	script, err := filepath.Abs(".ci/release-notes.sh")
	if err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), "bash", script, "v"+string(version[1]))
	run.Dir = dir
	if got, err := run.CombinedOutput(); err != nil || !strings.Contains(string(got), "### Added\n") {
		t.Errorf("%v: %s", err, got)
	}
}
