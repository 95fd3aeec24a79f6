package config

import (
	"regexp"
	"regexp/syntax"
	"strings"
)

// sampleOf returns a path that a regular expression matches. It returns false if it finds none.
func sampleOf(expression string) (path string, ok bool) {
	tree, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return "", false
	}
	var b strings.Builder
	writeSample(&b, tree.Simplify())
	path = b.String()
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	compiled, err := regexp.Compile(expression)
	return path, err == nil && compiled.MatchString(path)
}

// writeSample writes the shortest text that a part of a regular expression matches, as far as it is easy to find.
func writeSample(b *strings.Builder, part *syntax.Regexp) {
	switch part.Op {
	case syntax.OpLiteral:
		b.WriteString(string(part.Rune))
	case syntax.OpCharClass:
		b.WriteRune(sampleRune(part.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('a')
	case syntax.OpConcat:
		for _, sub := range part.Sub {
			writeSample(b, sub)
		}
	case syntax.OpCapture, syntax.OpPlus, syntax.OpAlternate:
		writeSample(b, part.Sub[0])
	case syntax.OpRepeat:
		for range part.Min {
			writeSample(b, part.Sub[0])
		}
	}
}

// sampleRune returns a character of a class, which is a list of ranges. It prefers a letter.
func sampleRune(ranges []rune) rune {
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i] <= 'a' && 'a' <= ranges[i+1] {
			return 'a'
		}
	}
	if len(ranges) == 0 {
		return 'a'
	}
	return ranges[0]
}
