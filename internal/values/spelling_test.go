package values

import "testing"

func TestSpelling(t *testing.T) {
	for text, want := range map[string]error{
		"": nil, "asst_demo": nil, "{env.X}": nil, "{env.A}-{file./b}": nil, "environment": nil, "a$b": nil, "http_1": nil,
		"{env.X": errHalfBraces, "env.X}": errHalfBraces, "{}": errHalfBraces, "{{env.X}}": errHalfBraces, "{a{b}": errHalfBraces, `\{a}`: errHalfBraces,
		`\{a\}`: errHalfBraces, "{a}}": errHalfBraces, "$X": errDollar, "${X}": errDollar, "a${X}": errDollar, "a/$NAME": errDollar, "%X%": errDollar,
		"env.X": errBare, "ENV.X": errBare, "file./x": errBare, "file:///x": errBare, "env:X": errBare, "http.vars.x": errBare,
	} {
		if err := CheckSpelling(text); err != want {
			t.Errorf("%s: got %v, want %v", text, err, want)
		}
	}
	for text, want := range map[string]error{"": nil, "system": nil, "file.name": nil, "{env.X}": errNoneHere, "x}": errNoneHere, "$X": errNoneHere} {
		if err := CheckNoPlaceholder(text); err != want {
			t.Errorf("%s: got %v, want %v", text, err, want)
		}
	}
}
