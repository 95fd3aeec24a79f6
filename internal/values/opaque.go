package values

import (
	"regexp"
	"strings"
)

// This file tells a run of characters that may be a secret from one that people read: words, hosts, numbers and durations.

// minOpaque is how many bytes of a run have to be unreadable, in all, before the run is hidden.
const minOpaque = 10

var (
	// longRun matches a run of characters that is long for a word, or a placeholder.
	longRun = regexp.MustCompile(`\{[a-z_]+\.[^{}]*\}|[0-9A-Za-z_+=~-]{20,}`)

	// unbroken matches a run that no separator divides into words.
	unbroken = regexp.MustCompile(`[0-9A-Za-z]{20}`)

	// dottedRun matches a run with dots that is as long as the shortest token, or a placeholder. pathRun matches one with
	// slashes as well.
	dottedRun = regexp.MustCompile(`\{[a-z_]+\.[^{}]*\}|[0-9A-Za-z_+=~.-]{16,}`)
	pathRun   = regexp.MustCompile(`\{[a-z_]+\.[^{}]*\}|[0-9A-Za-z_+=~./-]{16,}`)

	// assistantID matches an assistant's id, which is no secret.
	assistantID = regexp.MustCompile(`^asst_[0-9A-Za-z]+$`)

	// host matches the name of a host in lower case.
	host = regexp.MustCompile(`^/*(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$`)

	// readable matches a part between two separators that people read: a word with few digits behind it, a number, or
	// durations.
	readable = regexp.MustCompile(`^(?:[A-Za-z]*[0-9]{0,3}|[0-9]{1,8}|(?:[0-9]+(?:ns|us|ms|s|m|h|d))+)$`)

	// hump matches where a word begins within another, as in camelCase.
	hump = regexp.MustCompile(`[a-z][A-Z]`)

	separators = regexp.MustCompile(`[_+=~./-]+`)
)

// hideOpaque hides the runs of a word that may be secrets.
func hideOpaque(word string) string {
	for _, run := range []*regexp.Regexp{longRun, dottedRun, pathRun} {
		word = run.ReplaceAllStringFunc(word, func(run string) string {
			if run[0] != '{' && mayBeSecret(run) {
				return hidden
			}
			return run
		})
	}
	return word
}

// mayBeSecret reports whether a run does not look like words.
func mayBeSecret(run string) bool {
	switch {
	case assistantID.MatchString(run):
		return false
	case longRun.FindString(run) == run:
		return strings.ContainsAny(run, "0123456789") || unbroken.MatchString(run)
	}
	opaque := 0
	for part := range strings.SplitSeq(run, "/") {
		if host.MatchString(part) {
			continue
		}
		for _, piece := range separators.Split(part, -1) {
			if !isReadable(piece) {
				opaque += len(piece)
			}
		}
	}
	return opaque >= minOpaque
}

// isReadable reports whether a piece of a run is a word, a number or a duration. Random letters change their case often.
func isReadable(piece string) bool {
	humps := len(hump.FindAllString(piece, -1))
	return readable.MatchString(piece) && (len(piece) < minOpaque || len(piece)/(humps+1) >= 4)
}
