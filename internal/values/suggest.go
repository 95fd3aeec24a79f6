package values

import "strings"

// DidYouMean returns the end of an error about a word that is none of the given names: the name that it is like, or nothing.
func DidYouMean(word string, names ...string) string {
	if name := like(strings.ToLower(word), names); name != "" {
		return "; did you mean " + name + "?"
	}
	return ""
}

// mostChanges bounds how many letters of a misspelled name differ.
const mostChanges = 3

// like returns the name that differs from word in the fewest letters: at most mostChanges, and fewer than half of the
// word's. It returns "" if two names differ in as few. If no name is that near, it returns the only name that has the word as
// a part, or is a part of it; or "".
func like(word string, names []string) (name string) {
	least := min((len(word)+1)/2, mostChanges+1)
	tie := false
	for _, candidate := range names {
		switch d := distance(word, strings.ToLower(candidate)); {
		case d < least:
			name, least, tie = candidate, d, false
		case d == least && name != "":
			tie = true
		}
	}
	switch {
	case tie:
		return ""
	case name != "":
		return name
	}
	for _, candidate := range names {
		if !isPart(word, strings.ToLower(candidate)) && !isPart(strings.ToLower(candidate), word) {
			continue
		}
		if name != "" {
			return ""
		}
		name = candidate
	}
	return name
}

// isPart reports whether a name is made of a part and others, with underscores between them.
func isPart(part, name string) bool {
	return part != "" && strings.Contains("_"+name+"_", "_"+part+"_")
}

// distance returns how many bytes have to be inserted, deleted or replaced to make b of a (Levenshtein's distance).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
