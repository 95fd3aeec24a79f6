package doctor

// Level says how bad a finding is.
type Level string

// The levels, from good to bad.
const (
	OK      Level = "ok"      // checked, and as it should be
	Note    Level = "note"    // worth knowing; nothing needs to change
	Warning Level = "warning" // works, but should change
	Wrong   Level = "wrong"   // does not work, or is open to strangers
	Skipped Level = "skipped" // could not be checked, or was not asked for
)

// Finding is one thing that a check has found.
type Finding struct {
	Level Level `json:"level"`

	// Check names what was checked, such as `reachable`. It is the same in each version, so that machines can rely on it.
	Check string `json:"check"`

	// Where is the site, the request or the part of the config that the finding is about.
	Where string `json:"where,omitempty"`

	// Found says what was found, Why says why it matters, and Do says what to write or change.
	Found string `json:"found"`
	Why   string `json:"why,omitempty"`
	Do    string `json:"do,omitempty"`
}
